/** The slow, obvious twin of PageTable for property tests: sets of page numbers, no counters, no bitmaps. */
import { laneOf, layOutBlocks, type PageBlock, type PageGroup, type TableBlock } from './page-table.ts';

export class PageTableModel {
  readonly blocks: readonly TableBlock[];
  readonly lanes: number;
  readonly pending = new Set<number>();
  readonly sentBefore = new Set<number>();
  readonly namings = new Map<number, number>();
  takenAgainPages = 0;

  constructor(blocks: readonly PageBlock[], lanes: number) {
    this.blocks = layOutBlocks(blocks);
    this.lanes = lanes;
  }

  name(global: number, isZero: boolean): boolean {
    this.namings.set(global, (this.namings.get(global) ?? 0) + 1);
    const block = this.#blockOf(global);
    if (block.side || this.pending.has(global)) return false;
    if (isZero && block.startsZero && !this.sentBefore.has(global)) return false;
    this.pending.add(global);
    return true;
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
    const isWanted = (page: number) => group === 'all' || (group === 'dirtied') === this.namings.get(page)! > 1;
    return [...this.pending].filter((page) => laneOf(page, this.lanes) === lane && isWanted(page));
  }

  get skippedZeroPages(): number {
    const isSkipped = (page: number) => !this.pending.has(page) && !this.sentBefore.has(page);
    return [...this.namings.keys()].filter((page) => isSkipped(page) && !this.#blockOf(page).side).length;
  }

  #blockOf(global: number): TableBlock {
    const block = this.blocks.find((one) => global >= one.firstPage && global < one.firstPage + one.pageCount);
    if (block === undefined) throw new Error(`No block holds page ${global}`);
    return block;
  }
}
