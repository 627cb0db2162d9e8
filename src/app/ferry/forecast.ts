/**
 * What a migration would meet, measured without disturbing the guest, and what each strategy would make of it.
 *
 *     guest's memory (guest-survey.ts) ─┐
 *     guest agent: what it can do without ├─▶ facts ─▶ core/predict ─▶ total, downtime, bytes of each strategy
 *     destination: preflight, link, way  ─┘
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../core/base/errors.ts';
import { hasPullPhase, strategyNames } from '../../core/model/migration.ts';
import type { MigrationOptions, StrategyName } from '../../core/model/migration.ts';
import type { MovePlan, PlanWish } from '../../core/model/plan.ts';
import type { Prediction } from '../../core/model/prediction.ts';
import type { Problem } from '../../core/model/vm.ts';
import { LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import { predictMove, type GuestFacts, type PathFacts } from '../../core/predict/predict-move.ts';
import { recommend } from '../../core/predict/recommend.ts';
import { fitWorkingSet } from '../../core/predict/working-set.ts';
import { probeLink } from '../../io/link/link-probe.ts';
import { readGuestText } from '../../io/qemu/guest-files.ts';
import { GuestAgent } from '../../io/qemu/guest-agent.ts';
import { isPruningUnsafe, memoryUse, type MemoryUse } from './guest-kernel.ts';
import { memoryMap, pullProblems } from './guest-ram.ts';
import { lookAtGuest, type GuestLook } from './guest-survey.ts';
import type { FerryHost, MigrationRequest } from './ports.ts';
import { askDestination, dialDestination, reservationRequest } from './reservation.ts';
import { SourceVm, type SourceFacts } from './source-vm.ts';

const AGENT_TIMEOUT_MS = 3_000;
const PROBE_TIMEOUT_MS = 3_000;
/** A ping is on its way when the link has been measured. */
const RTT_POLLS = 50;
const RTT_POLL_MS = 10;
/** A link that could not be measured is taken to be this one. */
const ASSUMED_BYTES_PER_S = 125e6;
const ASSUMED_ROUND_TRIP_MS = 1;
/** Reading, sending, receiving and placing a page, beside its packing: two processors for everything, software emulation. */
const CARRIED_MS_PER_PAGE = 0.02;
const FEED_PAGES_PER_MS = 250;
const BEFORE_MS = 250;
const AFTER_MS = 20;

type Destination = {
  readonly problems: readonly Problem[];
  readonly bytesPerS: number | null;
  readonly roundTripMs: number | null;
};

/** Throws QmpError, GuestMemoryError, LaneError, LinkError, AbortError. */
export async function forecastMove(
  host: FerryHost,
  request: MigrationRequest,
  { measureMs, strategies }: PlanWish,
  signal: AbortSignal,
): Promise<MovePlan> {
  const source = new SourceVm(request.vm);
  try {
    const facts = await source.facts();
    const here = await source.problems(facts);
    if (hasPullPhase(request.options)) here.push(...pullProblems(request.vm.name, facts.ram));
    const map = memoryMap(facts.ram, facts.ram.blocks, facts.ram.reachable);
    const notes: string[] = [];
    // By itself: looking at the guest takes this thread's time, and the link would seem slow.
    const there = await askThere(host, request, facts, signal);
    const [look, use] = await Promise.all([lookAtGuest(map, measureMs, signal), askGuest(request, notes, signal)]);
    if (there.bytesPerS === null) notes.push('The link could not be measured; 1 Gbit/s is assumed.');
    const guest = guestFacts(look, use, request.options);
    const wanted = strategies ?? strategyNames.filter((name) => request.options.pull || !needsPull(name));
    const predictions = await predictAll(guest, pathFacts(look, there, facts), request.options, wanted);
    const { strategy, why } = recommend(predictions, request.options.downtimeTargetMs);
    return {
      ...{ vm: request.vm.name, destination: request.destination.name, problems: [...here, ...there.problems] },
      guest: guestView(look, guest),
      link: { bytesPerS: there.bytesPerS, roundTripMs: there.roundTripMs },
      ...{ measuredMs: measureMs, predictions, recommended: strategy, why, notes },
    };
  } finally {
    source.close();
  }
}

