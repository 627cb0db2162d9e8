/**
 * What goes on over time around a move: bytes at the link, time of the virtual processors on both hosts, and the work of the
 * guests, every tenth of a second, from at least 3 s before the move to 3 s after it. The papers' figures over time are drawn of this.
 *
 * Counters are read from /proc, whose processor times are in steps of 10 ms: a tenth of an interval.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchTools } from '../lab/move-watch.ts';
import { linkDevice } from '../lab/plan.ts';
import { NEIGHBOUR_NAME } from './bench-guest.ts';
import { qemusIn, vcpuMsOf } from './process-watch.ts';
import type { AgentPids } from './process-watch.ts';
import type { Series, WorkSeries } from './samples.ts';
import { clockOffsetMs } from './work-curve.ts';
import type { SeenPoint, WorkPoint } from './work-curve.ts';

const STEP_MS = 100;
const AROUND_MS = 3000;
/** Two minutes: what comes after is not kept. */
const POINTS_MAX = 1200;
/** Looking for a QEMU that was started meanwhile costs a few milliseconds. */
const SEARCH_STEPS = 3;

type Who = 'source' | 'destination' | 'neighbour';
type Look = { readonly nowMs: number; readonly wireBytes: number; readonly vcpuMs: Readonly<Record<Who, number>> };

/** As it was seen, without the work of the guests at the places where they are after the move. */
export type SeenSeries = {
  readonly columns: Omit<Series, 'work' | 'neighbourWork'>;
  /** By the host's clock: the request. */
  readonly startMs: number;
  readonly sourceWork: readonly WorkPoint[];
};

