import assert from 'node:assert/strict';
import { test } from 'node:test';
import { samplePlan, sampleReport } from '../../core/api/testing.ts';
import { pastMoves } from './past-moves.ts';

const [prediction] = samplePlan.predictions;
assert.ok(prediction !== undefined);
const predicted = { ...prediction, facts: samplePlan.facts };

test('a completed migration teaches its times, and how far off its prediction was', () => {
  const [move] = pastMoves([sampleReport({ verified: false, predicted, totalMs: 3000, downtimeMs: 150 })]);
  assert.equal(move?.destination, 'host-b');
  assert.equal(move.beforeMs, 150.3 + 350.3);
  assert.equal(move.afterMs, 30 + 50);
  assert.deepEqual(move.figures?.totalMs, { measured: 3000, range: { low: 2000, expected: 2500, high: 3250 } });
  assert.equal(move.figures.downtimeMs.measured, 150);
  assert.equal(pastMoves([sampleReport({ verified: false })])[0]?.figures, null, 'nothing was expected of it');
});

test('the ratio is to what was expected before the correction, or it would be learned twice', () => {
  const correction = { totalMs: 2, downtimeMs: 1, wireBytes: 0.5, moves: 3 };
  const [move] = pastMoves([sampleReport({ verified: false, predicted: { ...predicted, correction } })]);
  assert.equal(move?.figures?.totalMs.range.expected, 1250);
  assert.equal(move.figures.wireBytes.range.expected, 220_000_000);
});

test('what did not come to its end, was compared or pulled teaches nothing', () => {
  const { options } = sampleReport();
  const reports = [
    sampleReport({ verified: false, outcome: 'aborted' }),
    sampleReport({ verified: true }),
    sampleReport({ verified: false, options: { ...options, pull: true } }),
  ];
  assert.deepEqual(pastMoves(reports), []);
});
