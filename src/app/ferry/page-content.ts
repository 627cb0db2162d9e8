/** What a page of a guest holds, as far as a short look tells. */
import { LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';

export const ZERO_PAGE: Buffer = Buffer.alloc(PAGE);

/** The sum of the squared counts of byte values is so much for random bytes (as in frame-packer.ts); this many bytes of a page are looked at. */
const LOOKED_AT_BYTES = 512;
const RANDOM_BELOW = 1.3 * (LOOKED_AT_BYTES + LOOKED_AT_BYTES ** 2 / 256);
const counts = new Uint16Array(256);

export function isZeroPage(memory: Buffer, at: number): boolean {
  return memory.compare(ZERO_PAGE, 0, PAGE, at, at + PAGE) === 0;
}

/** Whether nothing can pack it: are all byte values equally frequent? */
export function looksRandom(memory: Buffer, at: number): boolean {
  counts.fill(0);
  // Every eighth byte, not always at the same place of a word.
  for (let i = 0; i < LOOKED_AT_BYTES; i++) counts[memory[at + i * 8 + (i & 7)]!]!++;
  let squares = 0;
  for (let value = 0; value < 256; value++) squares += counts[value]! * counts[value]!;
  return squares < RANDOM_BELOW;
}
