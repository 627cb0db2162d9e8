import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DeliverySamples } from './delivery-samples.ts';

const SLOW = 120_000;
const FAST = 1_100_000;
/** 2 Gbit/s. */
const BUSY = 250_000;

function samplesOf(words: readonly number[]): DeliverySamples {
  const samples = new DeliverySamples();
  for (const word of words) samples.add(word);
  return samples;
}

test('that a link is slow is believed at the third word, anything else at the seventh', () => {
  assert.equal(samplesOf([]).bytesPerMs, null);
  assert.equal(samplesOf([SLOW, SLOW]).bytesPerMs, null);
  assert.equal(samplesOf([SLOW, FAST, SLOW]).bytesPerMs, SLOW, 'one word of a burst among them');
  assert.equal(samplesOf(Array<number>(6).fill(FAST)).bytesPerMs, null);
  assert.equal(samplesOf(Array<number>(7).fill(FAST)).bytesPerMs, FAST);
  assert.equal(
    samplesOf([BUSY, BUSY, FAST, FAST, FAST, FAST]).bytesPerMs,
    null,
    'a fast link of which a busy host says less',
  );
  assert.equal(samplesOf([BUSY, BUSY, BUSY, FAST, FAST, FAST, FAST]).bytesPerMs, FAST);
});

test('it is settled at the seventh word, and follows a link that changes', () => {
  assert.equal(samplesOf(Array<number>(6).fill(SLOW)).isSettled, false);
  assert.equal(samplesOf(Array<number>(7).fill(SLOW)).isSettled, true);
  const changed = [...Array<number>(15).fill(SLOW), ...Array<number>(8).fill(FAST)];
  assert.equal(samplesOf(changed.slice(0, 22)).bytesPerMs, SLOW);
  assert.equal(samplesOf(changed).bytesPerMs, FAST, 'most of the newest fifteen');
});

test('whatever is said, it is what somebody said, and fast only if at least four of the newest fifteen said so', () => {
  const words = fc.array(fc.double({ min: 1, max: 3e6, noNaN: true }), { maxLength: 40 });
  fc.assert(
    fc.property(words, (list) => {
      const said = samplesOf(list).bytesPerMs;
      assert.equal(said === null && list.length >= 7, false);
      if (said === null) return;
      const newest = list.slice(-15);
      assert.ok(newest.includes(said));
      if (said > 376e3) assert.ok(newest.filter((word) => word > 376e3).length >= 4);
    }),
  );
});
