/**
 * One migration as people and programs see it: its options, its live view, its report.
 *
 * The view is a snapshot that the source produces a few times a second; progress bars, the API and `--events` are pure
 * functions of it. The report is its final, immutable form and what `vmferry migrate --json` prints; `null` stands
 * where a part of the system that fills it is not in use.
 */

import type { PredictedMove, Prediction } from './prediction.ts';
import type { SwitchoverReport } from './switchover.ts';

export const strategyNames = ['auto', 'precopy', 'mplm', 'dsm', 'postcopy'] as const;
export type StrategyName = (typeof strategyNames)[number];

export const compressModes = ['none', 'lz', 'adaptive'] as const;
export type CompressMode = (typeof compressModes)[number];

/** Pages that are not sent: none, those that the guest does not use, or also its clean file cache, which it drops. */
export const pruneModes = ['none', 'free', 'soft'] as const;
export type PruneMode = (typeof pruneModes)[number];
export const deltaModes = ['on', 'off'] as const;
export type DeltaMode = (typeof deltaModes)[number];

export type MigrationOptions = {
  readonly strategy: StrategyName;
  readonly prune: PruneMode;
  /** With `soft`: file cache that was used lately stays in the guest, and is sent. */
  readonly keepCache: boolean;
  /** With `soft`: the kernel's caches of names and inodes are dropped, too. */
  readonly dropSlabs: boolean;
  /** With `soft`: the guest reads the files that it had in its cache again, wherever it goes on. */
  readonly warmUp: boolean;
  readonly compress: CompressMode;
  /** Whether pages sent again travel as their difference to the version sent last. */
  readonly delta: DeltaMode;
  /** Bytes of such versions that the source keeps, over all lanes. */
  readonly deltaCacheBytes: number;
  readonly lanes: number;
  /** Wire bytes per second over all lanes; null = as fast as the link. */
  readonly maxBandwidthBytesPerSecond: number | null;
  readonly downtimeTargetMs: number;
  readonly maxRounds: number;
  /** Strategy mplm: time between two dirty syncs. */
  readonly intervalMs: number;
  readonly verify: boolean;
  /** The operator allows that the guest runs at the destination while some of its pages are still at the source. */
  readonly pull: boolean;
  /** Abort when the peer has not been heard of, or nothing moved, for this long. */
  readonly stallTimeoutMs: number;
};

/**
 * Lanes unless somebody says otherwise: half of the processors, because the guest and QEMU need the others, and more
 * than four rarely help. On two processors one lane was faster than two.
 */
export function defaultLanes(processors: number): number {
  return Math.max(1, Math.min(4, Math.floor(processors / 2)));
}

export const defaultMigrationOptions: MigrationOptions = {
  strategy: 'auto',
  prune: 'soft',
  keepCache: false,
  dropSlabs: false,
  warmUp: false,
  compress: 'adaptive',
  delta: 'on',
  deltaCacheBytes: 64 * 1024 * 1024,
  lanes: 2,
  maxBandwidthBytesPerSecond: null,
  downtimeTargetMs: 300,
  maxRounds: 30,
  intervalMs: 3000,
  verify: false,
  pull: false,
  stallTimeoutMs: 10_000,
};

/** Whether pages are left to be pulled behind the commit: the operator's word, and a strategy that makes use of it. */
export function hasPullPhase({ pull, strategy }: Pick<MigrationOptions, 'pull' | 'strategy'>): boolean {
  return pull && (strategy === 'dsm' || strategy === 'postcopy');
}

/** What a migration goes through, one stage after the other; their times add up to the total. */
export const stageNames = [
  'preMigration',
  'reservation',
  'preCopy',
  'stopAndCopy',
  'commitment',
  'activation',
] as const;
export type StageName = (typeof stageNames)[number];

export type Outcome = 'completed' | 'aborted' | 'failed';

/** Where the guest is, in the words used in messages to people. */
export type GuestWhereabouts =
  'running at source' | 'running at destination' | 'paused at source' | 'in doubt' | 'lost';

export type RoundReport = {
  readonly round: number;
  /** What was sent after the guest had stopped is listed as a round of its own, and so is what was pulled (`activation`). */
  readonly stage: 'preCopy' | 'stopAndCopy' | 'activation';
  /** The rounds of the pre-copy fill that stage: their times add up to its time. */
  readonly ms: number;
  readonly pagesSent: number;
  readonly wireBytes: number;
  /** Pages the feed named while the round ran. */
  readonly pagesDirtied: number;
};

export type PageCounts = {
  /** Pages of guest RAM. */
  readonly total: number;
  /** Page contents that crossed the wire, repeats included, zero pages excluded. */
  readonly sent: number;
  /** Of `sent`, those whose page had been sent before. */
  readonly resent: number;
  /** Pages known to be zero and never sent as content. */
  readonly zero: number;
  /** Pages with content that were left out because the guest can do without it; null with `--prune none`. */
  readonly pruned: number | null;
  /** Of `sent`, those that travelled as a delta; null with delta off. */
  readonly delta: number | null;
  /** Pages that were due again and not sent, because their content was what the destination holds; null with delta off. */
  readonly unchanged: number | null;
  /** Pages that were left to the pull phase; null without one. */
  readonly pulled: number | null;
};

