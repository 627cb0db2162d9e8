/**
 * How long a migration will take, before it is begun: the simulator that tests the strategies (core/strategy/simulator.ts) runs
 * the very strategy against a guest and a path as they were measured. Pure.
 *
 * What was measured is not certain, so the migration is simulated several times, each time with other values out of what the
 * measurements allow; the range is that of all of them, which holds four fifths of what may come. What limits it is found by asking what would be
 * won if the guest wrote nothing, or if link or processors were better.
 */
import { hasPullPhase } from '../model/migration.ts';
import type { MigrationOptions } from '../model/migration.ts';
import type { GuestFacts, PathFacts, Prediction, Range } from '../model/prediction.ts';
import { SimRandom } from '../strategy/sim-random.ts';
import { FIXED_DOWNTIME_MS as SIM_SWITCH_MS, simulate, type SimulationOptions } from '../strategy/simulator.ts';

/** How far off, as a part of the value, a measurement may be (one standard deviation). */
export type Uncertainty = {
  readonly link: number;
  readonly lanes: number;
  readonly writes: number;
  readonly bytes: number;
  /** Of the times before the first page and after the switchover. */
  readonly fixed: number;
  /** Of the guest's stop and start: a few tens of milliseconds, in which any other thread on the host shows. */
  readonly switchover: number;
};

/** What moves of the same guest differ by (docs/prediction.md). */
export const usualUncertainty: Uncertainty = {
  link: 0.1,
  lanes: 0.25,
  writes: 0.25,
  bytes: 0.18,
  fixed: 0.3,
  switchover: 0.5,
};

export type PredictionOptions = Pick<
  MigrationOptions,
  'strategy' | 'pull' | 'downtimeTargetMs' | 'maxRounds' | 'intervalMs' | 'lanes' | 'maxBandwidthBytesPerSecond'
>;

/** Larger guests are simulated at a smaller scale: times stay the same when pages and all rates shrink alike. */
const SIM_PAGES_MAX = 8192;
const PAGE_BYTES = 4096;
const BATCH_PAGES = 256;
const BATCH_PAGES_MIN = 8;
/** The lowest and the highest of nine values hold the tenth between them in eight cases of ten. */
const DRAWS = 9;
/** How much better something is made to see what it is worth. */
const BETTER = 1.5;
/** A guest that wrote nothing would be moved in less than this part of the time: its writes are what takes it. */
const WRITES_SHARE = 0.5;
/** Won by it at least, or nothing is called the limit. */
const WORTH = 0.05;

/** The guest's stop, its device state and its start, where no page is waited for: as measured (docs/pull.md). */
const PULL_DOWNTIME_MS = 60;

type Figures = { readonly totalMs: number; readonly downtimeMs: number; readonly wireBytes: number };

export function predictMove(
  guest: GuestFacts,
  path: PathFacts,
  options: PredictionOptions,
  uncertainty: Uncertainty = usualUncertainty,
): Prediction {
  const expected = run(guest, path, options, 1);
  const random = new SimRandom(1);
  const draws = Array.from({ length: DRAWS }, (_, i) => {
    const [drawnGuest, drawnPath] = draw(guest, path, uncertainty, random);
    return run(drawnGuest, drawnPath, options, i + 2);
  });
  const rangeOf = (of: (figures: Figures) => number): Range => {
    const middle = of(expected);
    const drawn = draws.map(of);
    return { expected: middle, low: Math.min(middle, ...drawn), high: Math.max(middle, ...drawn) };
  };
  return {
    strategy: options.strategy,
    totalMs: rangeOf(({ totalMs }) => totalMs),
    downtimeMs: rangeOf(({ downtimeMs }) => downtimeMs),
    wireBytes: rangeOf(({ wireBytes }) => wireBytes),
    limitedBy: limitOf(guest, path, options, expected),
  };
}

function run(guest: GuestFacts, path: PathFacts, options: PredictionOptions, seed: number): Figures {
  if (hasPullPhase(options)) return pulled(guest, path, options);
  const { sim, scale } = simulationOf(guest, path, options, seed);
  const { totalMs, downtimeMs, last } = simulate(sim);
  return {
    totalMs: path.beforeMs + totalMs + path.afterMs,
    downtimeMs: downtimeMs - SIM_SWITCH_MS + path.switchMs + path.roundTripMs,
    wireBytes: last.wireBytes * scale,
  };
}

/** With pull phase every page travels once, whole, whatever the guest writes; the downtime holds no pages. */
function pulled(guest: GuestFacts, path: PathFacts, options: PredictionOptions): Figures {
  const pages = guest.pages * guest.contentShare;
  const wireBytes = pages * guest.wireBytesPerPage;
  const bytesPerS = Math.min(path.linkBytesPerSecond, options.maxBandwidthBytesPerSecond ?? Infinity);
  const copyMs = Math.max(pages / (options.lanes * path.lanePagesPerMs), (wireBytes / bytesPerS) * 1000);
  const downtimeMs = PULL_DOWNTIME_MS + path.roundTripMs;
  return { totalMs: path.beforeMs + copyMs + downtimeMs + path.afterMs, downtimeMs, wireBytes };
}

