import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DELTA_BYTES_MAX, DELTA_BYTES_MIN } from './lane-limits.ts';
import { applyDelta, encodeDelta, pageMemory } from './page-delta.ts';

const PAGE = 4096;
const GUARD = 0xa5;

/** Changes of a page: position, length, seed of the new bytes. */
const edits = fc.array(
  fc.record({
    at: fc.nat({ max: PAGE - 1 }),
    length: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: PAGE })),
    seed: fc.nat({ max: 255 }),
  }),
  { maxLength: 20 },
);
const page = fc.uint8Array({ minLength: PAGE, maxLength: PAGE });

function edited(before: Uint8Array, changes: readonly { at: number; length: number; seed: number }[]): Uint8Array {
  const after = before.slice();
  for (const { at, length, seed } of changes)
    for (let i = at; i < Math.min(PAGE, at + length); i++) after[i] = (seed + i * 31) & 255;
  return after;
}

/** The delta, with a guard on both sides; null when there is none that fits. */
function deltaOf(before: Uint8Array, after: Uint8Array): Uint8Array | null {
  const out = new Uint8Array(DELTA_BYTES_MAX + 32).fill(GUARD);
  const end = encodeDelta(pageMemory(before), 0, pageMemory(after), 0, out, 16);
  assert.ok(out.subarray(0, 16).every((byte) => byte === GUARD));
  assert.ok(
    out.subarray(16 + DELTA_BYTES_MAX).every((byte) => byte === GUARD),
    'not longer than DELTA_BYTES_MAX',
  );
  return end < 0 ? null : out.slice(16, end);
}

test('a delta leads from the old page to the new one, wherever it lies', () => {
  fc.assert(
    fc.property(page, edits, fc.nat({ max: 3 }), (before, changes, skew) => {
      const after = edited(before, changes);
      const delta = deltaOf(before, after);
      if (delta === null) return;
      const equal = after.every((byte, i) => byte === before[i]);
      assert.equal(delta.length === 0, equal, 'empty for equal pages only');
      if (equal) return;
      assert.ok(delta.length >= DELTA_BYTES_MIN);
      const memory = new Uint8Array(PAGE + 8).fill(GUARD);
      memory.set(before, skew);
      const stream = new Uint8Array(delta.length + 2 * skew);
      stream.set(delta, skew);
      assert.equal(applyDelta(stream, skew, memory, skew), skew + delta.length);
      assert.deepEqual(memory.subarray(skew, skew + PAGE), after);
      assert.ok(memory.every((byte, i) => (i >= skew && i < skew + PAGE) || byte === GUARD));
    }),
    { numRuns: 500 },
  );
});

test('every single byte of a page can change, and every pair of neighbours', () => {
  const before = new Uint8Array(PAGE);
  for (let i = 0; i < PAGE; i++) {
    for (const length of [1, 2]) {
      const after = before.slice();
      after.fill(0xff, i, i + length);
      const delta = deltaOf(before, after)!;
      const copy = before.slice();
      applyDelta(delta, 0, copy, 0);
      assert.deepEqual(copy, after);
      assert.ok(delta.length <= 4 + length, `${delta.length} bytes for ${length} at ${i}`);
    }
  }
});

test('8 to 64 changed bytes cost little more than that', () => {
  const before = Uint8Array.from({ length: PAGE }, (_, i) => (i * 7) & 255);
  for (const length of [8, 16, 32, 64]) {
    const after = before.slice();
    for (let i = 0; i < length; i++) after[1000 + i]! ^= 0xff;
    after[8]! ^= 0xff;
    assert.ok(deltaOf(before, after)!.length <= length + 8);
  }
});

test('a page that changed all over has no delta', () => {
  const before = new Uint8Array(PAGE);
  assert.equal(deltaOf(before, new Uint8Array(PAGE).fill(1)), null);
  const scattered = before.slice();
  for (let i = 0; i < PAGE; i += 8) scattered[i] = 1;
  assert.equal(deltaOf(before, scattered), null, '512 changes are too many');
});

test('a delta from anybody changes nothing outside the page, and is refused with a typed error', () => {
  const before = Uint8Array.from({ length: PAGE }, (_, i) => i & 255);
  const damage = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.tuple(edits, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }), fc.nat()).map((given) => {
      const [changes, flips, cut] = given;
      const delta = deltaOf(before, edited(before, changes)) ?? new Uint8Array(8);
      for (const [at, value] of flips) if (delta.length > 0) delta[at % delta.length] = value;
      return delta.subarray(0, delta.length - (cut % 3));
    }),
  );
  let refused = 0;
  fc.assert(
    fc.property(damage, (delta) => {
      const memory = new Uint8Array(3 * PAGE).fill(GUARD);
      memory.set(before, PAGE);
      try {
        const end = applyDelta(delta, 0, memory, PAGE);
        assert.ok(end <= delta.length, 'it never reads past the end');
      } catch (error) {
        refused++;
        assert.equal((error as { code?: string }).code, 'LANE_FRAME_DELTA');
      }
      assert.ok(memory.subarray(0, PAGE).every((byte) => byte === GUARD));
      assert.ok(memory.subarray(2 * PAGE).every((byte) => byte === GUARD));
    }),
    { numRuns: 2000 },
  );
  assert.ok(refused > 100, `${refused} were refused`);
});

test('deltas that say too much are refused', () => {
  const refuse = (...bytes: number[]): void => {
    assert.throws(() => applyDelta(Uint8Array.from(bytes), 0, new Uint8Array(PAGE), 0), { code: 'LANE_FRAME_DELTA' });
  };
  refuse();
  refuse(0);
  refuse(1, 0);
  refuse(1, 0, 0);
  refuse(1, 128);
  refuse(1, 0, 128);
  refuse(2, 0, 0, 7);
  refuse(1, 0x80, 32, 0, 7); // skip 4096
  refuse(1, 0xff, 31, 1, 7, 7); // two bytes at 4095
  refuse(1, 0xff, 255, 0, 7);
  const last = new Uint8Array(PAGE);
  applyDelta(Uint8Array.of(1, 0xff, 31, 0, 7), 0, last, 0);
  assert.equal(last[PAGE - 1], 7);
});
