import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ControlWireError } from './errors.ts';
import { contentPages, decodePullRuns, encodePullRuns, isZero, markZero, zeroMapBytes } from './pull-codec.ts';

test('page lists survive the wire', () => {
  const run = fc.tuple(fc.nat(1_000_000), fc.integer({ min: 1, max: 64 }));
  fc.assert(
    fc.property(fc.array(run, { minLength: 1, maxLength: 4 }), (list) => {
      const runs = Uint32Array.from(list.flat());
      assert.deepEqual(decodePullRuns(encodePullRuns(runs), 1_100_000, 256), runs);
    }),
  );
});

test('any bytes are a page list within bounds or a wire error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        const runs = decodePullRuns(bytes, 1000, 50);
        for (let i = 0; i < runs.length; i += 2) assert.ok(runs[i + 1]! > 0 && runs[i]! + runs[i + 1]! <= 1000);
      } catch (error) {
        assert.ok(error instanceof ControlWireError);
      }
    }),
  );
  assert.throws(() => decodePullRuns(encodePullRuns(Uint32Array.of(0, 51)), 1000, 50), ControlWireError);
  assert.throws(() => decodePullRuns(encodePullRuns(Uint32Array.of(999, 2)), 1000, 50), ControlWireError);
  assert.throws(() => decodePullRuns(new Uint8Array(0), 1000, 50), ControlWireError);
});

test('an answer says which pages are zero', () => {
  const answer = new Uint8Array(zeroMapBytes(11));
  for (const index of [0, 8, 10]) markZero(answer, index);
  assert.deepEqual(
    Array.from({ length: 11 }, (_, index) => isZero(answer, index)),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((index) => index === 0 || index === 8 || index === 10),
  );
  assert.equal(contentPages(answer, 11), 8);
  assert.throws(() => contentPages(answer, 10), ControlWireError);
  assert.throws(() => contentPages(answer.subarray(0, 1), 11), ControlWireError);
});
