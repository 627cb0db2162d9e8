import assert from 'node:assert/strict';
import { test } from 'node:test';
import { switchoverText } from './switchover.ts';

test('the switchover in one line, with what is known of it', () => {
  const known = { reason: 'downtime target met', afterMs: 4100, rounds: 3, boundMs: 8130, expectedDowntimeMs: 120 };
  assert.equal(
    switchoverText(known),
    'downtime target met, 120 ms expected, after 4.10 s and 3 rounds (promised within 8.13 s)',
  );
  assert.equal(
    switchoverText({ ...known, rounds: 1, boundMs: null, expectedDowntimeMs: null }),
    'downtime target met, after 4.10 s and 1 round',
  );
});
