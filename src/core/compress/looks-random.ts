/** Content that nothing can pack, found without trying. Pure. */

/**
 * The sum of the squared counts of byte values is n + n^2 / 256 for n random bytes. Program code has six times as much, text eight
 * times; below this factor content is taken to be random.
 */
const RANDOM_BELOW = 1.3;
const counts = new Uint16Array(256);

/** Whether all byte values are equally frequent, by a look at up to `looks` of the bytes from `from` on: 1 ns each. Hot: no allocation. */
export function looksRandom(buffer: Uint8Array, from: number, bytes: number, looks: number): boolean {
  counts.fill(0);
  // An odd distance, so that every place of a word is looked at.
  const step = Math.floor(bytes / looks) | 1;
  const end = Math.min(from + bytes, from + step * looks);
  let looked = 0;
  for (let at = from; at < end; at += step, looked++) counts[buffer[at]!]!++;
  let squares = 0;
  for (let value = 0; value < 256; value++) squares += counts[value]! * counts[value]!;
  return squares < RANDOM_BELOW * (looked + looked ** 2 / 256);
}
