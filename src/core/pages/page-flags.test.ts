import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCleanCache, isFree, markUnneeded } from './page-flags.ts';

const bits = (...numbers: number[]): number => numbers.reduce((sum, bit) => sum + 2 ** bit, 0);
const [LOCKED, REFERENCED, UPTODATE, DIRTY, LRU, ACTIVE, WRITEBACK, BUDDY, MMAP, ANON] = [
  0, 2, 3, 4, 5, 6, 8, 10, 11, 12,
];
const [SWAPBACKED, UNEVICTABLE, HWPOISON, OFFLINE] = [14, 18, 19, 23];

test('only what the page allocator holds is free', () => {
  assert.ok(isFree(bits(BUDDY)));
  for (const other of [HWPOISON, OFFLINE]) assert.ok(!isFree(bits(BUDDY, other)));
  for (const flags of [0, bits(LRU), bits(OFFLINE)]) assert.ok(!isFree(flags));
});

test('only clean, unmapped file cache that nobody holds is soft', () => {
  assert.ok(isCleanCache(bits(UPTODATE, LRU), 'all'));
  assert.ok(isCleanCache(bits(UPTODATE, LRU, REFERENCED, ACTIVE), 'all'));
  for (const other of [LOCKED, DIRTY, WRITEBACK, BUDDY, MMAP, ANON, SWAPBACKED, UNEVICTABLE, HWPOISON, OFFLINE]) {
    assert.ok(!isCleanCache(bits(UPTODATE, LRU, other), 'all'), `flag ${other}`);
  }
  assert.ok(!isCleanCache(bits(UPTODATE), 'all'), 'not in the lists of the cache');
});

test('cache that was used lately can be spared', () => {
  assert.ok(isCleanCache(bits(UPTODATE, LRU), 'inactive'));
  for (const use of [REFERENCED, ACTIVE]) assert.ok(!isCleanCache(bits(UPTODATE, LRU, use), 'inactive'));
  assert.ok(!isCleanCache(bits(UPTODATE, LRU), 'none'));
});

test('pages are marked at their place in the bitmap; the upper half of the flags does not matter', () => {
  const words = new Uint32Array([bits(BUDDY), 0xffff, bits(ANON), 0, bits(LRU), 0xffff, bits(BUDDY), 0]);
  const out = new Uint32Array(2);
  assert.equal(markUnneeded(words, 'all', out, 30), 1);
  assert.deepEqual([...out], [0x4000_0000, 0b11]);
  assert.throws(() => markUnneeded(words, 'all', out, 61), /fit/);
});
