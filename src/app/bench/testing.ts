/** Samples for tests of this room. */
import type { Sample } from './samples.ts';
import type { BenchResult } from './results.ts';
import { resultCells } from './results.ts';
import { forecastsOf } from './forecasts.ts';
import { comparisonsOf, summariesOf } from './comparisons.ts';

/** A completed move of the case "slow" over 1 Gbit/s, with what is given in its place. */
export function sampleOf(given: Partial<Sample> & Pick<Sample, 'mode'>): Sample {
  const cpu = { agentMs: 300, qemuMs: 200, vcpuMs: 900 };
  const peak = { agentBytes: 100e6, qemuBytes: 500e6 };
  return {
    ...{ run: 1, case: 'slow', link: '1gbit', definition: 'd', startedAt: '2026-11-21T10:00:00.000Z', tookMs: 30_000 },
    ...{ outcome: 'completed', reason: 'completed', qemuVersion: '10.0.3' },
    ...{
      switchover: null,
      totalMs: 2000,
      elapsedMs: 2100,
      downtimeMs: 40,
      clientGapMs: 60,
      quietGapMs: 5,
      wireBytes: 100e6,
      pagesSent: 25_000,
    },
    ...{ cpu: { source: cpu, destination: cpu }, peak: { source: peak, destination: peak } },
    ...{ work: { before: 5000, during: 4000, after: 5000, lostMs: 400 }, neighbourWork: null },
    ...{
      limitBytes: null,
      limitProblem: null,
      damage: 0,
      furtherMs: {},
      forecast: null,
      echo: null,
      server: null,
      series: null,
    },
    ...given,
  };
}

export function resultOf(samples: readonly Sample[]): BenchResult {
  const comparisons = comparisonsOf(samples);
  return {
    machine: {
      ...{
        processor: 'Example 9000 <x>',
        processors: 2,
        memoryBytes: 24 * 2 ** 30,
        kernel: 'Linux 6.1',
        system: 'Debian 12',
      },
      accelerator: 'tcg',
    },
    versions: { vmferry: '0.1.0 (abc)', qemu: '10.0.3', node: '24.1.0' },
    ...{ date: '2026-11-21T10:00:00.000Z', until: '2026-11-21T12:30:00.000Z', command: 'vmferry bench --runs 3' },
    ...{
      cells: resultCells(samples),
      comparisons,
      summaries: summariesOf(comparisons),
      forecasts: forecastsOf(samples),
    },
  };
}
