/**
 * Randomness by position: what a VM does at a moment depends on the seed, the VM and the moment only, and not on how often
 * something was drawn before. So every policy meets the same loads.
 */

/** In [0, 2^32). Hot: no allocation. The finisher is that of MurmurHash3. */
export function noise(seed: number, a: number, b: number): number {
  let h = seed ^ Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca77);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 16), 0x2c1b3c6d);
  return (h ^ (h >>> 15)) >>> 0;
}

/** In [0, 1). */
export function fraction(seed: number, a: number, b: number): number {
  return noise(seed, a, b) / 2 ** 32;
}

/** In [low, high). */
export function between(low: number, high: number, fraction: number): number {
  return low + (high - low) * fraction;
}

/** A whole number in [0, limit). */
export function below(limit: number, fraction: number): number {
  return Math.floor(limit * fraction);
}
