import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LatencyHistogram } from './latency-histogram.ts';

test('percentiles are right to 5 %, the maximum exactly, and each call begins anew', () => {
  const histogram = new LatencyHistogram();
  for (let ms = 1; ms <= 1000; ms++) histogram.add(ms);
  const found = histogram.take();
  assert.ok(found !== null);
  for (const [value, wanted] of [
    [found.p50, 500],
    [found.p90, 900],
    [found.p99, 990],
  ] as const) {
    assert.ok(value >= wanted && value <= wanted * 1.05, `${value} for ${wanted}`);
  }
  assert.equal(found.max, 1000);
  assert.equal(histogram.take(), null);
  histogram.add(0);
  assert.deepEqual(histogram.take(), { p50: 0, p90: 0, p99: 0, max: 0 });
});
