import assert from 'node:assert/strict';
import { test } from 'node:test';
import { remainingMeasures } from '../measures.ts';
import { hashOf } from '../samples.ts';
import type { Measurement } from '../samples.ts';
import { capsPercent, cpuMeasures, loadKey, othersPercent } from './cpu-measures.ts';

const measures = cpuMeasures();

function doneOf(
  key: string,
  run: number,
  definition: unknown = measures.find((each) => each.key === key)?.definition,
): Measurement {
  const done = { startedAt: '2026-11-21T10:00:00.000Z', tookMs: 1, outcome: 'completed', reason: 'completed' } as const;
  return { run, measure: key, definition: hashOf(definition), ...done, values: {} };
}

test('all points of the paper are measured, each measure with a key of its own', () => {
  const keys = measures.map(({ key }) => key);
  assert.equal(new Set(keys).size, keys.length);
  assert.equal(keys.filter((key) => key.startsWith('caps')).length * capsPercent.length, 144);
});

test('only what scatters is measured in every run, and nothing twice', () => {
  const left = (run: number, done: readonly Measurement[]): string[] =>
    remainingMeasures(measures, run, done).map(({ key }) => key);
  assert.equal(left(1, []).length, measures.length);
  assert.deepEqual(left(2, []), [loadKey]);
  assert.deepEqual(left(2, [doneOf(loadKey, 1)]), [loadKey]);
  assert.deepEqual(left(2, [doneOf(loadKey, 2)]), []);
  assert.deepEqual(left(2, [doneOf(loadKey, 2, 'of another kind')]), [loadKey]);
});

test('what others take is what is busy and no guest took', () => {
  const use = (usePercent: number, hostPercent: number) => ({
    usePercent,
    hostPercent,
    vcpuPercent: usePercent,
    workPerS: 1,
  });
  assert.equal(othersPercent([use(75, 40)], 2), 5);
  assert.equal(othersPercent([use(75, 95)], 2), 115);
  assert.equal(othersPercent([use(60, 62), use(60, 61)], 2), 4);
});
