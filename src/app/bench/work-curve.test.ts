import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clockOffsetMs, workRates } from './work-curve.ts';
import type { SeenPoint } from './work-curve.ts';

/** Lines once a second of a guest that does 10 units per millisecond, whose clock is the host's minus `offset`. */
function lines(fromMs: number, toMs: number, offset: number, workAt: (hostMs: number) => number): SeenPoint[] {
  const points: SeenPoint[] = [];
  for (let hostMs = fromMs; hostMs <= toMs; hostMs += 1000) {
    // Seen with some delay that varies.
    points.push({
      guestMs: hostMs - offset,
      work: workAt(hostMs),
      seenMs: hostMs + (((hostMs - fromMs) / 1000) % 3) * 15,
    });
  }
  return points;
}

test('the clock of a guest is found from the line that came soonest', () => {
  assert.equal(clockOffsetMs(lines(3000, 8000, 500, () => 0)), 500);
  assert.equal(clockOffsetMs([]), null);
});

test('a stop of 400 ms in a move of 2 s is found, though there is one line a second', () => {
  const before = lines(3000, 9000, 500, (ms) => ms * 10);
  // It stands still from 11 100 to 11 500; its clock, too.
  const after = lines(12_400, 17_400, 900, (ms) => (ms - 400) * 10);
  const rates = workRates({ before, beforeSeen: before, after, afterSeen: after, startMs: 9700, endMs: 11_700 });
  assert.ok(rates !== null);
  assert.equal(rates.before, 10_000);
  assert.equal(rates.after, 10_000);
  assert.ok(Math.abs(rates.lostMs! - 400) < 1, `${rates.lostMs} ms`);
  assert.ok(Math.abs(rates.during! - 8000) < 10, `${rates.during} per second`);
});

test('a guest that did not arrive has only the rate before', () => {
  const before = lines(3000, 9000, 0, (ms) => ms);
  const rates = workRates({ before, beforeSeen: before, after: [], afterSeen: [], startMs: 9500, endMs: 11_000 });
  assert.deepEqual(rates, { before: 1000, during: null, after: null, lostMs: null });
  assert.equal(workRates({ before: [], beforeSeen: [], after: [], afterSeen: [], startMs: 0, endMs: 1 }), null);
});