/** Null when the guest cannot be asked, or need not: everything that is not zero is sent then. */
async function askGuest(
  { vm, options }: MigrationRequest,
  notes: string[],
  signal: AbortSignal,
): Promise<MemoryUse | null> {
  if (options.prune === 'none') return null;
  const call = { timeoutMs: AGENT_TIMEOUT_MS, signal };
  let agent: GuestAgent | null = null;
  try {
    if (vm.qgaPath === null) throw new Error('it has no guest agent channel');
    agent = await GuestAgent.connect({ socketPath: vm.qgaPath, vm: vm.name, ...call });
    const unsafe = isPruningUnsafe(await readGuestText(agent, '/proc/cmdline', call));
    if (unsafe !== null) throw new Error(unsafe);
    const meminfo = await readGuestText(agent, '/proc/meminfo', call);
    return memoryUse(meminfo);
  } catch (error) {
    signal.throwIfAborted();
    notes.push(`What VM "${vm.name}" can do without is not known and would be sent: ${describeError(error)}`);
    return null;
  } finally {
    agent?.close();
  }
}

async function askThere(
  host: FerryHost,
  request: MigrationRequest,
  facts: SourceFacts,
  signal: AbortSignal,
): Promise<Destination> {
  const connection = await dialDestination(host, request.destination, signal);
  try {
    const problems = await askDestination(connection, reservationRequest(host, request, facts));
    const msPerByte = await probeLink(connection, { timeoutMs: PROBE_TIMEOUT_MS, signal });
    for (let i = 0; i < RTT_POLLS && connection.rttMs === null; i++) await sleep(RTT_POLL_MS, undefined, { signal });
    return { problems, bytesPerS: msPerByte === null ? null : 1000 / msPerByte, roundTripMs: connection.rttMs };
  } finally {
    await connection.close();
  }
}

function guestFacts(look: GuestLook, use: MemoryUse | null, options: MigrationOptions): GuestFacts {
  const { pages, lookedAt, windows, zeroShare, packedBytesPerPage, deltaBytesPerPage } = look;
  const isPacked = options.compress !== 'none';
  return {
    pages,
    contentShare: Math.min(1 - zeroShare, neededShare(pages, use, options)),
    wireBytesPerPage: isPacked ? packedBytesPerPage : PAGE,
    repeatBytes:
      options.delta === 'on' ? Math.min(deltaBytesPerPage ?? PAGE, isPacked ? packedBytesPerPage : PAGE) : null,
    workingSet: fitWorkingSet(windows, pages, lookedAt),
  };
}

/** Of all pages, those that the guest cannot do without. What its kernel does not count as memory is its own code and tables. */
function neededShare(pages: number, use: MemoryUse | null, { prune, keepCache }: MigrationOptions): number {
  if (use === null) return 1;
  const kernelBytes = Math.max(0, pages * PAGE - use.totalBytes);
  const kept = prune === 'free' || keepCache ? use.cacheBytes : 0;
  return Math.min(1, (use.neededBytes + kept + kernelBytes) / (pages * PAGE));
}

function pathFacts(look: GuestLook, there: Destination, { features }: SourceFacts): PathFacts {
  return {
    linkBytesPerSecond: there.bytesPerS ?? ASSUMED_BYTES_PER_S,
    roundTripMs: there.roundTripMs ?? ASSUMED_ROUND_TRIP_MS,
    lanePagesPerMs: 1 / (look.packMsPerPage + CARRIED_MS_PER_PAGE),
    feedPagesPerMs: FEED_PAGES_PER_MS,
    feedHold: features.switchoverAck ? 'strict' : 'paced',
    beforeMs: BEFORE_MS,
    afterMs: AFTER_MS,
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

function guestView(
  { zeroShare, packedBytesPerPage, deltaBytesPerPage }: GuestLook,
  guest: GuestFacts,
): MovePlan['guest'] {
  const bytesOf = (share: number): number => Math.round(share * guest.pages) * PAGE;
  return {
    memoryBytes: guest.pages * PAGE,
    zeroBytes: bytesOf(zeroShare),
    leftOutBytes: bytesOf(Math.max(0, 1 - zeroShare - guest.contentShare)),
    contentBytes: bytesOf(guest.contentShare),
    packedShare: packedBytesPerPage / PAGE,
    writtenBytesPerS: Math.round(guest.workingSet.pagesPerMs * 1000) * PAGE,
    writtenToBytes: Math.round(guest.workingSet.hotPages) * PAGE,
    deltaBytesPerPage,
  };
}
