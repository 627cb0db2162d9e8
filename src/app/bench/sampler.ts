/**
 * One move, watched from outside in the same way whatever makes it (docs/benchmarks.md):
 *
 *     start, boot, free memory made resident ▸ workload settles ▸ limit (once per case and run) ▸ rate of work before
 *       ▸ [ move: wire bytes, heartbeats, processes ] ▸ rate of work after ▸ writer checks all its memory ▸ end
 *
 * Total time is from the request until the guest runs at the destination and its mover says that all of it is there. What a
 * mover does afterwards to end the source is in `elapsedMs`, the time between the brackets.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../core/base/errors.ts';
import { switchoverText } from '../../core/model/switchover.ts';
import { GuestAgentError } from '../../io/qemu/errors.ts';
import { QmpClient } from '../../io/qemu/qmp-client.ts';
import type { MoveFigures } from '../lab/comparison.ts';
import { labStatus } from '../lab/lab.ts';
import { checkMoved, moveWatched, waitForPass, waitUntilReady } from '../lab/move-watch.ts';
import type { MovableGuest, Moved, Watched, WatchTools } from '../lab/move-watch.ts';
import { ResidentMemory } from '../lab/resident-memory.ts';
import { VmferryGuest } from '../lab/vmferry-migration.ts';
import {
  memoryBytesOf,
  movedAddress,
  programFailures,
  socketsBeside,
  startMoved,
  startNeighbour,
  workKindOf,
  workPoints,
} from './bench-guest.ts';
import type { Accelerator, WorkKind } from './bench-guest.ts';
import { caseOf } from './cases.ts';
import type { BenchCase, CaseGuest } from './cases.ts';
import { EchoClient } from './echo-load.ts';
import { readConsole, waitForLines, watchArrivals } from './console-watch.ts';
import { limitOfGuest } from './guest-limit.ts';
import { modeOf } from './modes.ts';
import { benchQemus, ProcessWatch } from './process-watch.ts';
import type { AgentPids, ProcessFigures } from './process-watch.ts';
import { hashOf } from './samples.ts';
import type { Forecast, GuestWork, Sample } from './samples.ts';
import type { Step } from './schedule.ts';
import { startServerClient } from './server-load.ts';
import type { ServerClient } from './server-load.ts';
import { SeriesWatch, withWork } from './series-watch.ts';
import { RATE_WINDOW_MS, workRates } from './work-curve.ts';
import type { SeenPoint, WorkPoint } from './work-curve.ts';

export type SampleOptions = {
  readonly accelerator: Accelerator;
  /** A migration that has not completed by then is given up. */
  readonly timeoutMs: number;
  readonly wantsLimit: boolean;
  /** Whether what goes on over time is kept, from some seconds before the move until some seconds after it. */
  readonly wantsSeries?: boolean;
  /** Whether vmferry predicts the move before it: the time of that is in none of the figures. */
  readonly wantsForecast?: boolean;
};

/** A workload's own start (its tables, its memory) is over after so many of its lines: ten a second, or one. */
const SETTLE_LINES: Readonly<Record<WorkKind, number>> = { writer: 20, program: 4 };
const LINES_TIMEOUT_MS = 30_000;
/** At least two lines, so that one is seen soon after it was written. */
const ARRIVALS_MS: Readonly<Record<WorkKind, number>> = { writer: 600, program: 2500 };
/**
 * Which samples may stand side by side: those whose figures mean the same. 2: total times of QEMU's modes have its start at the
 * destination; 3: free memory is resident, and the rate before does not have the measuring of the limit in it.
 */
const MEASUREMENT = 3;
/** The rate after the move is that of at least so many lines. */
const AFTER_LINES: Readonly<Record<WorkKind, number>> = { writer: 40, program: 4 };

