import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Sample } from '../samples.ts';
import type { Cell } from '../schedule.ts';
import { defaultMode, noiseCase, prunedMode, sonicFindings } from './sonic-findings.ts';
import { sonic } from './sonic.ts';
import { claimOf, evidenceOf } from './testing.ts';

/** As the paper has it: a third of the time and a sixth of the pages, less the more memory is in use, nothing at 2000 MB. */
function asInPaper({ case: name, mode }: Cell): Partial<Sample> {
  const isPruned = mode === prunedMode;
  const cpu = { agentMs: 0, qemuMs: isPruned ? 500 : 2000, vcpuMs: 0 };
  const half = { cpu: { source: cpu, destination: cpu } };
  if (name === noiseCase) {
    const work = { before: 7500, during: 5250, after: 11_000, lostMs: isPruned ? 1000 : 6000 };
    return { ...half, totalMs: isPruned ? 6000 : 20_000, work, neighbourWork: work };
  }
  const part = Number(name.replace('sonic-', '')) / 2000;
  return {
    ...half,
    totalMs: isPruned ? 6000 + 12_000 * part : 18_000 + part,
    pagesSent: isPruned ? 80_000 + 420_000 * part : 500_000 + part,
  };
}

test('when all is as in the paper every claim holds', () => {
  for (const { claim, holds, here } of sonicFindings(evidenceOf(sonic, asInPaper)).claims) {
    assert.equal(holds, 'yes', `${claim}: ${here}`);
  }
});

test('no noise, less gain than the paper has, and pages that do not get fewer are said so', () => {
  const calm = { before: 7500, during: 7500, after: 7500, lostMs: 0 };
  const other = evidenceOf(sonic, (cell) => ({
    ...asInPaper(cell),
    ...(cell.case === noiseCase && { neighbourWork: calm, work: calm }),
    ...(cell.case === 'sonic-0' && cell.mode === prunedMode && { totalMs: 15_000, pagesSent: 600_000 }),
  }));
  const findings = sonicFindings(other);
  const verdicts = [
    'Migration noise',
    'guest that is moved',
    'After the migration',
    'mitigates',
    'time is much shorter',
    'far fewer pages',
  ].map((text) => claimOf(findings, text).holds);
  assert.deepEqual(verdicts, ['no', 'no', 'no', 'no', 'partly', 'no']);
});

test('what a guest loses during a move counts only where it does not lose as much when left alone', () => {
  const unsteady = { before: 7500, during: 6500, after: 6000, lostMs: 1000 };
  const findings = sonicFindings(
    evidenceOf(sonic, (cell) => ({ ...asInPaper(cell), ...(cell.case === noiseCase && { neighbourWork: unsteady }) })),
  );
  const { holds, here } = claimOf(findings, 'Migration noise');
  assert.equal(holds, 'partly');
  assert.equal(here, '87 % of its throughput before; when all is over, after 3 moves, 80 % to 80 %');
  assert.equal(claimOf(findings, 'guest that is moved').holds, 'yes');
});

test('a gain that is still there with all memory in use is not that of the paper', () => {
  const still = evidenceOf(sonic, (cell) => ({
    ...asInPaper(cell),
    ...(cell.case === 'sonic-2000' && cell.mode === prunedMode && { pagesSent: 400_000 }),
  }));
  assert.equal(claimOf(sonicFindings(still), 'no difference').holds, 'partly');
});

test('figures 1 and 2 are drawn for the moves whose course over time is there', () => {
  const columns = { atMs: [100, 200, 300], stepMs: [100, 100, 100], wireBytes: [0, 0, 0] };
  const vcpu = { sourceVcpuMs: [90, 90, 90], destinationVcpuMs: [0, 0, 0], neighbourVcpuMs: [50, 50, 50] };
  const series = { ...columns, ...vcpu, work: null, neighbourWork: { atMs: [-500, 500], perS: [7000, 5000] } };
  const { charts } = sonicFindings(
    evidenceOf(sonic, (cell) => ({ ...asInPaper(cell), ...(cell.mode === defaultMode && { series }) })),
  );
  assert.equal(charts.length, 2 + 2);
  const [first, second] = charts;
  assert.ok(first?.kind === 'lines' && second?.kind === 'lines');
  assert.deepEqual(first.options.series[0]?.points, [
    [-0.5, 7000],
    [0.5, 5000],
  ]);
  assert.deepEqual(
    second.options.series.map(({ points }) => points),
    [[[0.15, 50]], [[0.15, 90]], [[0.15, 0]]],
  );
});
