/**
 * What a migration would meet, measured without disturbing the guest, and what each strategy would make of it.
 *
 *     guest's memory (guest-survey.ts) ─┐
 *     guest agent: what it can do without ├─▶ facts ─▶ core/predict ─▶ total, downtime, bytes of each strategy
 *     destination: preflight, link, load ─┘
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../core/base/errors.ts';
import { strategyNames } from '../../core/model/migration.ts';
import type { MigrationOptions, StrategyName } from '../../core/model/migration.ts';
import type { MovePlan, PlanWish } from '../../core/model/plan.ts';
import type { GuestFacts, PathFacts, Prediction, WorkingSet } from '../../core/model/prediction.ts';
import type { Problem } from '../../core/model/vm.ts';
import { MIB } from '../../core/model/units.ts';
import { LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import { corrected, movesTo, usualTimes } from '../../core/predict/correction.ts';
import { predictMove } from '../../core/predict/predict-move.ts';
import { guestPace, lanePagesPerMs, laneRoom } from '../../core/predict/processors.ts';
import type { LaneRoom } from '../../core/predict/processors.ts';
import { recommend } from '../../core/predict/recommend.ts';
import { fitWorkingSet } from '../../core/predict/working-set.ts';
import { AGENT_READY_MS } from '../../core/strategy/limits.ts';
import { hostLoad, watchThreads } from './host-load.ts';
import type { LinkMemory } from '../../io/lanes/link-memory.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { probeKnownLink } from '../../io/link/link-probe.ts';
import { GuestAnswers } from './guest-answers.ts';
import type { MemoryUse } from './guest-kernel.ts';
import { memoryMap } from './guest-ram.ts';
import { lookAtGuest, type GuestLook } from './guest-survey.ts';
import type { UnneededPages } from '../../io/lanes/sample-batches.ts';
import { tryPacking } from '../../io/lanes/packing-trial.ts';
import type { PackingTrial, TrialConditions } from '../../io/lanes/packing-trial.ts';
import type { FerryHost, MigrationRequest, ReservationRequest } from './ports.ts';
import { askDestination, askLoad, dialDestination, reservationRequest } from './reservation.ts';
import { cacheRuleOf } from './pruning-agent.ts';
import { SourceVm, type SourceFacts } from './source-vm.ts';

const PROBE_TIMEOUT_MS = 3_000;
/** For so long this host looks at how busy it is. */
const LOAD_MS = 250;
/** A ping is on its way when the link has been measured. */
const RTT_POLLS = 50;
const RTT_POLL_MS = 10;
/** A link that could not be measured is taken to be this one. */
const ASSUMED_BYTES_PER_S = 125e6;
const ASSUMED_ROUND_TRIP_MS = 1;
/** Processor time of a page beside its packing: reading and sending it, and receiving, unpacking and placing it. As measured (docs/prediction.md). */
const CARRIED = { msPerPage: 0.002, msPerByte: 3.4e-6 };
const PLACED_MS_PER_PAGE = 0.015;
/** Threads that work beside the lanes: QEMU's, the agent's own. A guest that counts its own work kept 0.72 of it, as three quarters say. */
const OTHER_THREADS = { source: 0.75, destination: 0.5 };
/** What QEMU and the pump get through: with a processor for each, and where they share what there is with the lanes and the guest (docs/prediction.md). */
const FEED_PAGES_PER_MS = { alone: 250, crowded: 80 };
/** Until earlier migrations say what it takes. */
const USUAL_TIMES = { beforeMs: 260, afterMs: 20 };
/** The threads of each migration are slow at first, as V8 compiles for each of them anew. */
const COLD_MS = 300;
/** Until the guest has said for the first time what it can do without: it looks at all of its memory, and lets its file cache go before. */
const ASKING = { ms: 150, msPerMib: 0.4, msPerCachedMib: 2 };
/** And for --warm-up names the files of that cache: 440 to 1020 ms for 89 files of 700 MiB, never much more than 2 s. */
const LISTING_MS = 750;
/** Of a guest's memory, what its kernel has reserved and not filled: needed, as it says, and zero. */
const RESERVED_ZERO_SHARE = 0.027;
/** The guest's stop, its device state, its start: between 37 and 140 ms were measured. Chosen among 55 to 80 by replayed moves (docs/prediction.md). */
const SWITCH_MS = 60;