/** Throws what starting and watching guests throws; a move that does not complete is a sample. */
export async function takeSample(step: Step, tools: WatchTools, options: SampleOptions): Promise<Sample> {
  const startedAt = new Date().toISOString();
  const beginMs = performance.now();
  const benchCase = caseOf(step.case);
  await using memory = ResidentMemory.forGuest(memoryBytesOf(benchCase.guest));
  const neighbour =
    benchCase.neighbour === undefined ? null : await startNeighbour(benchCase.neighbour, tools, options.accelerator);
  try {
    const guest = await startMoved(benchCase, modeOf(step.mode), tools, options);
    try {
      if (guest instanceof VmferryGuest) guest.wantsPlan = options.wantsForecast === true;
      const watch = new Watch(benchCase, guest, neighbour, tools);
      const seen = await watch.run(options, memory).finally(() => watch.close());
      return { ...step, ...seen, definition: definitionOf(step), startedAt, tookMs: performance.now() - beginMs };
    } finally {
      await guest.stop();
    }
  } finally {
    await neighbour?.stop();
  }
}

type Seen = Omit<Sample, keyof Step | 'definition' | 'startedAt' | 'tookMs'>;
type FoundLimit = Pick<Sample, 'limitBytes' | 'limitProblem'>;
type FiguresOfMove = Omit<
  Seen,
  'clientGapMs' | 'work' | 'neighbourWork' | 'limitBytes' | 'limitProblem' | 'damage' | 'echo' | 'server' | 'series'
>;
/** Of one guest at one place. */
type Lines = { readonly all: readonly WorkPoint[]; readonly seen: readonly SeenPoint[] };
type Timed = {
  readonly startMs: number;
  readonly endMs: number;
  /** Of the request, milliseconds since 1970. */
  readonly requestedAt: number;
  readonly processes: ProcessFigures;
};

class Watch {
  readonly #case: BenchCase;
  readonly #guest: MovableGuest;
  readonly #neighbour: MovableGuest | null;
  readonly #tools: WatchTools;
  #timed: Timed | null = null;
  #echo: EchoClient | null = null;
  #server: ServerClient | null = null;

  constructor(benchCase: BenchCase, guest: MovableGuest, neighbour: MovableGuest | null, tools: WatchTools) {
    this.#case = benchCase;
    this.#guest = guest;
    this.#neighbour = neighbour;
    this.#tools = tools;
  }

