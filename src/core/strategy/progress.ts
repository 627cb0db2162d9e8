/**
 * The bar and the clock that people watch. The fraction counts pages: what is done against what is done and still to do,
 * where the pages that later rounds are expected to repeat belong to the second. It never goes back, and never says that
 * all is done: that is said by whoever ends the migration.
 */
import * as limits from './limits.ts';

export type Work = {
  /** Pages that are where they belong, repeats included. */
  readonly donePages: number;
  /** Pages that are known to be left: pending, in flight, not yet named. */
  readonly leftPages: number;
  readonly dirtyPagesPerSecond: number;
  readonly pagesPerMs: number;
  /** Time that passes whatever the pages do. */
  readonly fixedMs: number;
};

/** A guest that dirties nearly as fast as the link, or faster, is ended by a stop rule: assume so many repeats. */
const DIRTY_RATIO_MAX = 0.75;

/** Pages still to be sent, the ones dirtied meanwhile included. */
export function pagesToGo(work: Work): number {
  const ratio = Math.min(DIRTY_RATIO_MAX, work.dirtyPagesPerSecond / (work.pagesPerMs * 1000));
  return work.leftPages / (1 - ratio);
}

export class Progress {
  #fraction = 0;

  /** From 0 to PROGRESS_MAX, never less than before. */
  update(work: Work): number {
    const toGo = pagesToGo(work);
    const fraction = work.donePages + toGo === 0 ? 0 : work.donePages / (work.donePages + toGo);
    this.#fraction = Math.max(this.#fraction, Math.min(limits.PROGRESS_MAX, fraction));
    return this.#fraction;
  }
}

export function timeToGoMs(work: Work): number {
  return pagesToGo(work) / work.pagesPerMs + work.fixedMs;
}
