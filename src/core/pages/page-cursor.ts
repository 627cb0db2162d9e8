/** Goes round memory: for each lane the page behind the one that was taken last, where the next batch begins. */
import type { PageTable } from './page-table.ts';
import type { PageGroup } from './pending-pages.ts';

export class PageCursor {
  readonly #table: PageTable;
  readonly #next: Float64Array;

  constructor(table: PageTable) {
    this.#table = table;
    this.#next = new Float64Array(table.lanes);
  }

  /**
   * PageTable.takeRuns from where this lane left off. `from`: u32 of `out` that hold runs already; returns how many hold runs
   * then. Hot: no allocation.
   */
  take(lane: number, maxPages: number, out: Uint32Array, group: PageGroup = 'all', from = 0): number {
    const end = this.#table.takeRuns(lane, this.#next[lane]!, maxPages, out, group, from);
    if (end > from) this.#next[lane] = out[end - 2]! + out[end - 1]!;
    return end;
  }
}