export type PlannedMove = {
  readonly host: FerryHost;
  readonly request: MigrationRequest;
  /** Of the link to the destination: what is found out here, the migration need not find out again. */
  readonly link: LinkMemory;
};

type Destination = {
  readonly problems: readonly Problem[];
  readonly bytesPerS: number | null;
  readonly roundTripMs: number | null;
};

/** Both hosts, while the lanes work. */
type Rooms = { readonly source: LaneRoom; readonly destination: LaneRoom };

/** Throws QmpError, GuestMemoryError, LaneError, LinkError, AbortError. */
export async function forecastMove(
  { host, request, link }: PlannedMove,
  { measureMs, strategies, past }: PlanWish,
  signal: AbortSignal,
): Promise<MovePlan> {
  const source = new SourceVm(request.vm);
  let connection: ControlConnection | null = null;
  let answers: GuestAnswers | null = null;
  try {
    const facts = await source.facts();
    const here = await source.problems(facts, request.options);
    const map = memoryMap(facts.ram, facts.ram.blocks, facts.ram.reachable);
    const notes: string[] = [];
    connection = await dialDestination(host, request.destination, signal);
    // By itself: looking at the guest takes this thread's time, and the link would seem slow.
    const there = await askThere(connection, reservationRequest(host, request, facts), link, signal);
    if (there.bytesPerS === null) notes.push('The link could not be measured; 1 Gbit/s is assumed.');
    answers = await askGuest(request, facts, notes, signal);
    const unneeded: UnneededPages = async (...range) => (await answers?.unneeded(range, signal)) ?? null;
    const vcpuUses = watchThreads(request.vm.pid, await source.vcpuThreads());
    const [look, ownLoad, load] = await Promise.all([
      lookAtGuest(map, { ms: measureMs, unneeded }, signal),
      hostLoad(LOAD_MS, signal),
      askLoad(connection, signal),
    ]);
    const uses = vcpuUses();
    const { lanes } = request.options;
    const rooms = {
      source: laneRoom(ownLoad, lanes, OTHER_THREADS.source),
      destination: laneRoom(load, lanes, OTHER_THREADS.destination),
    };
    const conditions = conditionsOf(request, there, rooms.source);
    const trial = await tryPacking(look.batches, conditions, signal);
    const asTheRest = { ...conditions, level: trial.level };
    const writtenTrial = look.written === null ? null : await tryPacking(look.written.batches, asTheRest, signal);
    const moves = movesTo(past, request.destination.name, there.bytesPerS ?? ASSUMED_BYTES_PER_S);
    const use = answers?.use ?? null;
    const asNow = guestFacts({ look, use, trial, writtenTrial }, request);
    const guest = { ...asNow, workingSet: slower(asNow.workingSet, guestPace(uses, rooms.source.share)) };
    const times = usualTimes(moves, USUAL_TIMES);
    const path = {
      ...pathFacts({ look, trial, rooms }, there, facts, guest),
      beforeMs: times.beforeMs + COLD_MS + (use === null ? 0 : askingMs(use, request)),
      afterMs: times.afterMs,
    };
    const wanted = strategies ?? strategyNames.filter((name) => request.options.pull || !needsPull(name));
    const predictions = (await predictAll(guest, path, request.options, wanted)).map((each) => corrected(each, moves));
    const { strategy, why } = recommend(predictions, request.options.downtimeTargetMs);
    return {
      ...{ vm: request.vm.name, destination: request.destination.name, problems: [...here, ...there.problems] },
      guest: guestView(look, asNow),
      link: { bytesPerS: there.bytesPerS, roundTripMs: there.roundTripMs },
      idle: { source: ownLoad.idle, destination: load?.idle ?? null },
      ...{ facts: { guest, path }, measuredMs: measureMs, predictions, recommended: strategy, why, notes },
    };
  } finally {
    source.close();
    await Promise.all([answers?.close(), connection?.close()]);
  }
}

