import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layOutBlocks } from './block-layout.ts';
import { describeMissing } from './missing-summary.ts';

const GIB = 262_144;
const blocks = layOutBlocks([
  { name: 'rom', pageCount: 100 },
  { name: 'pc.ram', pageCount: 40 * GIB },
]);
const ram = blocks[1]?.firstPage ?? 0;

function missing(...runs: readonly (readonly [first: number, count: number])[]): string {
  return describeMissing(blocks, (page) => runs.some(([first, count]) => page >= first && page < first + count));
}

test('neighbouring GiB are one stretch, others are told apart, and so are blocks', () => {
  assert.equal(missing(), 'none');
  assert.equal(missing([ram + GIB - 10, 30], [ram + 3 * GIB, 2]), 'pc.ram: 30 pages in GiB 0 to 1, 2 pages in GiB 3');
  assert.equal(missing([7, 1], [ram + 39 * GIB, GIB]), 'rom: 1 pages in GiB 0; pc.ram: 262144 pages in GiB 39');
});

test('what lies scattered over a large guest is counted', () => {
  const runs = Array.from({ length: 20 }, (_, i) => [ram + 2 * i * GIB, 3] as const);
  assert.match(missing(...runs), /^pc\.ram: 3 pages in GiB 0, .*, 3 pages in GiB 14; 36 pages elsewhere$/);
});
