import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Sample } from '../samples.ts';
import type { Cell } from '../schedule.ts';
import { fullMode, kernels, limitMode, mplmFindings, plainMode, rateCases } from './mplm-findings.ts';
import { mplm } from './mplm.ts';
import { claimOf, endless, evidenceOf } from './testing.ts';

/** As the paper has it: the low maximum never ends, the high one stops long, MPLM stands between. */
function asInPaper({ case: name, mode }: Cell): Partial<Sample> {
  const n = rateCases.findIndex((each) => each === name);
  if (mode === plainMode) return { totalMs: 15_000, downtimeMs: 1000 + 500 * n, wireBytes: 200e6 };
  if (mode === fullMode) return { totalMs: 9000, downtimeMs: 300 + 100 * n, wireBytes: 100e6 };
  if (mode === limitMode(6000)) return { totalMs: 16_000, downtimeMs: 5500 };
  return mode === limitMode(3000) ? { totalMs: 18_000, downtimeMs: 2900 } : endless;
}
const rates = (key: string): { pagesPerS: number } => ({
  pagesPerS: 1000 * rateCases.findIndex((name) => key.endsWith(` ${name}`)),
});
const evidence = evidenceOf(mplm, asInPaper, rates);

test('when all is as in the paper every claim holds', () => {
  for (const { claim, holds } of mplmFindings(evidence).claims) assert.equal(holds, 'yes', claim);
  const { here } = claimOf(mplmFindings(evidence), 'shrink');
  assert.match(here, /bt 1\.50 s to 400 ms, 73 % less/);
});

test('a claim that fails is said to fail, and one that fails for some guests to hold partly', () => {
  const quick = evidenceOf(mplm, (cell) => ({ ...asInPaper(cell), ...(cell.mode === limitMode(300) && done) }), rates);
  const done2 = evidenceOf(
    mplm,
    (cell) => ({ ...asInPaper(cell), ...(cell.mode === limitMode(300) && cell.case === 'bt' && done) }),
    rates,
  );
  assert.equal(claimOf(mplmFindings(quick), 'set too low').holds, 'no');
  assert.equal(claimOf(mplmFindings(done2), 'set too low').holds, 'partly');
});
const done = { outcome: 'completed', totalMs: 16_000, downtimeMs: 250 } as const;

test('a migration of MPLM that does not complete breaks its promise; a longer downtime with everything is no gain', () => {
  const broken = evidenceOf(mplm, (cell) => (cell.mode === plainMode ? endless : asInPaper(cell)), rates);
  assert.equal(claimOf(mplmFindings(broken), 'always completes').holds, 'no');
  const worse = evidenceOf(
    mplm,
    (cell) => ({ ...asInPaper(cell), ...(cell.mode === fullMode && { downtimeMs: 9000 }) }),
    rates,
  );
  assert.equal(claimOf(mplmFindings(worse), 'shrink').holds, 'no');
});

test('a figure of a guest that found damage is none', () => {
  const damaged = evidenceOf(
    mplm,
    (cell) => ({ ...asInPaper(cell), ...(cell.mode === fullMode && { damage: 1 }) }),
    rates,
  );
  assert.equal(claimOf(mplmFindings(damaged), 'shrink').holds, 'unknown');
});

test('figure 4 has no point where QEMU does not end, and MPLM at its downtime', () => {
  const [chart] = mplmFindings(evidence).charts;
  assert.ok(chart?.kind === 'lines');
  const points = Object.fromEntries(chart.options.series.map(({ name, points: all }) => [name, all]));
  assert.deepEqual(points['QEMU, total'], [
    [3, 18],
    [6, 16],
  ]);
  assert.deepEqual(points['MPLM'], [
    [1.5, 15],
    [1.5, 1.5],
  ]);
  assert.match(chart.options.note, /does not end at a maximum of 0\.3, 1 s/);
  assert.equal(mplmFindings(evidence).charts.length, kernels.length);
});
