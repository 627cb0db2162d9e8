import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { guestPace, lanePagesPerMs, laneRoom } from './processors.ts';

test('a lane gets a processor where there is one, and its part where there are more threads', () => {
  assert.deepEqual(laneRoom({ processors: 8, idle: 1 }, 4, 1), { share: 1, idle: 3 / 8 });
  assert.deepEqual(
    laneRoom({ processors: 2, idle: 0 }, 1, 1),
    { share: 0.5, idle: 0 },
    'four threads on two processors',
  );
  assert.deepEqual(laneRoom(null, 4, 1), { share: 1, idle: 1 }, 'a host that does not say');
});

test('shares are shares; more idle time never makes them smaller, more lanes never larger', () => {
  const idle = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 256 }),
      idle,
      idle,
      fc.integer({ min: 1, max: 15 }),
      (processors, one, other, lanes) => {
        const [less, more] = [Math.min(one, other), Math.max(one, other)];
        const room = laneRoom({ processors, idle: less }, lanes, 1);
        assert.ok(room.share > 0 && room.share <= 1 && room.idle >= 0 && room.idle <= 1);
        const [freer, fuller] = [
          laneRoom({ processors, idle: more }, lanes, 1),
          laneRoom({ processors, idle: less }, lanes + 1, 1),
        ];
        assert.ok(freer.share >= room.share && freer.idle >= room.idle);
        assert.ok(fuller.share <= room.share && fuller.idle <= room.idle);
      },
    ),
  );
});

test('the slower host is what bounds a lane', () => {
  assert.equal(lanePagesPerMs({ msPerPage: 0.02, share: 1 }, { msPerPage: 0.01, share: 1 }), 50);
  assert.equal(lanePagesPerMs({ msPerPage: 0.02, share: 1 }, { msPerPage: 0.01, share: 0.25 }), 25);
});

test('a guest that computes is slowed by what moves it, one that waits is not', () => {
  assert.equal(guestPace([1], 0.66), 0.66);
  assert.equal(guestPace([0.3, 0.1], 0.66), 1);
  assert.equal(guestPace([1, 0.5], 0.5), 1 / 1.5);
  assert.equal(guestPace([], 0.5), 1, 'a guest of which nothing is known');
  assert.equal(guestPace([0, 0], 0.5), 1);
});