/** Lanes do not wait for ever for a guest that drops its cache. */
function askingMs({ cacheBytes }: MemoryUse, { vm, options }: MigrationRequest): number {
  const rule = cacheRuleOf(options);
  const listMs = options.warmUp && rule !== 'none' ? LISTING_MS : 0;
  const dropMs = listMs + (rule === 'all' ? ASKING.msPerCachedMib * (cacheBytes / MIB) : 0);
  return ASKING.ms + ASKING.msPerMib * (vm.spec.memory / MIB) + Math.min(AGENT_READY_MS, dropMs);
}

function conditionsOf({ options }: MigrationRequest, { bytesPerS }: Destination, { share }: LaneRoom): TrialConditions {
  return {
    ...{ compress: options.compress, lanes: options.lanes },
    maxBandwidthBytesPerSecond: options.maxBandwidthBytesPerSecond,
    linkMsPerByte: 1000 / (bytesPerS ?? ASSUMED_BYTES_PER_S),
    laneShare: share,
    ...{ carried: CARRIED, placedMsPerPage: PLACED_MS_PER_PAGE },
  };
}

/** Null when the guest cannot be asked, or need not: everything that is not zero is sent then. */
async function askGuest(
  request: MigrationRequest,
  { ram }: SourceFacts,
  notes: string[],
  signal: AbortSignal,
): Promise<GuestAnswers | null> {
  if (request.options.prune === 'none') return null;
  try {
    return await GuestAnswers.ask(request, ram.windows, signal);
  } catch (error) {
    signal.throwIfAborted();
    notes.push(`What VM "${request.vm.name}" can do without is not known and would be sent: ${describeError(error)}`);
    return null;
  }
}

async function askThere(
  connection: ControlConnection,
  request: ReservationRequest,
  link: LinkMemory,
  signal: AbortSignal,
): Promise<Destination> {
  const problems = await askDestination(connection, request);
  const msPerByte = await probeKnownLink(connection, link.delivered(Date.now())?.msPerByte ?? null, {
    timeoutMs: PROBE_TIMEOUT_MS,
    signal,
  });
  signal.throwIfAborted();
  if (msPerByte !== null) link.write({ msPerByte, isMeasured: true }, Date.now());
  for (let i = 0; i < RTT_POLLS && connection.rttMs === null; i++) await sleep(RTT_POLL_MS, undefined, { signal });
  return { problems, bytesPerS: msPerByte === null ? null : 1000 / msPerByte, roundTripMs: connection.rttMs };
}

/** What the guest holds. */
type Found = { readonly look: GuestLook; readonly trial: PackingTrial };

function guestFacts(
  {
    look,
    use,
    trial,
    writtenTrial,
  }: Found & { readonly use: MemoryUse | null; readonly writtenTrial: PackingTrial | null },
  { vm, options }: MigrationRequest,
): GuestFacts {
  const { pages, lookedAt, windows, zeroShare, written } = look;
  const contentShare = Math.min(1 - zeroShare, neededPages(vm.spec.memory, use, options) / pages);
  const hardShare = hardShareOf(look, contentShare);
  const packed = withHard(hardShare, trial.packedBytesPerPage);
  const writtenPacked =
    written === null || writtenTrial === null ? packed : withHard(written.hardShare, writtenTrial.packedBytesPerPage);
  return {
    pages,
    contentShare,
    wireBytesPerPage: packed,
    wireBytesRange: { low: withHard(hardShare, trial.low), high: withHard(hardShare, trial.high) },
    repeatBytes: options.delta === 'on' ? Math.min(written?.deltaBytesPerPage ?? PAGE, writtenPacked) : null,
    workingSet: fitWorkingSet(windows, { pages, looked: lookedAt, content: contentShare * pages }),
  };
}

