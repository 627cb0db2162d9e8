import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { FieldBuffer } from './field-buffer.ts';
import { decodeLatin1, encodeLatin1 } from './latin1.ts';

const field = fc.oneof(
  fc.record({ kind: fc.constant('u8' as const), value: fc.integer({ min: 0, max: 0xff }) }),
  fc.record({ kind: fc.constant('u16' as const), value: fc.integer({ min: 0, max: 0xffff }) }),
  fc.record({ kind: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 0xffffffff }) }),
  fc.record({ kind: fc.constant('u64' as const), value: fc.maxSafeNat() }),
);

test('what the writer wrote the reader reads, however often the buffer grew', () => {
  fc.assert(
    fc.property(fc.array(field), fc.integer({ min: 1, max: 16 }), (fields, firstBytes) => {
      const writer = new ByteWriter(100_000, firstBytes);
      for (const { kind, value } of fields) writer[kind](value);
      const reader = new ByteReader(writer.take());
      for (const { kind, value } of fields) assert.equal(reader[kind](), value);
      assert.equal(reader.remainingBytes, 0);
      assert.equal(reader.position, writer.length);
    }),
  );
});

test('numbers are big endian, as DataView has them', () => {
  const bytes = new ByteWriter().u16(0x1234).u32(0x89abcdef).u64(0x1fffff_00000001).zeros(2).take();
  const view = new DataView(bytes.buffer);
  assert.equal(view.getUint16(0), 0x1234);
  assert.equal(view.getUint32(2), 0x89abcdef);
  assert.equal(view.getBigUint64(6), 0x1fffff_00000001n);
});

test('reading past the end and numbers beyond 2^53 are errors', () => {
  assert.throws(() => new ByteReader(new Uint8Array(3)).u32(), { code: 'BYTES_OVERRUN' });
  assert.throws(() => new ByteReader(new Uint8Array(3)).bytes(4), { code: 'BYTES_OVERRUN' });
  assert.throws(() => new ByteReader(new Uint8Array(8).fill(255)).u64(), { code: 'BYTES_NUMBER' });
});

test('a writer keeps to its limit', () => {
  const writer = new ByteWriter(10).zeros(10);
  assert.throws(() => writer.u8(1), { code: 'BYTES_OVERRUN' });
  assert.equal(writer.take().length, 10);
});

test('every byte survives as a character', () => {
  const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => i & 0xff);
  const text = decodeLatin1(bytes, 0, bytes.length);
  assert.deepEqual(encodeLatin1(text), bytes);
  assert.equal(decodeLatin1(bytes, 65, 68), 'ABC');
  assert.throws(() => encodeLatin1('€'), { code: 'BYTES_NUMBER' });
});

test('fields come out whole however the bytes are cut', () => {
  const needs = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 20 });
  fc.assert(
    fc.property(needs, fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (needs, cuts) => {
      const total = needs.reduce((sum, need) => sum + need, 0);
      const bytes = Uint8Array.from({ length: total }, (_, i) => (i * 7) & 0xff);
      const buffer = new FieldBuffer(40);
      const taken: number[] = [];
      let next = 0;
      for (let at = 0, i = 0; at < total; i++) {
        const chunk = bytes.subarray(at, at + cuts[i % cuts.length]!);
        at += chunk.length;
        for (let from = 0; from >= 0 && from < chunk.length;) {
          from = buffer.take(chunk, from, needs[next]!);
          if (from >= 0) taken.push(...buffer.bytes.subarray(buffer.at, buffer.at + needs[next++]!));
        }
      }
      assert.deepEqual(Uint8Array.from(taken), bytes);
      assert.equal(buffer.held, 0);
    }),
  );
});
