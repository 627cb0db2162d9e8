/**
 * Whether further rounds are worth their time: they are while each leaves less than the best before. Once they do not, the
 * stop waits for a round that ends near the best seen: no worse moment is taken just because patience ran out.
 */

/** A round counts as shrinking when it leaves less than this share of the best so far. */
const SHRINKING = 0.95;
/** Out of patience, a round end is good enough up to this multiple of the best so far, */
const NEAR_BEST = 1.1;
/** and with every further round up to this much more: the best may have been luck that does not come again. */
const NEAR_BEST_STEP = 0.1;

export class ShrinkingRounds {
  readonly #patienceRounds: number;
  #bestLeftPages = Infinity;
  #roundsNotShrinking = 0;

  constructor(patienceRounds: number) {
    this.#patienceRounds = patienceRounds;
  }

  /** A round ended and left so many pages. True: this is the moment to stop, further rounds bring nothing. */
  roundEnded(leftPages: number): boolean {
    this.#roundsNotShrinking = leftPages < this.#bestLeftPages * SHRINKING ? 0 : this.#roundsNotShrinking + 1;
    this.#bestLeftPages = Math.min(this.#bestLeftPages, leftPages);
    const roundsTooMany = this.#roundsNotShrinking - this.#patienceRounds;
    return roundsTooMany >= 0 && leftPages <= this.#bestLeftPages * (NEAR_BEST + roundsTooMany * NEAR_BEST_STEP);
  }
}
