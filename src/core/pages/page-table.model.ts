/** The slow, obvious twin of PageTable for property tests: sets of page numbers, no counters, no bitmaps. */
import { laneOf, layOutBlocks, type PageBlock, type TableBlock } from './page-table.ts';

export class PageTableModel {
  readonly blocks: readonly TableBlock[];
  readonly lanes: number;
  readonly pending = new Set<number>();
  /** Withheld pages, and the sweeps since they were named. */
  readonly withheld = new Map<number, number>();
  readonly sentBefore = new Set<number>();
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
    if (isZero && block.startsZero && !this.sentBefore.has(global)) return false;
    if (isHot) this.withheld.set(global, 0);
    else this.pending.add(global);
    return !isHot;
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

  /** Single pages that the destination does not have, ascending. */
  left(): number[] {
    return [...this.pending, ...this.withheld.keys()].sort((a, b) => a - b);
  }

  #release(page: number): void {
    this.withheld.delete(page);
    this.pending.add(page);
  }

  #dirtyCount(global: number): number {
    return Math.min(255, (this.namings.get(global) ?? 1) - 1);
  }

  /** The single pages that takeRuns takes, in order. */
  take(lane: number, cursor: number, maxPages: number): number[] {
    const ofLane = [...this.pending].filter((page) => laneOf(page, this.lanes) === lane).sort((a, b) => a - b);
    const fromCursor = [...ofLane.filter((page) => page >= cursor), ...ofLane.filter((page) => page < cursor)];
    const taken = fromCursor.slice(0, maxPages);
    for (const page of taken) {
      this.pending.delete(page);
      if (this.sentBefore.has(page)) this.takenAgainPages++;
      this.sentBefore.add(page);
    }
    return taken;
  }

  get skippedZeroPages(): number {
    const isSkipped = (page: number) =>
      !this.pending.has(page) && !this.withheld.has(page) && !this.sentBefore.has(page);
    return [...this.namings.keys()].filter((page) => isSkipped(page) && !this.#blockOf(page).side).length;
  }

  #blockOf(global: number): TableBlock {
    const block = this.blocks.find((one) => global >= one.firstPage && global < one.firstPage + one.pageCount);
    if (block === undefined) throw new Error(`No block holds page ${global}`);
    return block;
  }
}
