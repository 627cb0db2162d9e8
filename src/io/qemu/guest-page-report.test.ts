import assert from 'node:assert/strict';
import { test } from 'node:test';
import { piecesOf } from './guest-page-report.ts';

const MIB_PAGES = 256;
const window = (gpa: number, bytes: number, offset: number, block = 'pc.ram') => ({
  gpa,
  bytes,
  offset,
  block,
  readOnly: false,
});

test('memory above the hole below 4 GiB is asked for at its own addresses', () => {
  const GIB = 2 ** 30;
  const windows = [window(4 * GIB, 2 * GIB, 2 * GIB), window(0, 2 * GIB, 0), window(8 * GIB, GIB, 0, 'dimm')];
  const atHole = { block: 'pc.ram', first: 2048 * MIB_PAGES - 10, pages: 20 };
  assert.deepEqual(piecesOf(windows, atHole), [
    { page: 2048 * MIB_PAGES - 10, pages: 10, pfn: 2048 * MIB_PAGES - 10 },
    { page: 2048 * MIB_PAGES, pages: 10, pfn: 4096 * MIB_PAGES },
  ]);
  assert.deepEqual(piecesOf(windows, { block: 'dimm', first: 3, pages: 2 }), [
    { page: 3, pages: 2, pfn: 8192 * MIB_PAGES + 3 },
  ]);
  assert.deepEqual(piecesOf(windows, { block: 'other', first: 0, pages: 2 }), []);
});

test('windows side by side are read at once, what no window shows is left out', () => {
  const windows = [window(0xc0000, 0x4000, 0xc0000), window(0, 0xa0000, 0), window(0xc4000, 0x4000, 0xc4000)];
  assert.deepEqual(piecesOf(windows, { block: 'pc.ram', first: 0, pages: 512 }), [
    { page: 0, pages: 160, pfn: 0 },
    { page: 192, pages: 8, pfn: 192 },
  ]);
});

test('pages that the guest sees at two addresses are not asked about', () => {
  const BYTES = 64 * 4096;
  const twice = [window(0, BYTES, 0), window(2 ** 32, BYTES, BYTES / 2), window(2 ** 33, BYTES, 96 * 4096)];
  assert.deepEqual(piecesOf(twice, { block: 'pc.ram', first: 0, pages: 160 }), [
    { page: 96, pages: 64, pfn: 2 ** 33 / 4096 },
  ]);
});
