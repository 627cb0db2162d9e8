/** How fast the guest dirties pages: what the ends of sweeps showed, and what is expected of the time to come. */
import { DirtyHistory } from './dirty-history.ts';
import type { Sweep } from './feed-regulator.ts';
import * as limits from './limits.ts';

/** Of the page table, how often pages have been named so far. */
export type Namings = { readonly pendingNamings: number; readonly renamings: number };

export class DirtyRate {
  readonly #history = new DirtyHistory();
  #namings = 0;
  #renamings = 0;
  #pagesPerSecond = 0;
  #pagesPerSecondMin = Infinity;
  #intervals = 0;

  /** `isRefresh`: it names only what is not pending anyway, which says too little about the time to come. */
  sweepEnded({ sinceMs, first }: Sweep, { pendingNamings, renamings }: Namings, isRefresh: boolean): void {
    const pages = pendingNamings - this.#namings;
    this.#namings = pendingNamings;
    if (first) return;
    if (!isRefresh) this.#history.add(sinceMs, pages);
    // Pages named again, the pending ones included: the guest wrote to each of them.
    this.#pagesPerSecond = ((renamings - this.#renamings) / Math.max(1, sinceMs)) * 1000;
    this.#renamings = renamings;
    this.#pagesPerSecondMin = Math.min(this.#pagesPerSecondMin, this.#pagesPerSecond);
    this.#intervals++;
  }

  /** Nothing can be expected yet. */
  get isEmpty(): boolean {
    return this.#history.isEmpty;
  }

  /** Pages expected to be dirtied within ms. */
  expectedPages(ms: number): number {
    return this.#history.expectedPages(ms);
  }

  /** In the last interval. */
  get pagesPerSecond(): number {
    return this.#pagesPerSecond;
  }

  /** The least of all intervals; Infinity before the first. */
  get pagesPerMsMin(): number {
    return this.#pagesPerSecondMin / 1000;
  }

  /** The same, 0 until enough of them have shown it. */
  get shownPagesPerMsMin(): number {
    return this.#intervals >= limits.DIRTY_INTERVALS_MIN ? this.pagesPerMsMin : 0;
  }
}
