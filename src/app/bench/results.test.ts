import assert from 'node:assert/strict';
import { test } from 'node:test';
import { comparisonsOf, summariesOf } from './comparisons.ts';
import { resultCells, resultSchema } from './results.ts';
import { resultOf, sampleOf } from './testing.ts';

const never = { outcome: 'failed', reason: 'did not end', totalMs: null, downtimeMs: null } as const;

test('a cell has the medians of its completed moves, and says how many there were', () => {
  const [cell] = resultCells([
    sampleOf({ mode: 'vmferry-auto', run: 1, totalMs: 1000, limitBytes: 50e6 }),
    sampleOf({ mode: 'vmferry-auto', run: 2, totalMs: 3000, limitBytes: 25e6 }),
    sampleOf({ mode: 'vmferry-auto', run: 3, ...never }),
  ]);
  assert.deepEqual(cell?.totalMs, { median: 2000, min: 1000, max: 3000 });
  assert.deepEqual([cell?.runs, cell?.completed, cell?.outcome, cell?.reason], [3, 2, 'failed', 'did not end']);
  assert.equal(cell?.family, 'vmferry');
  // 50 MB at 1 Gbit/s are 400 ms, of 1000; 25 MB are 200 ms, of 3000.
  assert.deepEqual(cell?.limitMs, { median: 300, min: 200, max: 400 });
  assert.ok(Math.abs((cell?.efficiency?.max ?? 0) - 0.4) < 1e-9);
  assert.ok(Math.abs((cell?.workDuring?.median ?? 0) - 0.8) < 1e-9);
  assert.equal(cell?.sourceCpuMs?.median, 500);
});

test('the limit that one move of a case and run measured is that of all its modes', () => {
  const cells = resultCells([
    sampleOf({ mode: 'vmferry-auto', limitBytes: 12.5e6 }),
    sampleOf({ mode: 'qemu-default' }),
    sampleOf({ mode: 'qemu-default', case: 'fast' }),
  ]);
  assert.deepEqual(
    cells.map(({ limitMs }) => limitMs?.median ?? null),
    [100, 100, null],
  );
});

test('the best native mode is chosen per figure, among those that always completed', () => {
  const samples = [
    sampleOf({ mode: 'vmferry-auto', totalMs: 1000, downtimeMs: 50, wireBytes: 10e6 }),
    sampleOf({ mode: 'qemu-default', totalMs: 4000, downtimeMs: 100, wireBytes: 400e6 }),
    sampleOf({ mode: 'qemu-multifd-zstd', totalMs: 5000, downtimeMs: 200, wireBytes: 100e6 }),
    sampleOf({ mode: 'qemu-postcopy', totalMs: 8000, downtimeMs: 5, wireBytes: 500e6 }),
    sampleOf({ mode: 'qemu-xbzrle', ...never }),
  ];
  const [comparison] = comparisonsOf(samples);
  assert.deepEqual(
    Object.values(comparison!.against).map((against) => [against?.mode, against?.ratio.median]),
    [
      ['qemu-default', 0.25],
      ['qemu-default', 0.5],
      ['qemu-default', 1],
      ['qemu-multifd-zstd', 0.1],
    ],
  );
});

test('a mode that failed once is not the best, and a case in which none completes has no ratio', () => {
  const samples = [
    sampleOf({ mode: 'vmferry-auto', case: 'fast', totalMs: 1000 }),
    sampleOf({ mode: 'qemu-default', case: 'fast', totalMs: 10 }),
    sampleOf({ mode: 'qemu-default', case: 'fast', run: 2, ...never }),
  ];
  const comparisons = comparisonsOf(samples);
  assert.equal(comparisons[0]?.against.totalMs, null);
  assert.deepEqual(summariesOf(comparisons)[0]?.figures.totalMs, null);
});

test('a summary is the geometric mean over cases, with the worst one', () => {
  const samples = ['slow', 'fast'].flatMap((name, index) => [
    sampleOf({ case: name, mode: 'vmferry-auto', totalMs: 1000 }),
    sampleOf({ case: name, mode: 'qemu-default', totalMs: [4000, 1000][index]! }),
  ]);
  const mean = summariesOf(comparisonsOf(samples))[0]?.figures.totalMs;
  assert.deepEqual(mean, { geometricMean: 0.5, cases: 2, worst: { case: 'fast', link: '1gbit', ratio: 1 } });
});

test('a result is what its schema says', () => {
  const result = resultOf([sampleOf({ mode: 'vmferry-auto' }), sampleOf({ mode: 'qemu-default', ...never })]);
  assert.deepEqual(resultSchema.parse(JSON.parse(JSON.stringify(result))), result);
});
