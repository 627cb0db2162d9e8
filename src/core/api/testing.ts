/** A migration for tests of the rooms that show, keep or transport one. */
import type { MovePlan } from '../model/plan.ts';
import type { MigrationReport, MigrationView } from '../model/migration.ts';

const names = { id: 'm1', vm: 'web', source: 'host-a', destination: 'host-b' };
const times = { elapsedMs: 1200, progress: 0.4, timeToGoMs: 1800, round: 1, boundMs: null };
const flow = {
  pagesTotal: 262_144,
  pagesPending: 100_000,
  pagesUndecided: 0,
  dirtyPagesPerSecond: 5000,
  wireBytes: 80_000_000,
};

export function sampleView(change: Partial<MigrationView> = {}): MigrationView {
  const base = { ...names, ...times, ...flow, wireBytesPerSecond: 110_000_000, directory: null, predicted: null };
  return { ...base, stage: 'preCopy', outcome: null, reason: null, ...change };
}

const switchover = { stopAndCopy: 120, commitment: 30, activation: 50 };
const counts = { total: 262_144, sent: 70_100, resent: 10_100, zero: 202_144 };
const common = {
  startedAt: '2026-11-21T07:30:00.000Z',
  strategy: 'precopy',
  options: {
    prune: 'none',
    keepCache: false,
    dropSlabs: false,
    warmUp: false,
    compress: 'lz',
    delta: 'on',
    lanes: 2,
    maxBandwidth: null,
    downtimeTargetMs: 300,
    verify: false,
    pull: false,
  },
  totalMs: 3400.6,
  stagesMs: { preMigration: 150.3, reservation: 350.3, preCopy: 2700, ...switchover },
  rounds: [
    { round: 1, stage: 'preCopy', ms: 2400, pagesSent: 60_000, wireBytes: 78_000_000, pagesDirtied: 9000 },
    { round: 2, stage: 'preCopy', ms: 300, pagesSent: 9000, wireBytes: 9_500_000, pagesDirtied: 1100 },
  ],
  pages: { ...counts, pruned: null, delta: 6100, unchanged: 40, pulled: null },
  bytes: { wire: 89_000_000, resent: 9_600_000, raw: 287_129_600 },
  cpuMs: { source: { agent: 900, qemu: 700 }, destination: { agent: 600, qemu: null } },
  verified: true,
  notes: [],
  switchover: {
    reason: 'downtime target met',
    afterMs: 2700,
    rounds: 2,
    boundMs: null,
    expectedDowntimeMs: 110,
  },
  pull: null,
  predicted: null,
} as const;

/** A completed migration, or one that fits the outcome in `change`. */
export function sampleReport(change: Partial<MigrationReport> = {}): MigrationReport {
  const end =
    (change.outcome ?? 'completed') === 'completed'
      ? ({ reason: 'what was left fitted the downtime target', code: null, guest: 'running at destination' } as const)
      : ({ reason: 'a person asked for the abort', code: 'FERRY_CANCELLED', guest: 'running at source' } as const);
  return { ...names, ...common, ...end, outcome: 'completed', downtimeMs: end.code === null ? 120.4 : null, ...change };
}

const range = (expected: number) => ({ low: expected * 0.8, expected, high: expected * 1.3 });

export const samplePlan: MovePlan = {
  ...{ vm: 'web', destination: 'host-b', problems: [], measuredMs: 3000, notes: [] },
  guest: {
    ...{ memoryBytes: 1_073_741_824, zeroBytes: 100_000_000, leftOutBytes: 700_000_000, contentBytes: 273_741_824 },
    ...{ packedShare: 0.4, writtenBytesPerS: 20_000_000, writtenToBytes: 134_217_728, deltaBytesPerPage: 300 },
  },
  link: { bytesPerS: 120_000_000, roundTripMs: 0.4 },
  idle: { source: 0.4, destination: 0.9 },
  facts: {
    guest: {
      ...{ pages: 262_144, contentShare: 0.26, wireBytesPerPage: 1640, repeatBytes: 300 },
      wireBytesRange: { low: 1500, high: 1780 },
      workingSet: { pagesPerMs: 5, hotPages: 32_768 },
    },
    path: {
      ...{ linkBytesPerSecond: 120_000_000, roundTripMs: 0.4, lanePagesPerMs: 40, feedPagesPerMs: 250 },
      ...{ feedHold: 'strict', beforeMs: 250, switchMs: 80, afterMs: 20 },
    },
  },
  predictions: [
    {
      ...{ strategy: 'auto', totalMs: range(2500), downtimeMs: range(120), wireBytes: range(110_000_000) },
      limitedBy: 'processors',
    },
    {
      ...{ strategy: 'mplm', totalMs: range(2700), downtimeMs: range(400), wireBytes: range(120_000_000) },
      limitedBy: 'processors',
    },
  ],
  recommended: 'auto',
  why: 'auto: it takes about 2.5 s and keeps the downtime target of 300 ms; the processors of the hosts are what limits it.',
};
