/**
 * The time to go of a migration: what was predicted as long as little is done, what its own rates say the more is done. Pure.
 *
 * It falls, because a clock that goes back is believed no more: where more is left than was said, it stands until that is true again.
 */
import type { Range } from '../model/prediction.ts';

/** While it lasts longer than expected it says no less than this. */
const LEFT_MIN_MS = 100;

export class Countdown {
  readonly #predicted: Range | null;
  #lastMs = Infinity;

  /** `predicted`: of the total time; null: nobody knows. */
  constructor(predicted: Range | null) {
    this.#predicted = predicted;
  }

  /** `done`: 0 to 1; `liveMs`: by what is left and how fast it goes, null before that is known. Null: nothing is known. */
  toGoMs(elapsedMs: number, done: number, liveMs: number | null): number | null {
    if (this.#predicted === null) return liveMs;
    const expectedMs = this.#leftOf(this.#predicted, elapsedMs);
    const mixedMs = liveMs === null ? expectedMs : (1 - done) * expectedMs + done * liveMs;
    this.#lastMs = Math.min(this.#lastMs, Math.max(LEFT_MIN_MS, mixedMs));
    return this.#lastMs;
  }

  /** Past the expected time, what is left to the upper end of the range. */
  #leftOf({ expected, high }: Range, elapsedMs: number): number {
    return elapsedMs < expected ? expected - elapsedMs : Math.max(0, high - elapsedMs);
  }
}
