import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Countdown } from './countdown.ts';

const predicted = { low: 8000, expected: 10_000, high: 14_000 };

test('without a prediction it is what the migration itself says', () => {
  const countdown = new Countdown(null);
  assert.deepEqual(
    [countdown.toGoMs(100, 0, null), countdown.toGoMs(200, 0.1, 900), countdown.toGoMs(300, 0.2, 950)],
    [null, 900, 950],
  );
});

test('before anything is known of the migration it is the prediction, then more and more what the migration says', () => {
  const countdown = new Countdown(predicted);
  assert.equal(countdown.toGoMs(0, 0, null), 10_000);
  assert.equal(countdown.toGoMs(1000, 0, null), 9000);
  assert.equal(countdown.toGoMs(2000, 0.5, 4000), 6000);
  assert.equal(countdown.toGoMs(3000, 0.99, 500), 0.01 * 7000 + 0.99 * 500);
});

test('past the expected time it goes on to the end of the range, and never says that nothing is left', () => {
  const countdown = new Countdown(predicted);
  assert.equal(countdown.toGoMs(11_000, 0, null), 3000);
  assert.equal(countdown.toGoMs(60_000, 0.5, 0), 100);
});

test('it never rises, is never negative, whatever the migration says', () => {
  const views = fc.array(
    fc.record({
      stepMs: fc.double({ min: 0, max: 2000, noNaN: true }),
      done: fc.double({ min: 0, max: 0.99, noNaN: true }),
      liveMs: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true })),
    }),
  );
  fc.assert(
    fc.property(views, (all) => {
      const countdown = new Countdown(predicted);
      let [elapsedMs, last] = [0, Infinity];
      for (const { stepMs, done, liveMs } of all) {
        elapsedMs += stepMs;
        const toGoMs = countdown.toGoMs(elapsedMs, done, liveMs) ?? NaN;
        assert.ok(toGoMs > 0 && toGoMs <= last, `${toGoMs} after ${last}`);
        last = toGoMs;
      }
    }),
  );
});
