import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Sample, Series } from '../samples.ts';
import type { Cell } from '../schedule.ts';
import { dsmFindings, ratesAround, withDsm } from './dsm-findings.ts';
import { dsm } from './dsm.ts';
import { claimOf, evidenceOf } from './testing.ts';
import { sampleOf } from '../testing.ts';

/** 12 Mbit/s all the time, 100 Mbit/s while the guest is stopped. */
const count = 60;
const at = Array.from({ length: count }, (_, n) => (n - 9) * 100);
const series: Series = {
  atMs: at,
  stepMs: at.map(() => 100),
  wireBytes: at.map((ms) => (ms > 2000 && ms <= 2200 ? 1_250_000 : 150_000)),
  sourceVcpuMs: at.map((ms) => (ms <= 2000 ? 90 : 0)),
  destinationVcpuMs: at.map((ms) => (ms > 2200 ? 90 : 0)),
  neighbourVcpuMs: at.map(() => 0),
  work: null,
  neighbourWork: null,
};
const furtherMs = { preMigration: 0, reservation: 100, preCopy: 1900, stopAndCopy: 200 };

function asInPaper({ case: name, mode }: Cell): Partial<Sample> {
  const isLess = mode === withDsm;
  const work = { before: 100, during: 80, after: 100, lostMs: 0 };
  const downtimeMs = isLess ? (name === 'mg' ? 90 : 40) : 100;
  return { totalMs: isLess ? 2500 : 3000, downtimeMs, wireBytes: isLess ? 40e6 : 50e6, work, series, furtherMs };
}

test('when all is as in the paper every claim holds, and there is a pair of charts over time for each workload', () => {
  const findings = dsmFindings(evidenceOf(dsm, asInPaper));
  for (const { claim, holds, here } of findings.claims) assert.equal(holds, 'yes', `${claim}: ${here}`);
  assert.equal(findings.charts.length, 2 + 2 * 4);
  assert.match(claimOf(findings, 'shortens the downtime').here, /idle: 60 % less; CPU: 60 % less; memory: 10 % less/);
});

test('the other way round nothing holds but what is of one mode alone', () => {
  const swapped = evidenceOf(dsm, (cell) =>
    asInPaper({ ...cell, mode: cell.mode === withDsm ? 'vmferry-precopy' : withDsm }),
  );
  const findings = dsmFindings(swapped);
  for (const text of ['shortens the total time', 'shortens the downtime', 'less data']) {
    assert.equal(claimOf(findings, text).holds, 'no', text);
  }
});

test('work that is lost during the move is no performance kept', () => {
  const slow = { before: 100, during: 50, after: 100, lostMs: 0 };
  const findings = dsmFindings(
    evidenceOf(dsm, (cell) => ({ ...asInPaper(cell), ...(cell.mode === withDsm && { work: slow }) })),
  );
  assert.equal(claimOf(findings, 'degrade').holds, 'no');
});

test('the rate in the downtime is that of the intervals it touches, by how much', () => {
  const rates = ratesAround(sampleOf({ mode: 'vmferry-precopy', series, furtherMs }));
  assert.ok(rates !== null);
  assert.ok(Math.abs(rates.before - 12) < 0.01 && Math.abs(rates.stopped - 100) < 0.01, JSON.stringify(rates));
  assert.equal(ratesAround(sampleOf({ mode: 'vmferry-precopy', series: null, furtherMs })), null);
  assert.equal(ratesAround(sampleOf({ mode: 'qemu-default', series, furtherMs: {} })), null);
});

test('charts over time have the rates per second, and end some seconds after the longest of ours', () => {
  const chart = dsmFindings(evidenceOf(dsm, asInPaper)).charts[2];
  assert.ok(chart?.kind === 'lines');
  const [line] = chart.options.series;
  assert.ok(line !== undefined && line.points.length > 10);
  assert.deepEqual(line.points[0], [-0.85, 12]);
  assert.ok(line.points.every(([x]) => x <= 6));
});
