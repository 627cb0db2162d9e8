import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProbeVerdict } from './probe-verdict.ts';

/** Mbit/s to bytes per millisecond. */
const rate = (mbitPerS: number): number => (mbitPerS * 1000) / 8;

/** Of these words, as many as it takes. */
function verdictOf(words: readonly (number | null)[]): {
  readonly fastBytesPerMs: number | null;
  readonly words: number;
} {
  const verdict = new ProbeVerdict();
  let added = 0;
  for (const word of words) {
    verdict.add(word);
    added++;
    if (verdict.isSettled) break;
  }
  return { fastBytesPerMs: verdict.fastBytesPerMs, words: added };
}

test('a link may be fast when the kernel says so of each of three probes', () => {
  assert.deepEqual(verdictOf([18_375, 7372, 4546, 980].map(rate)), { fastBytesPerMs: rate(4546), words: 3 });
});

test('one word that says otherwise settles it', () => {
  assert.deepEqual(verdictOf([10_054, 963, 15_796].map(rate)), { fastBytesPerMs: null, words: 2 });
  assert.deepEqual(verdictOf([2900, 7372].map(rate)), { fastBytesPerMs: null, words: 1 });
  assert.deepEqual(verdictOf([rate(18_375), null, rate(7372)]), { fastBytesPerMs: null, words: 2 });
});

test('when the kernel says little, nothing is known', () => {
  assert.deepEqual(verdictOf([]), { fastBytesPerMs: null, words: 0 });
  assert.deepEqual(verdictOf([18_375, 7372].map(rate)), { fastBytesPerMs: null, words: 2 });
});
