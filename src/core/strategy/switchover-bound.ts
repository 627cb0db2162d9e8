/**
 * The promise of a bounded strategy: at the latest after so long the guest is stopped, however fast it writes.
 *
 * MPLM (Chanchio and Yaothanee) sends every page that holds something once, and beside each of them at most one that was
 * dirtied: no more than twice what the guest holds. At a known rate that is a time:
 *
 *     left = max(2 x content - placed so far, at the rate of pages,     half and half until nothing is left
 *                not placed once, incompressible, at the rate of bytes,   the dirtied ones given up for them
 *                twice what the first sweep still takes)                  no page is sent before it was named
 *
 * A page not named yet counts as content. The promise is made as soon as the rate is known, and again, tighter, when the
 * first sweep has told which pages are zero and whenever twice as much time has been measured; it never gets looser. It
 * holds while the link carries the bytes per second that it carried when the promise was made, whatever they contain; half of
 * them are enough as long as they compress as before.
 */
import * as limits from './limits.ts';

const PAGE_BYTES = 4096;

export type BoundFacts = {
  readonly pagesPerMs: number;
  /** What a migration has to send at least once, pages not named yet included. */
  readonly contentPages: number;
  /** At the destination so far, repeats included. */
  readonly placedPages: number;
  readonly inFlightPages: number;
  /** Not yet handed to a lane and not known to be dirtied. */
  readonly unsentPages: number;
  readonly wireBytesPerMs: number;
  /** Time that the first sweep is expected to go on; 0 when it has ended. */
  readonly sweepLeftMs: number;
};

export class SwitchoverBound {
  readonly #startMs: number;
  #deadlineMs: number | null = null;
  #promisedAfterMs = 0;
  #knowsZeroPages = false;

  /** Times are counted from `startMs`, the beginning of the pre-copy. */
  constructor(startMs: number) {
    this.#startMs = startMs;
  }

  /** From the beginning to the stop of the guest at most; null before the rate is known. */
  get boundMs(): number | null {
    return this.#deadlineMs === null ? null : this.#deadlineMs - this.#startMs;
  }

  leftMs(nowMs: number): number | null {
    return this.#deadlineMs === null ? null : this.#deadlineMs - nowMs;
  }

  /** Whether it is time for a promise, or for a tighter one. */
  isDue(firstSweepEnded: boolean, nowMs: number): boolean {
    const afterMs = nowMs - this.#startMs;
    if (firstSweepEnded && !this.#knowsZeroPages && this.#deadlineMs !== null) return true;
    return afterMs >= Math.max(limits.BOUND_AFTER_MS, 2 * this.#promisedAfterMs);
  }

  /** To be told of rates that are measured, when it is due. */
  promise(facts: BoundFacts, nowMs: number): void {
    const halfAndHalfMs = Math.max(0, 2 * facts.contentPages - facts.placedPages) / facts.pagesPerMs;
    const onceMs = ((facts.unsentPages + facts.inFlightPages) * PAGE_BYTES) / facts.wireBytesPerMs;
    const leftMs = Math.max(halfAndHalfMs, onceMs, 2 * facts.sweepLeftMs) * limits.BOUND_SLACK + limits.BOUND_STOP_MS;
    this.#deadlineMs = Math.min(this.#deadlineMs ?? Infinity, nowMs + leftMs);
    this.#promisedAfterMs = nowMs - this.#startMs;
    this.#knowsZeroPages = facts.sweepLeftMs === 0;
  }
}