function slower(set: WorkingSet, pace: number): WorkingSet {
  return { ...set, pagesPerMs: set.pagesPerMs * pace };
}

/** Of the pages that travel. */
function hardShareOf({ hardShare }: GuestLook, contentShare: number): number {
  return contentShare === 0 ? 0 : Math.min(1, hardShare / contentShare);
}

/** Bytes of a page on the wire, where a share of the pages cannot be packed. */
function withHard(hardShare: number, packedBytes: number): number {
  return hardShare * PAGE + (1 - hardShare) * packedBytes;
}

/**
 * Those that the guest cannot do without. What its kernel does not count as memory is its own code and tables. Memory of devices, like
 * that of a display, is left out here: as good as all of it is zero.
 */
function neededPages(memoryBytes: number, use: MemoryUse | null, { prune, keepCache }: MigrationOptions): number {
  if (use === null) return Infinity;
  const kernelBytes = Math.max(0, memoryBytes - use.totalBytes);
  const kept = prune === 'free' || keepCache ? use.cacheBytes : 0;
  return (use.neededBytes + kept + Math.max(0, kernelBytes - RESERVED_ZERO_SHARE * memoryBytes)) / PAGE;
}

function pathFacts(
  { look, trial, rooms }: Found & { readonly rooms: Rooms },
  there: Destination,
  { features }: SourceFacts,
  { wireBytesPerPage, contentShare }: GuestFacts,
): Omit<PathFacts, 'beforeMs' | 'afterMs'> {
  const packMs = (1 - hardShareOf(look, contentShare)) * trial.packMsPerPage;
  const carriedMs = CARRIED.msPerPage + CARRIED.msPerByte * wireBytesPerPage;
  return {
    linkBytesPerSecond: there.bytesPerS ?? ASSUMED_BYTES_PER_S,
    roundTripMs: there.roundTripMs ?? ASSUMED_ROUND_TRIP_MS,
    lanePagesPerMs: lanePagesPerMs(
      { msPerPage: packMs + carriedMs, share: rooms.source.share },
      { msPerPage: PLACED_MS_PER_PAGE, share: rooms.destination.share },
    ),
    feedPagesPerMs: rooms.source.idle > 0 ? FEED_PAGES_PER_MS.alone : FEED_PAGES_PER_MS.crowded,
    feedHold: features.switchoverAck ? 'strict' : 'paced',
    switchMs: SWITCH_MS,
  };
}

function needsPull(strategy: StrategyName): boolean {
  return strategy === 'postcopy' || strategy === 'dsm';
}

/** One after the other, so that the agent's other work gets its turn: each takes some tenths of a second. */
async function predictAll(
  guest: GuestFacts,
  path: PathFacts,
  options: MigrationOptions,
  strategies: readonly StrategyName[],
): Promise<Prediction[]> {
  const predictions: Prediction[] = [];
  for (const strategy of strategies) {
    await nextTurn();
    predictions.push(predictMove(guest, path, { ...options, strategy }));
  }
  return predictions;
}

function guestView({ zeroShare, written }: GuestLook, guest: GuestFacts): MovePlan['guest'] {
  const bytesOf = (share: number): number => Math.round(share * guest.pages) * PAGE;
  return {
    memoryBytes: guest.pages * PAGE,
    zeroBytes: bytesOf(zeroShare),
    leftOutBytes: bytesOf(Math.max(0, 1 - zeroShare - guest.contentShare)),
    contentBytes: bytesOf(guest.contentShare),
    packedShare: guest.wireBytesPerPage / PAGE,
    writtenBytesPerS: Math.round(guest.workingSet.pagesPerMs * 1000) * PAGE,
    writtenToBytes: Math.round(guest.workingSet.hotPages) * PAGE,
    deltaBytesPerPage: written?.deltaBytesPerPage ?? null,
  };
}
