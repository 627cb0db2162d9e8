import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  countSetBits,
  maskOfWord,
  nextClearBit,
  nextOtherBitWhere,
  nextSetBit,
  nextSetBitWhere,
  popCount,
} from './bitmap.ts';

const bits = fc.uint32Array({ minLength: 1, maxLength: 6 });
const has = (words: Uint32Array, at: number) => ((words[at >>> 5]! >>> (at & 31)) & 1) === 1;

test('searches find what a bit by bit walk finds', () => {
  fc.assert(
    fc.property(bits, fc.nat(), fc.nat(), (words, a, b) => {
      const [from, end] = [a % (words.length * 32 + 1), b % (words.length * 32 + 1)].sort((x, y) => x - y) as [
        number,
        number,
      ];
      let set = from;
      while (set < end && !has(words, set)) set++;
      let clear = from;
      while (clear < end && has(words, clear)) clear++;
      assert.equal(nextSetBit(words, from, end), set);
      assert.equal(nextClearBit(words, from, end), clear);
    }),
    { numRuns: 500 },
  );
});

test('searches with a filter find what a bit by bit walk finds', () => {
  const wantedBit = fc.constantFrom<0 | -1>(0, -1);
  fc.assert(
    fc.property(bits, bits, wantedBit, fc.nat(), fc.nat(), (words, other, wanted, a, b) => {
      const filter = Uint32Array.from(words, (_, i) => other[i % other.length]!);
      const [x, y] = [a % (words.length * 32 + 1), b % (words.length * 32 + 1)];
      const [from, end] = [Math.min(x, y), Math.max(x, y)];
      const matches = (at: number) => has(words, at) && has(filter, at) === (wanted === -1);
      let first = from;
      while (first < end && !matches(first)) first++;
      let after = from;
      while (after < end && matches(after)) after++;
      assert.equal(nextSetBitWhere(words, filter, wanted, from, end), first);
      assert.equal(nextOtherBitWhere(words, filter, wanted, from, end), after);
    }),
    { numRuns: 500 },
  );
});

test('counts and masks agree with single bits', () => {
  fc.assert(
    fc.property(bits, fc.nat(), fc.nat(), (words, a, b) => {
      const total = words.length * 32;
      const [from, end] = [a % total, (b % total) + 1].sort((x, y) => x - y) as [number, number];
      let count = 0;
      for (let at = 0; at < total; at++) count += has(words, at) ? 1 : 0;
      assert.equal(countSetBits(words), count);
      if (from === end) return;
      let masked = 0;
      for (let index = from >>> 5; index <= (end - 1) >>> 5; index++) masked += popCount(maskOfWord(index, from, end));
      assert.equal(masked, end - from);
    }),
    { numRuns: 500 },
  );
});
