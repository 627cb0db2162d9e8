/**
 * Whether a link is fast, told by what the kernel says of each of several probes: two agents whose code is not compiled yet do not find that
 * out by their own clocks. Of a slower link the lanes' connections tell more, soon enough.
 */
import { LZ_MS_PER_BYTE } from '../../core/compress/levels.ts';

/**
 * In 48 probes each, half of them on a busy host: over 1 Gbit/s one word in seven was of a burst that the shaper let through, 2.5 to 19 Gbit/s, the
 * least of three never more than 1.0; over 10 Gbit/s that was 3.2 to 25 Gbit/s in 40, and too little in 8. Between two measurements the kernel says
 * the same again, so three words may be one: DeliverySamples takes a mistake back.
 */
const WORDS_MIN = 3;

/** Whether a link of so many bytes per millisecond carries pages faster than a lane packs them. */
export function isFast(bytesPerMs: number | null): boolean {
  return bytesPerMs !== null && bytesPerMs * LZ_MS_PER_BYTE > 1;
}

/**
 * Milliseconds per byte of a link that, by all that was said (bytes per millisecond; null: nothing), carries pages faster than a lane packs
 * them; null otherwise, and when little was said.
 */
export function fastLink(words: readonly (number | null)[]): number | null {
  const least = Math.min(...words.map((word) => word ?? 0));
  return words.length >= WORDS_MIN && isFast(least) ? 1 / least : null;
}