function simulationOf(
  guest: GuestFacts,
  path: PathFacts,
  options: PredictionOptions,
  seed: number,
): { readonly sim: SimulationOptions; readonly scale: number } {
  const { strategy, downtimeTargetMs, maxRounds, intervalMs, lanes, maxBandwidthBytesPerSecond } = options;
  const scale = Math.max(1, guest.pages / SIM_PAGES_MAX);
  const { workingSet, repeatBytes } = guest;
  const sim: SimulationOptions = {
    ...{ strategy, downtimeTargetMs, maxRounds, intervalMs, lanes, seed },
    pages: Math.round(guest.pages / scale),
    usedShare: guest.contentShare,
    workload: {
      pagesPerMs: workingSet.pagesPerMs / scale,
      hotPages: Math.max(1, Math.round(workingSet.hotPages / scale)),
    },
    feedHold: path.feedHold,
    linkBytesPerSecond: path.linkBytesPerSecond / scale,
    roundTripMs: path.roundTripMs,
    wireBytesPerPage: guest.wireBytesPerPage,
    maxBandwidthBytesPerSecond: maxBandwidthBytesPerSecond === null ? null : maxBandwidthBytesPerSecond / scale,
    lanePagesPerMs: path.lanePagesPerMs / scale,
    feedPagesPerMs: path.feedPagesPerMs / scale,
    batchPages: Math.max(BATCH_PAGES_MIN, Math.round(BATCH_PAGES / scale)),
    ...(repeatBytes !== null && { repeatBytes }),
  };
  return { sim, scale };
}

function draw(
  guest: GuestFacts,
  path: PathFacts,
  uncertainty: Uncertainty,
  random: SimRandom,
): [GuestFacts, PathFacts] {
  const factor = (deviation: number): number => Math.exp(deviation * normal(random));
  const { workingSet, contentShare } = guest;
  const bytes = factor(uncertainty.bytes);
  const fixed = factor(uncertainty.fixed);
  const { low, high } = guest.wireBytesRange;
  const writes = factor(uncertainty.writes);
  return [
    {
      ...guest,
      contentShare: Math.min(1, contentShare * factor(uncertainty.bytes)),
      wireBytesPerPage: Math.min(PAGE_BYTES, (low + random.fraction() * (high - low)) * bytes),
      workingSet: { ...workingSet, pagesPerMs: workingSet.pagesPerMs * writes },
    },
    {
      ...path,
      linkBytesPerSecond: path.linkBytesPerSecond * factor(uncertainty.link),
      lanePagesPerMs: path.lanePagesPerMs * factor(uncertainty.lanes),
      beforeMs: path.beforeMs * fixed,
      switchMs: path.switchMs * factor(uncertainty.switchover),
      afterMs: path.afterMs * fixed,
    },
  ];
}

/** Sum of uniform values: near enough, and never far out. */
function normal(random: SimRandom): number {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += random.fraction();
  return sum;
}

function limitOf(
  guest: GuestFacts,
  path: PathFacts,
  options: PredictionOptions,
  { totalMs }: Figures,
): Prediction['limitedBy'] {
  const still = { ...guest, workingSet: { pagesPerMs: 0, hotPages: 0 } };
  if (run(still, path, options, 1).totalMs < WRITES_SHARE * totalMs) return 'writes';
  const cap = options.maxBandwidthBytesPerSecond;
  const better = {
    link: run(guest, { ...path, linkBytesPerSecond: path.linkBytesPerSecond * BETTER }, options, 1),
    processors: run(guest, { ...path, lanePagesPerMs: path.lanePagesPerMs * BETTER }, options, 1),
    ...(cap !== null && {
      bandwidthLimit: run(guest, path, { ...options, maxBandwidthBytesPerSecond: cap * BETTER }, 1),
    }),
  };
  const [first] = Object.entries(better).sort(([, a], [, b]) => a.totalMs - b.totalMs);
  if (first !== undefined && first[1].totalMs <= (1 - WORTH) * totalMs) return first[0] as keyof typeof better;
  return bothAlike(guest, path, options, totalMs) ?? 'fixed';
}

/** Link and processors that are equally fast: neither alone is worth making faster, and yet they are what takes the time. */
function bothAlike(
  guest: GuestFacts,
  path: PathFacts,
  options: PredictionOptions,
  totalMs: number,
): 'link' | 'processors' | null {
  const { linkBytesPerSecond, lanePagesPerMs } = path;
  const both = {
    ...path,
    linkBytesPerSecond: linkBytesPerSecond * BETTER,
    lanePagesPerMs: lanePagesPerMs * BETTER,
  };
  if (run(guest, both, options, 1).totalMs > (1 - WORTH) * totalMs) return null;
  const linkPagesPerMs = linkBytesPerSecond / 1000 / guest.wireBytesPerPage;
  return linkPagesPerMs < options.lanes * lanePagesPerMs ? 'link' : 'processors';
}
