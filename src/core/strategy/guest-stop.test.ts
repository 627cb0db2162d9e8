import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GuestStop } from './guest-stop.ts';

const time = { afterMs: 1000, rounds: 2, boundMs: 4000 };
const facts = {
  leftPages: 0,
  pagesPerMs: 10,
  pull: false,
  isHeld: true,
  boundLeftMs: null,
  dirtyPagesPerMsMin: 0,
};

test('a stop is decided, waits for what is left, is ordered once and happens', () => {
  const stop = new GuestStop();
  assert.deepEqual([stop.isRunning, stop.isOrdered, stop.order, stop.report], [true, false, null, null]);
  const report = { reason: 'downtime target met', ...time, expectedDowntimeMs: 80 } as const;
  stop.decide(report, 1000);
  assert.deepEqual([stop.isRunning, stop.isDraining, stop.order], [false, true, null]);
  assert.equal(stop.orderWhenDue({ ...facts, leftPages: 1000 }, 1001), false, 'it drains');
  assert.equal(stop.orderWhenDue(facts, 1002), true);
  assert.deepEqual([stop.isDraining, stop.isOrdered, stop.order], [false, true, 'downtime target met']);
  stop.stopped({ ...time, afterMs: 1010 });
  assert.deepEqual([stop.isOrdered, stop.isStopped, stop.order], [true, true, null]);
  assert.deepEqual(stop.report, { ...report, afterMs: 1010 });
});

test('a guest that nobody wanted stopped has been stopped by QEMU', () => {
  const stop = new GuestStop();
  stop.stopped(time);
  assert.deepEqual(stop.report, { reason: 'QEMU stopped the guest by itself', ...time, expectedDowntimeMs: null });
});
