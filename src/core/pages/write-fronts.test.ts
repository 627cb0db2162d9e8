import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { WriteFronts } from './write-fronts.ts';

const CHUNKS = 40;

/** Writes whole chunks, and ends the sweep: 1000 pages are left, and were handed out since the last one. */
function sync(fronts: WriteFronts, chunks: readonly number[], leftSyncs: number, number: number): void {
  for (const chunk of chunks) for (let page = 0; page < 512; page++) fronts.wrote(chunk);
  fronts.sweepEnded(leftSyncs * 1000, number * 1000);
}

const aheadOf = (fronts: WriteFronts): number[] =>
  Array.from({ length: CHUNKS }, (_, i) => i).filter((chunk) => fronts.isAhead(chunk));
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test('a front that moves up is expected as far as it gets until the lanes are through', () => {
  const fronts = new WriteFronts(CHUNKS);
  sync(fronts, [9, 10, 11], 3, 1);
  sync(fronts, [11, 12, 13], 3, 2);
  assert.deepEqual(aheadOf(fronts), range(13, 19), 'two chunks a sync from 13 on, three syncs');
  sync(fronts, [13, 14, 15], 1, 3);
  assert.deepEqual(aheadOf(fronts), range(15, 17), 'the lanes are nearly through');
});

test('a front that moves down, and one that has just set out', () => {
  const fronts = new WriteFronts(CHUNKS);
  sync(fronts, [20, 21], 2, 1);
  assert.deepEqual(aheadOf(fronts), range(21, 25), 'taken to go up');
  sync(fronts, [18, 19], 2, 2);
  assert.deepEqual(aheadOf(fronts), range(14, 18), 'it goes down');
  sync(fronts, [30], 2, 3);
  assert.deepEqual(aheadOf(fronts), [], 'one chunk by itself is no front');
});

test('what is written again and again in one place is no front, nor are single pages', () => {
  const fronts = new WriteFronts(CHUNKS);
  for (let number = 1; number < 4; number++) {
    for (const chunk of [3, 17]) for (let page = 0; page < 100; page++) fronts.wrote(chunk);
    sync(fronts, [5, 6, 7], 5, number);
    if (number > 1) assert.deepEqual(aheadOf(fronts), []);
  }
});

test('what is farthest has its turn first, nothing is left out for ever, and memory ends where it ends', () => {
  const fronts = new WriteFronts(CHUNKS);
  sync(fronts, [0, 1], 8, 1);
  sync(fronts, [2], 8, 2);
  const seen = [aheadOf(fronts)];
  while (fronts.drawNearer()) seen.push(aheadOf(fronts));
  assert.deepEqual(seen, [range(2, 10), range(2, 6), range(2, 4), range(2, 3), []]);
  sync(fronts, [38], 8, 3);
  sync(fronts, [38, 39], 8, 4);
  assert.deepEqual(aheadOf(fronts), [39]);
  fronts.sweepEnded(1e6, 4000);
  assert.deepEqual(aheadOf(fronts), [], 'nothing was written');
});

test('whatever is written, a chunk that was left out has its turn', () => {
  const writes = fc.array(fc.uniqueArray(fc.nat(CHUNKS - 1)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(writes, fc.nat(300), (syncs, leftSyncs) => {
      const fronts = new WriteFronts(CHUNKS);
      for (const [i, chunks] of syncs.entries()) sync(fronts, chunks, leftSyncs, i + 1);
      let before = aheadOf(fronts).length;
      for (let steps = 0; fronts.drawNearer(); steps++) {
        assert.ok(steps < 9 && aheadOf(fronts).length <= before);
        before = aheadOf(fronts).length;
      }
      assert.equal(aheadOf(fronts).length, 0);
    }),
  );
});
