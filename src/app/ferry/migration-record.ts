/** What a session notes while a migration runs, and the view and the report that are made of it. */
import { reportedOptions } from '../../core/model/migration.ts';
import type {
  ByteCounts,
  CpuMs,
  GuestWhereabouts,
  MigrationOptions,
  MigrationReport,
  MigrationView,
  Outcome,
  PageCounts,
  PageDirectory,
  RoundReport,
} from '../../core/model/migration.ts';
import type { PullReport } from '../../core/model/migration.ts';
import type { PredictedMove } from '../../core/model/prediction.ts';
import { Countdown } from '../../core/predict/countdown.ts';
import type { ServedCounts } from './page-server.ts';
import { StageClock } from './stage-clock.ts';
import type { PumpProgress, PumpTotals } from './pump-protocol.ts';

export type RecordSubject = {
  readonly id: string;
  readonly vm: string;
  readonly source: string;
  readonly destination: string;
  readonly options: MigrationOptions;
  readonly predicted: PredictedMove | null;
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
  readonly clock: StageClock;
  readonly #subject: RecordSubject;
  readonly #startedAt = new Date().toISOString();
  #progress: PumpProgress | null = null;
  #totals: PumpTotals | null = null;
  #stoppedAtMs: number | null = null;
  #commitSentAtMs: number | null = null;
  #downtimeMs: number | null = null;
  #cpuMs = { source: nobody, destination: nobody };
  #verified = false;
  #notes: readonly string[] = [];
  #served: ServedCounts = { dataPages: 0, zeroPages: 0, rawBytes: 0, wireBytes: 0 };
  #pullingSinceMs: number | null = null;
  #pulledMs: number | null = null;
  #pull: PullReport | null = null;
  #end: RecordEnd | null = null;
  readonly #countdown: Countdown;

  /** `now`: a monotonic clock in milliseconds, for the stages. */
  constructor(subject: RecordSubject, now: () => number = () => performance.now()) {
    this.clock = new StageClock(now);
    this.#subject = subject;
    this.#countdown = new Countdown(subject.predicted?.totalMs ?? null);
  }

  set progress(progress: PumpProgress | null) {
    this.#progress = progress;
  }

  set totals(totals: PumpTotals | null) {
    this.#totals = totals ?? this.#totals;
  }

  set notes(notes: readonly string[]) {
    this.#notes = notes;
  }

  set verified(verified: boolean) {
    this.#verified = verified;
  }

  /** What the pull phase has taken from here so far. */
  set served(counts: ServedCounts) {
    this.#served = counts;
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
  guestActive(active: {
    readonly resumeMs: number;
    readonly roundTripMs: number;
    readonly pulling: boolean;
    readonly pull: PullReport | null;
  }): void {
    const { resumeMs, roundTripMs, pulling, pull } = active;
    if (pulling) this.#pullingSinceMs ??= performance.now();
    else {
      this.clock.stop();
      this.#pull = pull;
      if (this.#pullingSinceMs !== null) this.#pulledMs ??= performance.now() - this.#pullingSinceMs;
    }
    if (this.#stoppedAtMs === null || this.#commitSentAtMs === null) return;
    this.#downtimeMs ??= this.#commitSentAtMs - this.#stoppedAtMs + roundTripMs / 2 + resumeMs;
  }

  /** The source QEMU ended before the destination had pulled everything. Returns the reason, for people. */
  endWithPagesLost(): string {
    const { vm, destination } = this.#subject;
    const left = this.#totals?.pages.pulled ?? null;
    const served = this.#served.dataPages + this.#served.zeroPages;
    const count = left === null ? 'an unknown number of its pages' : `${Math.max(0, left - served)} of its pages`;
    const reason =
      `The source QEMU of VM "${vm}" ended while host "${destination}" still pulled: ${count} are lost, and the guest stands ` +
      `still there as soon as it touches one. Stop it with "vmferry vm stop ${vm} --force" at ${destination} and start it again`;
    this.end({ outcome: 'failed', reason, code: 'FERRY_PAGES_LOST', guest: 'lost' });
    return reason;
  }

  end(end: RecordEnd): void {
    if (this.#end !== null) return;
    this.clock.stop();
    this.#end = end;
  }

  view(): MigrationView {
    const { id, vm, source, destination, predicted } = this.#subject;
    const progress = this.#progress;
    const ended = this.#end !== null;
    const { elapsedMs } = this.clock;
    const done = this.#end?.outcome === 'completed' ? 1 : Math.min(0.99, progress?.progress ?? 0);
    return {
      ...{ id, vm, source, destination },
      stage: ended ? 'ended' : (this.clock.stage ?? 'activation'),
      outcome: this.#end?.outcome ?? null,
      reason: this.#end?.reason ?? null,
      elapsedMs,
      progress: done,
      timeToGoMs: ended ? 0 : this.#countdown.toGoMs(elapsedMs, done, progress?.timeToGoMs ?? null),
      round: progress?.round ?? 0,
      boundMs: progress?.boundMs ?? null,
      pagesTotal: this.#totals?.pages.total ?? progress?.pagesTotal ?? 0,
      pagesPending: progress?.pagesPending ?? 0,
      pagesUndecided: progress?.pagesUndecided ?? 0,
      dirtyPagesPerSecond: progress?.dirtyPagesPerSecond ?? 0,
      wireBytes: this.#totals?.bytes.wire ?? progress?.wireBytes ?? 0,
      wireBytesPerSecond: progress?.wireBytesPerSecond ?? 0,
      directory: ended ? null : this.#directory(),
      predicted,
    };
  }

  /** Once the guest runs there, what was left is missing until it has been served. */
  #directory(): PageDirectory | null {
    const before = this.#totals?.directory ?? this.#progress?.directory ?? null;
    if (before === null || this.#pullingSinceMs === null) return before;
    const left = before.pending + before.withheld;
    const served = Math.min(left, this.#served.dataPages + this.#served.zeroPages);
    return { ...before, pending: 0, withheld: 0, missing: left - served, placed: before.placed + served };
  }

  /** What was pulled, as a round of its own behind the others. */
  #pullRound(): RoundReport[] {
    const { dataPages, wireBytes } = this.#served;
    if (dataPages === 0 && wireBytes === 0) return [];
    const round = (this.#totals?.rounds.length ?? 0) + 1;
    const ms = this.#pulledMs ?? 0;
    return [{ round, stage: 'activation', ms, pagesSent: dataPages, wireBytes, pagesDirtied: 0 }];
  }

  #pages(): PageCounts {
    const pages = this.#totals?.pages ?? noPages;
    return { ...pages, sent: pages.sent + this.#served.dataPages };
  }

  #bytes(): ByteCounts {
    const { wire, resent, raw } = this.#totals?.bytes ?? { wire: this.#progress?.wireBytes ?? 0, resent: 0, raw: 0 };
    return { wire: wire + this.#served.wireBytes, resent, raw: raw + this.#served.rawBytes };
  }

  /** Only after `end`. */
  report(): MigrationReport {
    const { options, predicted, ...subject } = this.#subject;
    const end = this.#end ?? { outcome: 'failed', reason: 'not ended', code: null, guest: 'in doubt' };
    const stagesMs = this.clock.stagesMs();
    return {
      ...subject,
      startedAt: this.#startedAt,
      strategy: options.strategy,
      options: reportedOptions(options),
      ...end,
      reason: end.outcome === 'completed' ? (this.#totals?.switchover?.reason ?? end.reason) : end.reason,
      // Not the sum of the stages, which rounds differently: time that is shown never goes back, not even by 2^-40 ms.
      totalMs: this.clock.elapsedMs,
      downtimeMs: end.outcome === 'completed' ? this.#downtimeMs : null,
      stagesMs,
      rounds: [...fitRounds(this.#totals?.rounds ?? [], stagesMs.preCopy), ...this.#pullRound()],
      pages: this.#pages(),
      bytes: this.#bytes(),
      cpuMs: this.#cpuMs,
      verified: this.#verified,
      notes: this.#notes,
      switchover: this.#totals?.switchover ?? null,
      pull: this.#pull,
      predicted,
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
