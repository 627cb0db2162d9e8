/** What a bench found, as `SET.json` holds it: medians of every cell, and what they were measured on. Built purely from samples. */
import { z } from 'zod';
import { linkBitsPerS, linkNames } from '../lab/plan.ts';
import { comparisonSchema, summarySchema } from './comparisons.ts';
import { forecastsSchema } from './forecasts.ts';
import { modeOf } from './modes.ts';
import { serverSchema } from './samples.ts';
import type { Sample } from './samples.ts';
import { cellKey } from './schedule.ts';
import { figureOf } from './statistics.ts';
import type { Figure } from './statistics.ts';

const figureSchema = z.object({ median: z.number(), min: z.number(), max: z.number() }).nullable();

const cellSchema = z.object({
  case: z.string(),
  link: z.enum(linkNames),
  mode: z.string(),
  family: z.enum(['vmferry', 'qemu']),
  /** Moves that were made, and how many of them completed. */
  runs: z.int(),
  completed: z.int(),
  /** `completed` if all of them did, else how the first that did not ended. */
  outcome: z.enum(['completed', 'aborted', 'failed']),
  /** Why, if it did not. */
  reason: z.string().nullable(),
  totalMs: figureSchema,
  downtimeMs: figureSchema,
  clientGapMs: figureSchema,
  wireBytes: figureSchema,
  /** Of QEMU without its virtual processors, and of the agent. */
  sourceCpuMs: figureSchema,
  destinationCpuMs: figureSchema,
  sourcePeakBytes: figureSchema,
  destinationPeakBytes: figureSchema,
  /** Of the agents alone. */
  agentPeakBytes: figureSchema,
  limitMs: figureSchema,
  limitBytes: figureSchema,
  /** `limitMs` divided by the total, within each run. */
  efficiency: figureSchema,
  /** The guest's own work, as parts of what it did per second before the move. */
  workDuring: figureSchema,
  workAfter: figureSchema,
  workLostMs: figureSchema,
  neighbourWorkDuring: figureSchema,
  /** What clients of the guest's server saw in all completed moves together; null where the guest is none. */
  server: serverSchema.nullable().default(null),
  damage: z.number(),
});

export const machineSchema = z.object({
  processor: z.string(),
  processors: z.number(),
  memoryBytes: z.number(),
  kernel: z.string(),
  system: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
});
export const versionsSchema = z.object({
  vmferry: z.string(),
  qemu: z.string(),
  node: z.string(),
});

/** On what, when and how it was measured. */
const measuredSchema = z.object({
  machine: machineSchema,
  versions: versionsSchema,
  /** Of the first sample and of the last one. */
  date: z.string(),
  until: z.string(),
  command: z.string(),
});

export const resultSchema = measuredSchema.extend({
  cells: z.array(cellSchema),
  comparisons: z.array(comparisonSchema),
  summaries: z.array(summarySchema),
  /** Null where no move was predicted. */
  forecasts: forecastsSchema.nullable().default(null),
});

export type Machine = z.infer<typeof machineSchema>;
export type Versions = z.infer<typeof versionsSchema>;
export type Measured = z.infer<typeof measuredSchema>;
export type ResultCell = z.infer<typeof cellSchema>;
export type BenchResult = z.infer<typeof resultSchema>;

/** One cell for each case, link and mode that has a sample, in the order of the first ones; of valid samples. */
export function resultCells(samples: readonly Sample[]): ResultCell[] {
  const groups = Map.groupBy(samples, cellKey);
  return [...groups.values()].map((group) => cellOf(group, samples));
}

function cellOf(group: readonly Sample[], all: readonly Sample[]): ResultCell {
  const [first] = group as readonly [Sample, ...Sample[]];
  const done = group.filter(({ outcome }) => outcome === 'completed');
  const failed = group.find(({ outcome }) => outcome !== 'completed');
  const figure = (of: (sample: Sample) => number | null | undefined): Figure | null => figureOf(done.map(of));
  const limitMs = (sample: Sample): number | null => limitMsOf(sample, all);
  return {
    ...{ case: first.case, link: first.link, mode: first.mode, family: modeOf(first.mode).family },
    ...{ runs: group.length, completed: done.length },
    outcome: failed === undefined ? 'completed' : failed.outcome === 'aborted' ? 'aborted' : 'failed',
    reason: failed?.reason ?? null,
    totalMs: figure(({ totalMs }) => totalMs),
    downtimeMs: figure(({ downtimeMs }) => downtimeMs),
    clientGapMs: figure(({ clientGapMs }) => clientGapMs),
    wireBytes: figure(({ wireBytes }) => wireBytes),
    sourceCpuMs: figure(({ cpu }) => cpu && cpu.source.agentMs + cpu.source.qemuMs),
    destinationCpuMs: figure(({ cpu }) => cpu && cpu.destination.agentMs + cpu.destination.qemuMs),
    sourcePeakBytes: figure(({ peak }) => peak && peak.source.agentBytes + peak.source.qemuBytes),
    destinationPeakBytes: figure(({ peak }) => peak && peak.destination.agentBytes + peak.destination.qemuBytes),
    agentPeakBytes: figure(({ peak }) => peak && peak.source.agentBytes + peak.destination.agentBytes),
    // The limit is the guest's, whether a mode came to its end or not.
    limitMs: figureOf(group.map(limitMs)),
    limitBytes: figureOf(group.map((sample) => limitBytesOf(sample, all))),
    efficiency: figure((sample) => quotient(limitMs(sample), sample.totalMs)),
    workDuring: figure(({ work }) => work && quotient(work.during, work.before)),
    workAfter: figure(({ work }) => work && quotient(work.after, work.before)),
    workLostMs: figure(({ work }) => work?.lostMs),
    neighbourWorkDuring: figure(
      ({ neighbourWork }) => neighbourWork && quotient(neighbourWork.during, neighbourWork.before),
    ),
    server: serverOf(done),
    damage: group.reduce((sum, sample) => sum + sample.damage, 0),
  };
}

/** Sums, and the longest gap of all. */
function serverOf(samples: readonly Sample[]): ResultCell['server'] {
  const seen = samples.flatMap(({ server }) => server ?? []);
  if (seen.length === 0) return null;
  const sum = (of: 'requests' | 'failures' | 'lostConnections'): number =>
    seen.reduce((all, each) => all + each[of], 0);
  return {
    ...{ requests: sum('requests'), failures: sum('failures'), lostConnections: sum('lostConnections') },
    longestGapMs: Math.max(...seen.map(({ longestGapMs }) => longestGapMs)),
  };
}

/** It is measured once per case and run, before one of the moves; it is the same guest for all modes. */
export function limitBytesOf(of: Pick<Sample, 'case' | 'run'>, samples: readonly Sample[]): number | null {
  return (
    samples.find((each) => each.case === of.case && each.run === of.run && each.limitBytes !== null)?.limitBytes ?? null
  );
}

function limitMsOf(sample: Sample, samples: readonly Sample[]): number | null {
  const bytes = limitBytesOf(sample, samples);
  return bytes === null ? null : ((bytes * 8) / linkBitsPerS[sample.link]) * 1000;
}

function quotient(a: number | null, b: number | null): number | null {
  return a === null || b === null || b === 0 ? null : a / b;
}
