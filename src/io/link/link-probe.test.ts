import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProbeMeter } from './link-probe.ts';

const KIB = 1024;

/** Pieces of 64 KiB that arrive at these times; the answer to the last. */
function probed(timesMs: readonly number[], meter = new ProbeMeter()): { bytes: number; ms: number } | null {
  const answers = timesMs.map((ms, i) => meter.received(i === timesMs.length - 1, 64 * KIB, ms));
  assert.deepEqual(
    answers.slice(0, -1).filter((answer) => answer !== null),
    [],
    'only the last piece is answered',
  );
  return answers.at(-1) ?? null;
}

test('the rate is that of the second half', () => {
  // A shaper let the first half through at once.
  const answer = probed([0, 0, 0, 0, 5, 10, 15, 20]);
  assert.deepEqual(answer, { type: 'probed', bytes: 4 * 64 * KIB, ms: 20 });
});

test('each probe is measured by itself', () => {
  const meter = new ProbeMeter();
  assert.equal(probed([0, 1, 2, 3], meter)?.ms, 2);
  assert.equal(probed([1000, 1010, 1020, 1030], meter)?.ms, 20);
});

test('one piece alone tells nothing, and a clock that goes backwards no nonsense', () => {
  assert.deepEqual(probed([7]), { type: 'probed', bytes: 0, ms: 0 });
  assert.equal(probed([9, 8, 7, 6])?.ms, 0);
});

test('a peer that sends pieces for ever costs no memory, and the half is found as far as it was noted', () => {
  const meter = new ProbeMeter();
  for (let i = 0; i < 100_000; i++) assert.equal(meter.received(false, 10, i), null);
  const answer = meter.received(true, 10, 100_000);
  assert.ok(answer !== null && answer.bytes >= 0 && answer.bytes <= 100_001 * 10);
});