export class SeriesWatch {
  readonly #tools: WatchTools;
  readonly #agents: AgentPids;
  readonly #sourceWork: () => readonly WorkPoint[];
  readonly #looks: Look[] = [];
  /** The largest time seen of each process: one that ends does not take its time back. */
  readonly #vcpuMs: Record<Who, Map<number, number>> = {
    source: new Map(),
    destination: new Map(),
    neighbour: new Map(),
  };
  #work: readonly WorkPoint[] = [];
  #timer: NodeJS.Timeout | null = null;

  private constructor(tools: WatchTools, agents: AgentPids, sourceWork: () => readonly WorkPoint[]) {
    this.#tools = tools;
    this.#agents = agents;
    this.#sourceWork = sourceWork;
  }

  /** `sourceWork` reads what the guest has said at the source, as long as that can be read. Returns after some seconds. */
  static async begin(
    tools: WatchTools,
    agents: AgentPids,
    sourceWork: () => readonly WorkPoint[],
  ): Promise<SeriesWatch> {
    const watch = new SeriesWatch(tools, agents, sourceWork);
    watch.#look();
    watch.#timer = setInterval(() => watch.#look(), STEP_MS);
    await sleep(AROUND_MS, undefined, { signal: tools.signal }).catch((error: unknown) => {
      watch.drop();
      throw error;
    });
    return watch;
  }

  /** To be called right after the move, which was asked for at `startMs`; watches on for some seconds. */
  async end(startMs: number, signal: AbortSignal): Promise<SeenSeries> {
    await sleep(AROUND_MS, undefined, { signal }).finally(() => this.drop());
    const pairs = this.#looks.slice(1).map((look, index) => [this.#looks[index]!, look] as const);
    const vcpu = (who: Who): number[] => pairs.map(([a, b]) => b.vcpuMs[who] - a.vcpuMs[who]);
    const columns = {
      atMs: pairs.map(([, b]) => Math.round(b.nowMs - startMs)),
      stepMs: pairs.map(([a, b]) => Math.round(b.nowMs - a.nowMs)),
      wireBytes: pairs.map(([a, b]) => b.wireBytes - a.wireBytes),
      sourceVcpuMs: vcpu('source'),
      destinationVcpuMs: vcpu('destination'),
      neighbourVcpuMs: vcpu('neighbour'),
    };
    return { columns, startMs, sourceWork: this.#work };
  }

  /** Ends it. */
  drop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  #look(): void {
    if (this.#looks.length > POINTS_MAX) return this.drop();
    if (this.#looks.length % SEARCH_STEPS === 0) this.#search();
    const vcpuMs = {
      source: this.#vcpu('source'),
      destination: this.#vcpu('destination'),
      neighbour: this.#vcpu('neighbour'),
    };
    const wireBytes = sentBytes(this.#agents.a) + sentBytes(this.#agents.b);
    this.#looks.push({ nowMs: performance.now(), wireBytes, vcpuMs });
    const work = this.#sourceWork();
    if (work.length >= this.#work.length) this.#work = work;
  }

  #vcpu(who: Who): number {
    const times = this.#vcpuMs[who];
    for (const [pid, ms] of times) times.set(pid, Math.max(ms, vcpuMsOf(pid)));
    return [...times.values()].reduce((sum, ms) => sum + ms, 0);
  }

  #search(): void {
    const [a, b] = this.#tools.plan.hosts;
    this.#remember('source', qemusIn(a.namespace));
    this.#remember('destination', qemusIn(b.namespace));
    this.#remember('neighbour', qemusIn(a.namespace, `guest=${NEIGHBOUR_NAME}`));
  }

  #remember(who: Who, pids: readonly number[]): void {
    for (const pid of pids) if (!this.#vcpuMs[who].has(pid)) this.#vcpuMs[who].set(pid, 0);
  }
}

/** What a lab host has sent, as a process of it sees its network; 0 where it is gone. */
function sentBytes(pid: number | null): number {
  try {
    const text = readFileSync(`/proc/${pid}/net/dev`, 'latin1');
    const fields = new RegExp(`^\\s*${linkDevice}:(.*)$`, 'm').exec(text)?.[1]?.trim().split(/\s+/);
    return Number(fields?.[8] ?? 0);
  } catch {
    return 0;
  }
}

/** What a guest said at one place, and when the last of it arrived. */
type Said = { readonly all: readonly WorkPoint[]; readonly seen: readonly SeenPoint[] } | null;

/** The series with the guests' work over time. Pure. */
export function withWork(
  { columns, startMs, sourceWork }: SeenSeries,
  said: { readonly source: Said; readonly destination: Said; readonly neighbour: Said },
): Series {
  const from = columns.atMs[0] ?? 0;
  const until = (columns.atMs.at(-1) ?? 0) + AROUND_MS;
  const within = (said: Said): WorkSeries => workOf(said, { startMs, from, until });
  // Of the source's lines those of the move itself came after `said`.
  const source = within(said.source && { all: sourceWork, seen: said.source.seen });
  const destination = within(said.destination);
  const work = {
    atMs: [...source.atMs, ...destination.atMs],
    perS: [...source.perS, ...destination.perS],
  };
  const neighbourWork = within(said.neighbour);
  return {
    ...columns,
    work: work.atMs.length === 0 ? null : work,
    neighbourWork: neighbourWork.atMs.length === 0 ? null : neighbourWork,
  };
}

/** The rate between each line and the one before it, at the time of the line. */
function workOf(
  said: Said,
  { startMs, from, until }: { readonly startMs: number; readonly from: number; readonly until: number },
): WorkSeries {
  const offset = said === null ? null : clockOffsetMs(said.seen);
  if (said === null || offset === null) return { atMs: [], perS: [] };
  const rates = said.all.slice(1).flatMap((point, index) => {
    const before = said.all[index]!;
    const atMs = Math.round(point.guestMs + offset - startMs);
    const perS = ((point.work - before.work) / (point.guestMs - before.guestMs)) * 1000;
    return point.guestMs <= before.guestMs || atMs < from || atMs > until ? [] : [{ atMs, perS: Math.round(perS) }];
  });
  return { atMs: rates.map(({ atMs }) => atMs), perS: rates.map(({ perS }) => perS) };
}
