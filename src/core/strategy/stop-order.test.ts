import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as limits from './limits.ts';
import { isStopDue, type StopFacts } from './stop-order.ts';

/** A second of pages is left, the guest writes a tenth of what the link carries. */
const waiting: StopFacts = {
  ...{ sinceDecisionMs: 0, leftPages: 10_000, pagesPerMs: 10, pull: false },
  ...{ isHeld: true, boundLeftMs: null, dirtyPagesPerMsMin: 1 },
};

test('the order waits for what is in flight, but not for ever', () => {
  assert.equal(isStopDue(waiting), false);
  assert.equal(isStopDue({ ...waiting, leftPages: limits.STOP_IN_FLIGHT_MS * 10 }), true);
  assert.equal(isStopDue({ ...waiting, sinceDecisionMs: limits.STOP_DELAY_MS }), true);
});

test('it does not wait where waiting costs more than it saves', () => {
  assert.equal(isStopDue({ ...waiting, isHeld: false }), true, 'QEMU goes on naming pages');
  assert.equal(isStopDue({ ...waiting, boundLeftMs: limits.BOUND_STOP_MS }), true, 'the promised time would break');
  assert.equal(isStopDue({ ...waiting, dirtyPagesPerMsMin: 5 }), true, 'the guest writes as fast as the lanes drain');
});

test('with a pull phase all that is in flight has to arrive: the device state would stand behind it', () => {
  const late = { ...waiting, pull: true, sinceDecisionMs: 60_000, isHeld: false, boundLeftMs: 0 };
  assert.equal(isStopDue(late), false);
  assert.equal(isStopDue({ ...late, leftPages: 0 }), true);
});