export type ByteCounts = {
  /** Of all frames of the lanes, and of what was pulled. */
  readonly wire: number;
  /**
   * Of `wire`, those of pages that a lane had sent before: whole ones, deltas, frames that only say that nothing changed. The
   * others are those of pages sent for the first time, zero runs, and what was pulled.
   */
  readonly resent: number;
  /** 4096 for each page of `PageCounts.sent`: what they are before deltas and compression. */
  readonly raw: number;
};

/** The pull phase: the guest runs at the destination, and pages that it misses come from the source. */
export type PullReport = {
  /** From the guest's start to its last page; part of the stage `activation`. */
  readonly ms: number;
  /** Requests of the destination QEMU for pages that were still at the source. */
  readonly faults: number;
  /** From the request until QEMU had the page; null without faults. */
  readonly medianMs: number | null;
  readonly p99Ms: number | null;
};

/** The directory of guest memory: in which state pages are, hence which host has their newest copy. The counts add up to all pages. */
export type PageDirectory = {
  /** At the source: not looked at yet, to be sent, kept back because the guest keeps writing to them. */
  readonly unnamed: number;
  readonly pending: number;
  readonly withheld: number;
  /** Left out, because the guest can do without them, or was asked whether it can. */
  readonly spared: number;
  /** At the source, while the guest runs at the destination already. */
  readonly missing: number;
  readonly inFlight: number;
  /** At the destination: placed there, or zero and never sent. */
  readonly placed: number;
  readonly zero: number;
};

/** A live snapshot of a migration in progress or just ended. */
export type MigrationView = {
  readonly id: string;
  readonly vm: string;
  readonly source: string;
  readonly destination: string;
  readonly stage: StageName | 'ended';
  readonly outcome: Outcome | null;
  readonly reason: string | null;
  readonly elapsedMs: number;
  /** 0 to 1, never decreasing, 1 only when ended. */
  readonly progress: number;
  readonly timeToGoMs: number | null;
  readonly round: number;
  /** Promised: from the beginning of the pre-copy to the guest's stop at most; null without a promise, or before it. */
  readonly boundMs: number | null;
  readonly pagesTotal: number;
  readonly pagesPending: number;
  /** The guest has not said yet whether it needs them. */
  readonly pagesUndecided: number;
  readonly dirtyPagesPerSecond: number;
  readonly wireBytes: number;
  readonly wireBytesPerSecond: number;
  /** Null before pages are looked at, and when the migration has ended. */
  readonly directory: PageDirectory | null;
  /** What was expected of it before its start; null where nobody asked. */
  readonly predicted: Prediction | null;
};

export type CpuMs = { readonly agent: number | null; readonly qemu: number | null };

export type MigrationReport = {
  readonly id: string;
  readonly vm: string;
  readonly source: string;
  readonly destination: string;
  readonly startedAt: string;
  readonly strategy: StrategyName;
  readonly options: {
    readonly prune: PruneMode;
    readonly keepCache: boolean;
    readonly dropSlabs: boolean;
    readonly warmUp: boolean;
    readonly compress: CompressMode;
    readonly delta: string | null;
    readonly lanes: number;
    readonly maxBandwidth: number | null;
    readonly downtimeTargetMs: number;
    readonly verify: boolean;
    readonly pull: boolean;
  };
  readonly outcome: Outcome;
  /** Why it ended: the stop rule when completed, the cause otherwise. */
  readonly reason: string;
  /** Stable error code when not completed. */
  readonly code: string | null;
  readonly guest: GuestWhereabouts;
  readonly totalMs: number;
  readonly downtimeMs: number | null;
  readonly stagesMs: Readonly<Record<StageName, number>>;
  readonly rounds: readonly RoundReport[];
  readonly pages: PageCounts;
  readonly bytes: ByteCounts;
  readonly cpuMs: { readonly source: CpuMs; readonly destination: CpuMs };
  /** true: every page was compared and equal, except the pruned ones; false: not asked for, or not reached. */
  readonly verified: boolean;
  /** Sentences about what went otherwise than asked for, without having hurt. */
  readonly notes: readonly string[];
  /** Null when the guest was not stopped. */
  readonly switchover: SwitchoverReport | null;
  /** Null without a pull phase, or when it was not reached. */
  readonly pull: PullReport | null;
  /** What was expected of it before its start; null where nobody asked. */
  readonly predicted: PredictedMove | null;
};

/** The options as reports show them. */
export function reportedOptions(options: MigrationOptions): MigrationReport['options'] {
  const { prune, keepCache, dropSlabs, warmUp, compress, delta, lanes, downtimeTargetMs, verify } = options;
  const maxBandwidth = options.maxBandwidthBytesPerSecond;
  return {
    ...{ prune, keepCache, dropSlabs, warmUp, compress, delta, lanes, maxBandwidth },
    ...{ downtimeTargetMs, verify, pull: hasPullPhase(options) },
  };
}
