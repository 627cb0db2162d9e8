import assert from 'node:assert/strict';
import { test } from 'node:test';
import { samplePlan, sampleReport } from '../../core/api/testing.ts';
import { expectedText, foretoldText } from './prediction-text.ts';

const [prediction] = samplePlan.predictions;
assert.ok(prediction !== undefined);

test('what is expected, in one line', () => {
  assert.equal(
    expectedText(prediction),
    'Expected: 2.00 s to 3.25 s, downtime 96 ms to 156 ms, 83.9 MiB to 136 MiB on the wire; limited by processors',
  );
});

test('beside what it was, where it came to its end', () => {
  const predicted = { ...prediction, facts: samplePlan.facts };
  assert.equal(
    foretoldText(sampleReport({ predicted })),
    'total 2.00 s to 3.25 s (was 3.40 s), downtime 96 ms to 156 ms (was 120 ms), on the wire 83.9 MiB to 136 MiB (was 84.9 MiB)',
  );
  assert.equal(foretoldText(sampleReport()), null);
  assert.equal(foretoldText(sampleReport({ predicted, outcome: 'aborted' })), null);
});
