import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readU16, readU32, readU64 } from '../bytes/big-endian.ts';
import {
  DISCARD_RANGES_MAX,
  postcopyAdvise,
  postcopyDiscards,
  postcopyEnd,
  postcopyPackage,
  PulledPart,
} from './postcopy-writer.ts';

const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** Bytes as hexadecimal digits, with blanks between the fields for the reader. */
function assertBytes(bytes: Uint8Array, fields: string): void {
  assert.equal(hexOf(bytes), fields.replaceAll(' ', ''));
}

test('ADVISE tells both page sizes', () => {
  assertBytes(postcopyAdvise(), '0800030010 0000000000001000 0000000000001000');
});

test('DISCARD names the block and the ranges in bytes, at most so many per command', () => {
  assertBytes(
    postcopyDiscards('ab', Uint32Array.of(1, 2)),
    '0800060015 00 02 6162 00 0000000000001000 0000000000002000',
  );
  const runs = Uint32Array.from({ length: (DISCARD_RANGES_MAX + 5) * 2 }, (_, i) => (i % 2 === 0 ? i * 2 : 1));
  const bytes = postcopyDiscards('pc.ram', runs);
  const first = readU16(bytes, 3);
  assert.equal(first, 3 + 6 + DISCARD_RANGES_MAX * 16);
  assert.equal(readU16(bytes, 5 + first + 3), 3 + 6 + 5 * 16);
  assert.equal(bytes.length, 2 * 5 + 2 * 9 + (DISCARD_RANGES_MAX + 5) * 16);
  assert.equal(postcopyDiscards('pc.ram', new Uint32Array(0)).length, 0);
});

test('the package holds LISTEN, the device state, PING and RUN, and its length', () => {
  const bytes = postcopyPackage(Uint8Array.of(4, 5, 6), 3);
  assertBytes(bytes, '0800070004 00000016 0800040000 040506 0800020004 00000003 0800050000');
  assert.equal(readU32(bytes, 5), bytes.length - 9);
});

test('pulled pages name their block once per section', () => {
  const part = new PulledPart(2);
  const page = new Uint8Array(8192).fill(7);
  part.add('ram', 3, page, 4096);
  part.add('ram', 4, null);
  part.add('rom', 0, null);
  assert.equal(part.pages, 3);
  const bytes = part.take();
  assertBytes(bytes.subarray(0, 5), '0200000002');
  assert.equal(readU64(bytes, 5), 3 * 4096 + 0x08);
  assertBytes(bytes.subarray(13, 17), '03 72616d');
  let at = 17 + 4096;
  assert.equal(readU64(bytes, at), 4 * 4096 + 0x02 + 0x20);
  at += 9;
  assert.equal(readU64(bytes, at), 0x02);
  assertBytes(bytes.subarray(at + 8), '03 726f6d 00 0000000000000010 7e00000002');
  part.add('rom', 1, null);
  assertBytes(part.take(), '0200000002 0000000000001002 03726f6d00 0000000000000010 7e00000002');
});

test('END and EOF finish the stream', () => {
  assertBytes(postcopyEnd(1), '0300000001 0000000000000010 7e00000001 00');
});