  async run({ wantsLimit, wantsSeries }: SampleOptions, memory: ResidentMemory): Promise<Seen> {
    const { guest: own, neighbour: other, echo, server } = this.#case;
    const pages = await this.#settle();
    await memory.ready(this.#tools.signal);
    const limit = wantsLimit ? await this.#limit() : { limitBytes: null, limitProblem: null };
    const { plan, signal } = this.#tools;
    if (echo !== undefined) this.#echo = await EchoClient.start(plan.hosts[1], movedAddress(plan), echo);
    if (server !== undefined) this.#server = await startServerClient(plan.hosts[0], movedAddress(plan), server);
    const series = wantsSeries === true ? await this.#beginSeries() : null;
    // What the limit takes is neither the machine's own noise nor the guest's own pace.
    await this.#tools.heartbeats.take();
    if (wantsLimit && this.#case.works) await sleep(RATE_WINDOW_MS, undefined, { signal });
    const [before, beside] = await Promise.all([this.#lines(this.#guest, own), this.#lines(this.#neighbour, other)]);
    await this.#server?.take();
    const moved = await moveWatched(this.#timedGuest(), 'b', this.#tools, memory).catch((error: unknown) => {
      series?.drop();
      throw error;
    });
    const timed = this.#timed;
    const over = series && timed && (await series.end(timed.startMs, signal));
    const isThere = moved.outcome === 'completed';
    const watched: (Partial<Watched> & Moved) | Watched = isThere
      ? await checkMoved(this.#guest, pages, moved, this.#tools)
      : moved;
    const [after, besideAfter] = isThere
      ? await Promise.all([
          this.#lines(this.#guest, own, AFTER_LINES[workKindOf(own)]),
          this.#lines(this.#neighbour, other),
        ])
      : [null, null];
    const said = (await this.#echo?.report()) ?? null;
    const served = (await this.#server?.finish()) ?? null;
    const failures = programFailures(readConsole(await this.#guest.consoleFile()));
    return {
      ...this.#ofMove(moved, timed),
      clientGapMs: watched.longestGapMs ?? null,
      work: timed && rates(before, after, timed),
      neighbourWork: timed && rates(beside, besideAfter, timed),
      ...limit,
      damage: (watched.corruptedWords ?? 0) + failures + (said?.wrongEchoes ?? 0) + (served?.failures ?? 0),
      echo: said,
      server: served,
      series: over && withWork(over, { source: before, destination: after, neighbour: besideAfter ?? beside }),
    };
  }

  /** What is known as soon as the mover is done. */
  #ofMove(moved: Moved, timed: Timed | null): FiguresOfMove {
    const { outcome, reason, qemuVersion, wireBytes, quietGapMs, furtherMs } = moved;
    const isThere = outcome === 'completed';
    return {
      ...{ outcome, reason, qemuVersion, wireBytes, quietGapMs, furtherMs: finite(furtherMs) },
      switchover: this.#switchover(),
      forecast: this.#forecast(),
      totalMs: isThere && timed !== null ? this.#totalMs(moved, timed) : null,
      elapsedMs: isThere && timed !== null ? timed.endMs - timed.startMs : null,
      downtimeMs: isThere ? moved.downtimeMs : null,
      pagesSent: isThere ? (moved.pagesSent ?? null) : null,
      cpu: timed && { source: timed.processes.a.cpu, destination: timed.processes.b.cpu },
      peak: timed && { source: timed.processes.a.peak, destination: timed.processes.b.peak },
    };
  }

  close(): void {
    this.#echo?.stop();
    this.#server?.stop();
  }

  async #beginSeries(): Promise<SeriesWatch> {
    const { guest } = this.#case;
    const file = await this.#guest.consoleFile();
    const sourceWork = (): readonly WorkPoint[] => workPoints(readConsole(file), workKindOf(guest));
    return await SeriesWatch.begin(this.#tools, await this.#agents(), this.#case.works ? sourceWork : () => []);
  }

  async #agents(): Promise<AgentPids> {
    const { hosts } = await labStatus(this.#tools.plan.name);
    return { a: hosts[0]?.agentPid ?? null, b: hosts[1]?.agentPid ?? null };
  }

  /** Returns the pages of its writer, which has gone through them once; its programs are under way. */
  async #settle(): Promise<number> {
    const pages = await waitUntilReady(this.#guest, this.#tools);
    if (this.#neighbour !== null) await waitUntilReady(this.#neighbour, this.#tools);
    await this.#tools.heartbeats.take();
    await waitForPass(this.#guest, pages, this.#tools);
    const { guest, works } = this.#case;
    const kind = workKindOf(guest);
    if (!works) return pages;
    const wait = { lines: SETTLE_LINES[kind], timeoutMs: LINES_TIMEOUT_MS, signal: this.#tools.signal };
    await waitForLines(await this.#guest.consoleFile(), kind, wait);
    return pages;
  }

  /** A guest agent that does not answer is no failure of the move: it is asked again before the next one of this case and run. */
  async #limit(): Promise<FoundLimit> {
    const { monitor, qga } = socketsBeside(await this.#guest.consoleFile());
    const [pid] = benchQemus(monitor);
    if (pid === undefined) return { limitBytes: null, limitProblem: 'its QEMU was not found' };
    const qmp = await QmpClient.connect({ socketPath: monitor, vm: 'guest' });
    try {
      const { bytes } = await limitOfGuest({ qmp, pid, qgaPath: qga, vm: 'guest' });
      return { limitBytes: bytes, limitProblem: null };
    } catch (error) {
      if (error instanceof GuestAgentError) return { limitBytes: null, limitProblem: describeError(error) };
      throw error;
    } finally {
      qmp.close();
    }
  }

  #totalMs({ totalMs, furtherMs }: Moved, { requestedAt }: Timed): number | null {
    if (!(this.#guest instanceof VmferryGuest)) return furtherMs['untilDestinationRuns'] ?? totalMs;
    const { report } = this.#guest;
    // A prediction lies between the request and the start of the migration.
    const checkedMs = report?.predicted ? 0 : Math.max(0, Date.parse(report?.startedAt ?? '') - requestedAt);
    return report && checkedMs + report.totalMs;
  }

  #forecast(): Forecast | null {
    const report = this.#guest instanceof VmferryGuest ? this.#guest.report : null;
    if (report === null || report.predicted === null || report.downtimeMs === null) return null;
    const { predicted, totalMs, downtimeMs, bytes, pages } = report;
    const { sent, resent, zero, pruned } = pages;
    return {
      ...{ predicted, measured: { totalMs, downtimeMs, wireBytes: bytes.wire } },
      ...{ pages: { sent, resent, zero, pruned }, resentBytes: bytes.resent },
    };
  }

  #switchover(): string | null {
    const report = this.#guest instanceof VmferryGuest ? this.#guest.report : null;
    return report?.switchover ? switchoverText(report.switchover) : null;
  }

  #timedGuest(): MovableGuest {
    const guest = this.#guest;
    return {
      consoleFile: async () => await guest.consoleFile(),
      stop: async () => await guest.stop(),
      move: async (to): Promise<MoveFigures> => {
        const processes = new ProcessWatch(this.#tools.plan, await this.#agents());
        const [startMs, requestedAt] = [performance.now(), Date.now()];
        try {
          return await guest.move(to);
        } finally {
          this.#timed = { startMs, endMs: performance.now(), requestedAt, processes: processes.stop() };
        }
      },
    };
  }

  /** What a guest has done until now, of which the last lines were seen arriving. */
  async #lines(guest: MovableGuest | null, of: CaseGuest | undefined, atLeast = 0): Promise<Lines | null> {
    if (guest === null || of === undefined || !this.#case.works) return null;
    const { signal } = this.#tools;
    const kind = workKindOf(of);
    const file = await guest.consoleFile();
    const seen = await watchArrivals(file, kind, ARRIVALS_MS[kind], signal);
    const all = await waitForLines(file, kind, { lines: atLeast, timeoutMs: LINES_TIMEOUT_MS, signal });
    return { all, seen };
  }
}

function rates(before: Lines | null, after: Lines | null, { startMs, endMs }: Timed): GuestWork | null {
  if (before === null) return null;
  const there = { after: after?.all ?? [], afterSeen: after?.seen ?? [] };
  return workRates({ before: before.all, beforeSeen: before.seen, ...there, startMs, endMs });
}

/** JSON has no NaN. */
function finite(values: Readonly<Record<string, number>>): Record<string, number | null> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, Number.isFinite(value) ? value : null]),
  );
}

/** Of the case and the mode as they are now. */
export function definitionOf(step: Step): string {
  return hashOf([MEASUREMENT, caseOf(step.case), modeOf(step.mode)]);
}

/** A sample of a move that the bench itself could not make. */
export function failedSample(step: Step, error: unknown, tookMs: number): Sample {
  const nothing = {
    totalMs: null,
    downtimeMs: null,
    clientGapMs: null,
    quietGapMs: null,
    wireBytes: null,
    pagesSent: null,
    cpu: null,
  };
  return {
    ...step,
    ...nothing,
    definition: definitionOf(step),
    ...{ startedAt: new Date().toISOString(), tookMs, outcome: 'error', reason: describeError(error) },
    ...{
      switchover: null,
      elapsedMs: null,
      qemuVersion: '',
      peak: null,
      work: null,
      neighbourWork: null,
      limitBytes: null,
      limitProblem: null,
      damage: 0,
      furtherMs: {},
      echo: null,
      server: null,
      forecast: null,
      series: null,
    },
  };
}
