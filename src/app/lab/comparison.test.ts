import assert from 'node:assert/strict';
import { test } from 'node:test';
import { median, ratiosOf, rowsOf } from './comparison.ts';
import type { MoveMode, MoveSample } from './comparison.ts';
import { renderComparison, renderConclusion, wrapWords } from './comparison-table.ts';

function sample(mode: MoveMode, run: number, totalMs: number | null, more: Partial<MoveSample> = {}): MoveSample {
  return {
    mode,
    run,
    qemuVersion: '10.0.2',
    outcome: totalMs === null ? 'failed' : 'completed',
    reason: totalMs === null ? 'it took too long' : 'completed',
    totalMs,
    downtimeMs: totalMs === null ? null : 150,
    furtherMs: {},
    wireBytes: 400 * 2 ** 20,
    corruptedWords: 0,
    pagesWritten: { before: 1, after: 2 },
    longestGapMs: 160,
    quietGapMs: 3,
    ...more,
  };
}

test('the median is the middle one or the mean of both, and skips what is missing', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(median([null, 7]), 7);
  assert.equal(median([null]), null);
});

test('ratios are taken within each run, and the median over runs then', () => {
  const samples = [
    ...[sample('vmferry', 1, 1000), sample('qemu-default', 1, 2000)],
    ...[sample('vmferry', 2, 6000), sample('qemu-default', 2, 6000)],
    ...[sample('vmferry', 3, 900), sample('qemu-default', 3, 1000)],
  ];
  assert.equal(ratiosOf(samples)[0]?.totalMs, 0.9);
  assert.deepEqual(
    rowsOf(samples).map((row) => [row.mode, row.totalMs]),
    [
      ['vmferry', 1000],
      ['qemu-default', 2000],
    ],
  );
});

test('one failed move and one corrupted word show in the row of their mode', () => {
  const [row] = rowsOf([
    sample('vmferry', 1, 1000, { corruptedWords: 1 }),
    sample('vmferry', 2, null),
    sample('vmferry', 3, 1200),
  ]);
  assert.equal(row?.outcome, 'failed');
  assert.equal(row?.corruptedWords, 1);
  assert.equal(row?.totalMs, 1100);
});

test('the table lines up', () => {
  const samples = [sample('vmferry', 1, 1234), sample('qemu-default', 1, null)];
  assert.deepEqual(renderComparison(samples, sample('vmferry', 1, 1500)), [
    '                 total   downtime   longest gap   on the wire   corrupted words   outcome',
    'vmferry         1.23 s     150 ms        160 ms       400 MiB                 0   completed',
    'vmferry, back   1.50 s     150 ms        160 ms       400 MiB                 0   completed',
    'qemu-default         -          -        160 ms       400 MiB                 0   failed',
  ]);
});

test('the conclusion says what the figures say', () => {
  const fine = [sample('vmferry', 1, 1000), sample('qemu-default', 1, 2000, { wireBytes: 1600 * 2 ** 20 })];
  assert.equal(
    renderConclusion(fine),
    'vmferry took 50 % of the time, 25 % of the bytes and 100 % of the longest gap of qemu-default; no word of the guest was corrupted.',
  );
  const bad = [sample('vmferry', 1, null), sample('qemu-default', 1, 2000, { corruptedWords: 3 })];
  assert.equal(renderConclusion(bad), 'Not every move completed: vmferry; words were corrupted: 3 by qemu-default.');
});

test('a mode that failed in the first run does not take the names of the figures with it', () => {
  const samples = [sample('vmferry', 1, 1000), sample('qemu-default', 1, null), sample('qemu-multifd-zstd', 1, 1000)];
  assert.match(renderConclusion(samples), /^vmferry took 100 % of the time, .* of qemu-multifd-zstd; not every move/);
});

test('long sentences are broken between words', () => {
  assert.deepEqual(wrapWords('aa bb 12 % d', 5), ['aa bb', '12 %', 'd']);
});
