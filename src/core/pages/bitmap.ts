/** Searching and counting in bitmaps of 32-bit words; bit n is bit n % 32 of word n / 32. */

/** Position of the first set bit in [from, end), or end. Hot: no allocation. */
export function nextSetBit(words: Uint32Array, from: number, end: number): number {
  if (from >= end) return end;
  let index = from >>> 5;
  let word = words[index]! & (-1 << (from & 31));
  const last = (end - 1) >>> 5;
  while (word === 0) {
    if (index === last) return end;
    word = words[++index]!;
  }
  const at = index * 32 + 31 - Math.clz32(word & -word);
  return at < end ? at : end;
}

/** Position of the first clear bit in [from, end), or end. Hot: no allocation. */
export function nextClearBit(words: Uint32Array, from: number, end: number): number {
  if (from >= end) return end;
  let index = from >>> 5;
  let word = ~words[index]! & (-1 << (from & 31));
  const last = (end - 1) >>> 5;
  while (word === 0) {
    if (index === last) return end;
    word = ~words[++index]!;
  }
  const at = index * 32 + 31 - Math.clz32(word & -word);
  return at < end ? at : end;
}

/**
 * Position of the first bit in [from, end) that is set in `words` and equals `wanted` (0 or -1, all bits) in `filter`, or
 * end. Hot: no allocation.
 */
export function nextSetBitWhere(
  words: Uint32Array,
  filter: Uint32Array,
  wanted: 0 | -1,
  from: number,
  end: number,
): number {
  if (from >= end) return end;
  let index = from >>> 5;
  let word = words[index]! & ~(filter[index]! ^ wanted) & (-1 << (from & 31));
  const last = (end - 1) >>> 5;
  while (word === 0) {
    if (index === last) return end;
    index++;
    word = words[index]! & ~(filter[index]! ^ wanted);
  }
  const at = index * 32 + 31 - Math.clz32(word & -word);
  return at < end ? at : end;
}

/** Position of the first bit in [from, end) that is not one of nextSetBitWhere, or end. Hot: no allocation. */
export function nextOtherBitWhere(
  words: Uint32Array,
  filter: Uint32Array,
  wanted: 0 | -1,
  from: number,
  end: number,
): number {
  if (from >= end) return end;
  let index = from >>> 5;
  let word = (~words[index]! | (filter[index]! ^ wanted)) & (-1 << (from & 31));
  const last = (end - 1) >>> 5;
  while (word === 0) {
    if (index === last) return end;
    index++;
    word = ~words[index]! | (filter[index]! ^ wanted);
  }
  const at = index * 32 + 31 - Math.clz32(word & -word);
  return at < end ? at : end;
}

/** Number of set bits of one word. Hot. */
export function popCount(word: number): number {
  let w = word - ((word >>> 1) & 0x55555555);
  w = (w & 0x33333333) + ((w >>> 2) & 0x33333333);
  return (((w + (w >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

/** Number of set bits of a whole bitmap. */
export function countSetBits(words: Uint32Array): number {
  let count = 0;
  for (const word of words) count += popCount(word);
  return count;
}

/** The bits of word `index` that lie in [from, end). Hot. */
export function maskOfWord(index: number, from: number, end: number): number {
  let mask = -1;
  if (index === from >>> 5) mask &= -1 << (from & 31);
  if (index === (end - 1) >>> 5) mask &= -1 >>> (31 - ((end - 1) & 31));
  return mask;
}
