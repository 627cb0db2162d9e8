import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { BusyBound, type Acknowledged } from './busy-bound.ts';

/** 1 Gbit/s, bytes per millisecond. */
const LINK = 125_000;

function delivery(connection: string, ackedBytes: number, busyMs: number): Acknowledged {
  return { connection, ackedBytes, busyMs };
}

test('what was acknowledged counts over the time in which something was on its way, and one tick of the clock', () => {
  const bound = new BusyBound();
  assert.equal(bound.bytesPerMs, 0);
  bound.add([delivery('a', 6.67e6, 12)], 1000);
  assert.equal(bound.bytesPerMs, 6.67e6 / 20);
  bound.add([delivery('a', 6.67e6, 12)], 1150);
  assert.equal(bound.bytesPerMs, 6.67e6 / 20, 'nothing new');
  bound.add([delivery('a', 14.2e6, 64)], 1300);
  assert.equal(bound.bytesPerMs, 14.2e6 / 72);
});

test('connections that are busy at the same time share the link, and one that has ended still counts', () => {
  const bound = new BusyBound();
  bound.add([delivery('a', 0, 0), delivery('b', 0, 0)], 0);
  bound.add([delivery('a', 6e6, 90), delivery('b', 6e6, 90)], 100);
  assert.equal(bound.bytesPerMs, 12e6 / 108);
  bound.add([delivery('a', 6e6, 90)], 200);
  assert.equal(bound.bytesPerMs, 12e6 / 108);
});

test('a link that becomes slower is believed after a tenth of a second of work', () => {
  const bound = new BusyBound();
  for (let i = 1; i <= 10; i++) bound.add([delivery('a', i * 90e6, i * 100)], i * 150);
  assert.ok(bound.bytesPerMs > 7e5);
  bound.add([delivery('a', 900e6 + 12.5e6, 1100)], 1650);
  assert.equal(bound.bytesPerMs, 12.5e6 / 108);
});

test('it is never more than the link carries, whether connections take turns on it or share it', () => {
  const stretches = fc.array(
    fc.record({
      busy: fc.uniqueArray(fc.integer({ min: 0, max: 2 }), { minLength: 1 }),
      busyMs: fc.double({ min: 0.1, max: 60, noNaN: true }),
      idleMs: fc.double({ min: 0, max: 60, noNaN: true }),
      isAsked: fc.boolean(),
    }),
    { minLength: 1, maxLength: 60 },
  );
  fc.assert(
    fc.property(stretches, (list) => {
      const bound = new BusyBound();
      const sums = Array.from({ length: 3 }, () => ({ bytes: 0, ms: 0 }));
      let nowMs = 0;
      for (const { busy, busyMs, idleMs, isAsked } of list) {
        for (const i of busy) {
          sums[i]!.bytes += (busyMs * LINK) / busy.length;
          sums[i]!.ms += busyMs;
        }
        nowMs += busyMs + idleMs;
        if (!isAsked) continue;
        bound.add(
          sums.map(({ bytes, ms }, i) => delivery(`lane ${i}`, bytes, ms)),
          nowMs,
        );
        assert.ok(bound.bytesPerMs < LINK, `${bound.bytesPerMs} after ${nowMs} ms`);
      }
    }),
  );
});
