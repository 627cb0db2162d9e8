/** What a session notes while a migration runs, and the view and the report that are made of it. */
import type {
  CpuMs,
  GuestWhereabouts,
  MigrationOptions,
  MigrationReport,
  MigrationView,
  Outcome,
  PageCounts,
  RoundReport,
} from '../../core/model/migration.ts';
import { StageClock } from './stage-clock.ts';
import type { PumpProgress, PumpTotals } from './pump-protocol.ts';

export type RecordSubject = {
  readonly id: string;
  readonly vm: string;
  readonly source: string;
  readonly destination: string;
  readonly options: MigrationOptions;
};

export type RecordEnd = {
  readonly outcome: Outcome;
  readonly reason: string;
  readonly code: string | null;
  readonly guest: GuestWhereabouts;
};

const nobody: CpuMs = { agent: null, qemu: null };
const noPages: PageCounts = {
  total: 0,
  sent: 0,
  resent: 0,
  zero: 0,
  pruned: null,
  delta: null,
  unchanged: null,
  pulled: null,
};

export class MigrationRecord {
  readonly clock = new StageClock();
  readonly #subject: RecordSubject;
  readonly #startedAt = new Date().toISOString();
  #progress: PumpProgress | null = null;
  #totals: PumpTotals | null = null;
  #stoppedAtMs: number | null = null;
  #commitSentAtMs: number | null = null;
  #downtimeMs: number | null = null;
  #cpuMs = { source: nobody, destination: nobody };
  #verified = false;
  #end: RecordEnd | null = null;

  constructor(subject: RecordSubject) {
    this.#subject = subject;
  }

  set progress(progress: PumpProgress | null) {
    this.#progress = progress;
  }

  set totals(totals: PumpTotals | null) {
    this.#totals = totals ?? this.#totals;
  }

  set verified(verified: boolean) {
    this.#verified = verified;
  }

  set sourceCpuMs(cpuMs: CpuMs) {
    this.#cpuMs = { ...this.#cpuMs, source: cpuMs };
  }

  set destinationCpuMs(cpuMs: CpuMs) {
    this.#cpuMs = { ...this.#cpuMs, destination: cpuMs };
  }

  get ended(): boolean {
    return this.#end !== null;
  }

  /** The guest's CPUs stopped at this time of performance.now(); the earliest word counts. */
  guestStopped(atMs: number): void {
    this.#stoppedAtMs = Math.min(this.#stoppedAtMs ?? Infinity, atMs);
    this.clock.enter('stopAndCopy', this.#stoppedAtMs);
  }

  commitSent(): void {
    this.#commitSentAtMs ??= performance.now();
    this.clock.enter('activation');
  }

  /**
   * The guest runs at the destination. Two clocks meet here, so each measures its own part: from the stop to COMMIT here,
   * half a round trip, from COMMIT to the running guest there (`resumeMs`).
   */
  guestActive(resumeMs: number, roundTripMs: number): void {
    this.clock.stop();
    if (this.#stoppedAtMs === null || this.#commitSentAtMs === null) return;
    this.#downtimeMs = this.#commitSentAtMs - this.#stoppedAtMs + roundTripMs / 2 + resumeMs;
  }

  end(end: RecordEnd): void {
    if (this.#end !== null) return;
    this.clock.stop();
    this.#end = end;
  }

  view(): MigrationView {
    const { id, vm, source, destination } = this.#subject;
    const progress = this.#progress;
    const ended = this.#end !== null;
    return {
      ...{ id, vm, source, destination },
      stage: ended ? 'ended' : (this.clock.stage ?? 'activation'),
      outcome: this.#end?.outcome ?? null,
      reason: this.#end?.reason ?? null,
      elapsedMs: this.clock.elapsedMs,
      progress: this.#end?.outcome === 'completed' ? 1 : Math.min(0.99, progress?.progress ?? 0),
      timeToGoMs: ended ? 0 : (progress?.timeToGoMs ?? null),
      round: progress?.round ?? 0,
      pagesTotal: this.#totals?.pages.total ?? progress?.pagesTotal ?? 0,
      pagesPending: progress?.pagesPending ?? 0,
      dirtyPagesPerSecond: progress?.dirtyPagesPerSecond ?? 0,
      wireBytes: this.#totals?.bytes.wire ?? progress?.wireBytes ?? 0,
      wireBytesPerSecond: progress?.wireBytesPerSecond ?? 0,
    };
  }

  /** Only after `end`. */
  report(): MigrationReport {
    const { options, ...subject } = this.#subject;
    const end = this.#end ?? { outcome: 'failed', reason: 'not ended', code: null, guest: 'in doubt' };
    const stagesMs = this.clock.stagesMs();
    return {
      ...subject,
      startedAt: this.#startedAt,
      strategy: options.strategy,
      options: {
        prune: null,
        compress: options.compress,
        delta: options.delta,
        lanes: options.lanes,
        maxBandwidth: options.maxBandwidthBytesPerSecond,
        downtimeTargetMs: options.downtimeTargetMs,
        verify: options.verify,
      },
      ...end,
      reason: end.outcome === 'completed' ? (this.#totals?.switchoverReason ?? end.reason) : end.reason,
      totalMs: Object.values(stagesMs).reduce((sum, ms) => sum + ms, 0),
      downtimeMs: end.outcome === 'completed' ? this.#downtimeMs : null,
      stagesMs,
      rounds: fitRounds(this.#totals?.rounds ?? [], stagesMs.preCopy),
      pages: this.#totals?.pages ?? noPages,
      bytes: this.#totals?.bytes ?? { wire: this.#progress?.wireBytes ?? 0, raw: 0 },
      cpuMs: this.#cpuMs,
      verified: this.#verified,
      predicted: null,
    };
  }
}

/**
 * The pump times its rounds by its own clock, from when it could be fed to the end of the stream's last PART; the stage
 * is timed here. What lies between (QEMU's start, the word of the stop) belongs to the first round.
 */
function fitRounds(rounds: readonly RoundReport[], preCopyMs: number): RoundReport[] {
  const timed = rounds.filter((round) => round.stage === 'preCopy').reduce((sum, { ms }) => sum + ms, 0);
  return rounds.map((round, i) => (i === 0 ? { ...round, ms: Math.max(0, round.ms + preCopyMs - timed) } : round));
}
