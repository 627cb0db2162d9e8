import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DELTA_BYTES_MAX, LANE_PAGE_BYTES as PAGE } from './lane-limits.ts';
import { applyDelta, pageMemory } from './page-delta.ts';
import { PageSignatures } from './page-signatures.ts';

const keys = Int32Array.of(0x2545_f491, 0x1b87_3593, -0x3b9a_c9ff, 0x7feb_352d);
const out = new Uint8Array(2 * DELTA_BYTES_MAX);

function pageOf(seed: number) {
  return pageMemory(Uint8Array.from({ length: PAGE }, (_, i) => Math.imul(seed + i, 0x9e37_79b1) >>> 13));
}

/** Writes that guests do: counters, single bits (also the top ones of words, where a weak hash is blind), ranges. */
const write = fc.oneof(
  fc.record({ at: fc.nat(PAGE - 1), bytes: fc.uint8Array({ minLength: 1, maxLength: 64 }) }),
  fc.record({ at: fc.nat(PAGE / 4 - 1).map((word) => word * 4 + 3), bytes: fc.constant(Uint8Array.of(0x80)) }),
);

test('after any writes the delta of changed blocks leads from the signed version to the new one', () => {
  let unchanged = 0;
  let long = 0;
  fc.assert(
    fc.property(
      fc.array(fc.array(write, { maxLength: 40, size: 'max' }), { minLength: 1, maxLength: 6 }),
      (versions) => {
        const signatures = new PageSignatures(1 << 16, 1, keys);
        const memory = pageOf(1);
        const held = memory.bytes.slice();
        signatures.sign(7, false, memory, 0);
        for (const writes of versions) {
          for (const { at, bytes } of writes)
            for (let i = 0; i < bytes.length && at + i < PAGE; i++) memory.bytes[at + i]! ^= bytes[i]!;
          const isSame = Buffer.compare(memory.bytes, held) === 0;
          const end = signatures.encodeDelta(7, memory, 0, out, 5);
          assert.equal(end === 5, isSame);
          if (end < 0) held.set(memory.bytes);
          else if (end > 5) assert.equal(applyDelta(out.subarray(0, end), 5, held, 0), end);
          assert.equal(Buffer.compare(memory.bytes, held), 0);
          unchanged += Number(isSame);
          long += Number(end < 0);
        }
      },
    ),
    { numRuns: 400 },
  );
  assert.ok(unchanged > 20 && long > 20, `${unchanged} unchanged, ${long} too long`);
});

test('one changed block costs its 128 bytes and 3; blocks beside each other are one change', () => {
  const signatures = new PageSignatures(1 << 16, 1, keys);
  const memory = pageOf(2);
  signatures.sign(0, false, memory, 0);
  memory.bytes[100]! ^= 1;
  assert.equal(signatures.encodeDelta(0, memory, 0, out, 0), 3 + 128);
  memory.bytes[127]! ^= 1;
  memory.bytes[128]! ^= 1;
  memory.bytes[PAGE - 1]! ^= 1;
  assert.equal(signatures.encodeDelta(0, memory, 0, out, 0), 1 + 3 + 256 + 4 + 128 - 1);
  memory.bytes.fill(3);
  assert.equal(signatures.encodeDelta(0, memory, 0, out, 0), -1);
  assert.equal(signatures.encodeDelta(0, memory, 0, out, 0), 0, 'a page that travels whole is signed, too');
});

test('a page has its entry until it is dropped, or a hot page wants it', () => {
  const signatures = new PageSignatures(3 * 260, 1, keys);
  const memory = pageOf(3);
  signatures.sign(0, false, memory, 0);
  signatures.sign(3, false, memory, 0);
  assert.deepEqual([signatures.has(0), signatures.has(3)], [true, false]);
  signatures.sign(3, true, memory, 0);
  assert.deepEqual([signatures.has(0), signatures.has(3)], [false, true]);
  signatures.drop(0);
  assert.equal(signatures.has(3), true);
  signatures.drop(3);
  assert.equal(signatures.has(3), false);
  const none = new PageSignatures(259, 1, keys);
  none.sign(0, true, memory, 0);
  assert.equal(none.has(0), false);
});
