/** The slow, obvious twin of PageTable for property tests: sets of page numbers, no counters, no bitmaps. */
import { laneOf, layOutBlocks, type PageBlock, type TableBlock } from './block-layout.ts';
import type { PageGroup } from './pending-pages.ts';

export class PageTableModel {
  readonly blocks: readonly TableBlock[];
  readonly lanes: number;
  readonly pending = new Set<number>();
  readonly spared = new Set<number>();
  readonly stale = new Set<number>();
  readonly #closed = new Set<number>();
  readonly #reading = new Set<number>();
  readonly #provisional = new Set<number>();
  /** Withheld pages, and the sweeps since they were named. */
  readonly withheld = new Map<number, number>();
  readonly sentBefore = new Set<number>();
  /** Chunks that a write front is expected in. */
  readonly ahead = new Set<number>();
  readonly namings = new Map<number, number>();
  takenAgainPages = 0;

  /** Pages named this often after the first time are withheld; 0 = never. */
  hotFrom = 0;

  constructor(blocks: readonly PageBlock[], lanes: number) {
    this.blocks = layOutBlocks(blocks);
    this.lanes = lanes;
  }

  name(global: number, isZero: boolean): boolean {
    this.namings.set(global, (this.namings.get(global) ?? 0) + 1);
    const block = this.#blockOf(global);
    if (block.side) return false;
    const isHot = this.hotFrom > 0 && this.#dirtyCount(global) >= this.hotFrom;
    if (this.withheld.has(global) || (isHot && this.pending.has(global))) {
      this.pending.delete(global);
      this.withheld.set(global, 0);
      return false;
    }
    if (this.pending.has(global)) return false;
    const isSpared = this.spared.has(global);
    if (!isSpared && isZero && block.startsZero && !this.sentBefore.has(global)) return false;
    if (this.#closed.has(global >>> 9)) {
      this.spared.add(global);
      return false;
    }
    this.#release(global);
    if (isHot) this.pending.delete(global);
    if (isHot) this.withheld.set(global, 0);
    return !isHot;
  }

  #release(page: number): void {
    this.withheld.delete(page);
    this.spared.delete(page);
    this.stale.delete(page);
    this.pending.add(page);
  }

  cool(sweepsMin: number, sweepsMax: number): void {
    for (const [page, quiet] of this.withheld) {
      if (quiet + 1 > Math.min(sweepsMax, Math.max(sweepsMin, this.#dirtyCount(page)))) this.#release(page);
      else this.withheld.set(page, quiet + 1);
    }
  }

  release(): void {
    this.hotFrom = 0;
    for (const page of this.withheld.keys()) this.#release(page);
  }

  /** Single pages that the destination does not have as it should, ascending. */
  left(): number[] {
    return [...this.pending, ...this.withheld.keys(), ...this.stale].sort((a, b) => a - b);
  }

  #dirtyCount(global: number): number {
    return Math.min(255, (this.namings.get(global) ?? 1) - 1);
  }

  closeAll(): void {
    for (const page of this.#pagesThatMayWait()) this.#closed.add(page >>> 9);
  }

  beginReport(first: number, pages: number): void {
    for (let page = first; page < first + pages; page++) {
      if (this.pending.delete(page)) this.spared.add(page);
      for (const chunks of [this.#closed, this.#provisional]) chunks.delete(page >>> 9);
      this.#reading.add(page >>> 9);
    }
  }

  applyReport(first: number, pages: number, isUnneeded: (page: number) => boolean, isProof: boolean): void {
    for (let page = first; page < first + pages; page++) {
      if (!this.#reading.has(page >>> 9) || !this.spared.has(page)) continue;
      if (!isUnneeded(page)) this.#release(page);
      else if (isProof && this.sentBefore.has(page)) this.stale.add(page);
    }
    for (let page = first; page < first + pages; page++) {
      if (this.#reading.delete(page >>> 9) && !isProof) this.#provisional.add(page >>> 9);
    }
  }

  settle(): void {
    const unproven = [this.#closed, this.#reading, this.#provisional];
    for (const page of [...this.spared]) {
      if (unproven.some((chunks) => chunks.has(page >>> 9))) this.#release(page);
    }
    for (const chunks of unproven) chunks.clear();
  }

  takeZeros(lane: number): number[] {
    const taken = [...this.stale].filter((page) => laneOf(page, this.lanes) === lane).sort((a, b) => a - b);
    for (const page of taken) {
      this.stale.delete(page);
      this.sentBefore.delete(page);
    }
    return taken;
  }

  #pagesThatMayWait(): number[] {
    const blocks = this.blocks.filter((block) => !block.side && block.startsZero);
    return blocks.flatMap((block) => Array.from({ length: block.pageCount }, (_, i) => block.firstPage + i));
  }

  /** The single pages that takeRuns takes, in order. */
  take(lane: number, cursor: number, maxPages: number, group: PageGroup): number[] {
    const ofLane = this.pendingOf(lane, group).sort((a, b) => a - b);
    const fromCursor = [...ofLane.filter((page) => page >= cursor), ...ofLane.filter((page) => page < cursor)];
    const taken = fromCursor.slice(0, maxPages);
    for (const page of taken) {
      this.pending.delete(page);
      if (this.sentBefore.has(page)) this.takenAgainPages++;
      this.sentBefore.add(page);
    }
    return taken;
  }

  pendingOf(lane: number, group: PageGroup): number[] {
    const stirred = new Set([...this.withheld.keys()].map((page) => page >>> 9));
    const isWanted = (page: number): boolean => {
      if (group === 'undisturbed' && this.ahead.has(page >>> 9)) return false;
      if (group === 'calm') return !stirred.has(page >>> 9);
      if (group === 'unsent' || group === 'repeats') return this.sentBefore.has(page) === (group === 'repeats');
      return (group === 'dirtied') === this.namings.get(page)! > 1;
    };
    const ofLane = [...this.pending].filter((page) => laneOf(page, this.lanes) === lane);
    return ofLane.filter((page) => group === 'all' || isWanted(page));
  }

  get skippedZeroPages(): number {
    const waits = (page: number) => this.pending.has(page) || this.spared.has(page) || this.withheld.has(page);
    const isSkipped = (page: number) => !waits(page) && !this.sentBefore.has(page);
    return [...this.namings.keys()].filter((page) => isSkipped(page) && !this.#blockOf(page).side).length;
  }

  #blockOf(global: number): TableBlock {
    const block = this.blocks.find((one) => global >= one.firstPage && global < one.firstPage + one.pageCount);
    if (block === undefined) throw new Error(`No block holds page ${global}`);
    return block;
  }
}
