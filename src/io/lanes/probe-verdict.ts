/**
 * Whether a link may be fast, told by what the kernel says of each of several probes: two agents whose code is not compiled yet do not find that
 * out by their own clocks.
 *
 * In 48 probes each, half of them on a busy host: over 1 Gbit/s one word in seven was of a burst that the shaper let through, 2.5 to 19 Gbit/s, the
 * least of three never more than 1.0; over 10 Gbit/s that was 3.2 to 25 Gbit/s in 40, and too little in 8. Between two measurements the kernel says
 * the same again, so three words may be one, and this is no more than a guess, which LinkSamples proves or takes back.
 */
import { isFast } from '../../core/compress/fast-link.ts';

const WORDS_MIN = 3;

export class ProbeVerdict {
  /** Of all words, bytes per millisecond. */
  #least = Infinity;
  #words = 0;

  /** The rate at which the newest bytes of a probe were delivered, bytes per millisecond; null when the kernel does not say. */
  add(bytesPerMs: number | null): void {
    this.#least = Math.min(this.#least, bytesPerMs ?? 0);
    this.#words++;
  }

  /** What a link is taken to carry that carries pages faster than a lane packs them, by all that was said; null otherwise, and when little was said. */
  get fastBytesPerMs(): number | null {
    return this.#words >= WORDS_MIN && isFast(this.#least) ? this.#least : null;
  }

  /** One that says otherwise settles it. */
  get isSettled(): boolean {
    return this.#words >= WORDS_MIN || !isFast(this.#least);
  }
}
