/**
 * What the kernel measured of a link, one lane's share at a time, until it says how fast the link is. Over 1 Gbit/s one word in seven is of a burst
 * that the shaper let through and several times too high, the others are 1; over 10 Gbit/s, on two busy processors, 1.1 to 65: 11 of 58
 * below 3, five below 1.5, two below 1.2. So few words are enough to say that a link is much slower than packing, and more that it is as fast:
 * by that mistake a whole guest would travel unpacked.
 */
import { isFast } from '../../core/compress/fast-link.ts';

const SLOW_SAMPLES_MIN = 3;
/** Below this share of what a lane packs. */
const SLOW_SHARE = 0.4;
const SAMPLES_MIN = 7;
/** The newest ones count. */
const SAMPLES_MAX = 15;

export class DeliverySamples {
  readonly #samples: number[] = [];

  add(bytesPerMs: number): void {
    this.#samples.push(bytesPerMs);
    this.#samples.splice(0, this.#samples.length - SAMPLES_MAX);
  }

  /** The median, bytes per millisecond; null before it can be believed. */
  get bytesPerMs(): number | null {
    const median = this.#samples.toSorted((a, b) => a - b)[this.#samples.length >> 1];
    if (median === undefined) return null;
    return this.#samples.length >= (isFast(median / SLOW_SHARE) ? SAMPLES_MIN : SLOW_SAMPLES_MIN) ? median : null;
  }

  /** More words will hardly change it. */
  get isSettled(): boolean {
    return this.#samples.length >= SAMPLES_MIN;
  }
}
