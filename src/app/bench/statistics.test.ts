import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figureOf, fitLine, geometricMean, pairedRatio } from './statistics.ts';

test('a figure is the median with the smallest and the largest, of what is known', () => {
  assert.deepEqual(figureOf([5, null, 1, 9, Number.NaN, undefined]), { median: 5, min: 1, max: 9 });
  assert.deepEqual(figureOf([1, 3]), { median: 2, min: 1, max: 3 });
  assert.equal(figureOf([null]), null);
});

test('ratios are taken within a run before the median', () => {
  const ours = [1, 2, 30].map((value, run) => ({ run, value }));
  const theirs = [2, 2, 10].map((value, run) => ({ run, value }));
  // The ratio of the medians would be 1, too, but that of the means 2.36.
  assert.deepEqual(pairedRatio(ours, theirs), { median: 1, min: 0.5, max: 3 });
});

test('a run that only one of the two completed has no ratio', () => {
  const ours = [
    { run: 1, value: 4 },
    { run: 2, value: 6 },
  ];
  assert.deepEqual(pairedRatio(ours, [{ run: 2, value: 3 }]), { median: 2, min: 2, max: 2 });
  assert.equal(pairedRatio(ours, [{ run: 1, value: null }]), null);
});

test('a geometric mean takes a half and a double for nothing', () => {
  assert.equal(geometricMean([0.5, 2]), 1);
  assert.equal(geometricMean([]), null);
  assert.equal(geometricMean([0, 2]), null);
});

test('a line through points on a line is that line', () => {
  const line = fitLine([1, 2, 4, 8].map((x) => [x, 3 * x + 1] as const));
  assert.ok(line !== null && Math.abs(line.slope - 3) < 1e-12 && Math.abs(line.intercept - 1) < 1e-12);
  assert.equal(fitLine([[1, 1]]), null);
  assert.equal(
    fitLine([
      [1, 1],
      [1, 2],
    ]),
    null,
  );
});
