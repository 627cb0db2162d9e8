/**
 * Which VM of a host is moved, and where to.
 *
 * The paper's rule: the one with the least predicted total migration time, of equals the one with the least predicted
 * downtime. Beyond it: only VMs that may be moved and would relieve the host; those that cure it alone come first, because
 * two moves cost more than one; and each with the destination that looks best afterwards.
 */
import type { Prediction, Refusal } from './decision.ts';
import { NOWHERE } from './fleet.ts';
import { SHARE_STEPS, TIE_MS } from './limits.ts';
import type { Resource, Shares } from './marks.ts';
import type { Need } from './places.ts';
import type { Round } from './round.ts';

export type Wish = {
  readonly host: number;
  readonly order: Need['order'];
  readonly accepts: (host: number) => boolean;
  /** Moves that may be under way at the destination, this one among them. */
  readonly movesMax: number;
  /** A move that takes longer than this is not worth it. */
  readonly totalMsMax: number;
  /** What is to be taken from the host; null: everything. */
  readonly relief: { readonly resource: Resource; readonly excessShare: number } | null;
};

export type Candidate = {
  readonly vm: number;
  readonly to: number;
  readonly prediction: Prediction;
  readonly curesAlone: boolean;
  readonly toAfter: Shares;
};

/** The VM with its best destination, or why it stays. */
export function examine(round: Round, vm: number, wish: Wish): Candidate | Refusal {
  const refusal = refusalOf(round, vm, wish);
  if (refusal !== null) return refusal;
  const { fleet, places } = round;
  const cores = fleet.vmCores(vm);
  const kin = fleet.kinOf(vm).filter((other) => other !== vm);
  const found = places.find({
    ...{ vm, cores, bytes: fleet.vmMemoryBytes[vm]!, marks: round.marks.place, order: wish.order },
    accepts: (host) =>
      round.movesOf(host) < wish.movesMax &&
      wish.accepts(host) &&
      !hasLeftLately(round, vm, host) &&
      places.isPeaceful(vm, host) &&
      (kin.length === 0 || kin.some((other) => fleet.vmHost[other] === host)),
  });
  if (found.length === 0) return 'no place';
  const paths = found
    .map((to) => ({ to, prediction: round.predict(vm, wish.host, to) }))
    .filter(({ prediction }) => Number.isFinite(prediction.totalMs));
  if (paths.length === 0) return 'no prediction';
  const affordable = paths.filter(
    ({ to, prediction }) => round.affords(wish.host, prediction) && round.affords(to, prediction),
  );
  if (affordable.length === 0) return 'over budget';
  const short = affordable.filter(({ prediction }) => prediction.totalMs <= wish.totalMsMax);
  if (short.length === 0) return 'too long';
  const best = short.reduce((a, b) => (isBetterPlace(round, cores, wish, [b, a]) ? b : a));
  const curesAlone = wish.relief !== null && reliefOf(round, vm, wish) >= wish.relief.excessShare;
  return { ...best, vm, curesAlone, toAfter: places.sharesWith(best.to, cores, fleet.vmMemoryBytes[vm]!) };
}

/** What is the same in decisions of every goal. */
export function moveOf({ fleet }: Round, { vm, to, prediction, toAfter }: Candidate) {
  const from = fleet.vmHost[vm]!;
  return {
    ...({ kind: 'move', vm, from, to, prediction, toAfter } as const),
    vmName: fleet.vmNames[vm]!,
    fromName: fleet.hostNames[from]!,
    toName: fleet.hostNames[to]!,
  };
}

/** In the order of preference: negative when the first is better. Of equals the first in the fleet, for the same answer each time. */
export function compareCandidates(a: Candidate, b: Candidate): number {
  return (
    Number(b.curesAlone) - Number(a.curesAlone) ||
    Math.round(a.prediction.totalMs / TIE_MS) - Math.round(b.prediction.totalMs / TIE_MS) ||
    a.prediction.downtimeMs - b.prediction.downtimeMs ||
    a.vm - b.vm
  );
}

function refusalOf(round: Round, vm: number, wish: Wish): Refusal | null {
  const { fleet, history, config } = round;
  if (fleet.isPinned[vm] === 1) return 'pinned';
  if (fleet.vmTarget[vm] !== NOWHERE || fleet.isBusy[vm] === 1) return 'under way';
  if (fleet.atMs - history.lastVmMoveMs(fleet.vmNames[vm]!) < config.vmCooldownMs) return 'cooling down';
  const hasKinHere = fleet.kinOf(vm).some((other) => other !== vm && fleet.vmHost[other] === wish.host);
  if (hasKinHere) return 'kept together';
  if (wish.relief !== null && reliefOf(round, vm, wish) < config.reliefShareMin) return 'no relief';
  return null;
}

/** The share of the pressed resource that goes with the VM. */
function reliefOf({ fleet }: Round, vm: number, { host, relief }: Wish): number {
  if (relief?.resource === 'memory') return fleet.vmMemoryBytes[vm]! / fleet.memoryBytes[host]!;
  return fleet.vmCores(vm) / fleet.cores[host]!;
}

function hasLeftLately({ fleet, history, config }: Round, vm: number, host: number): boolean {
  return fleet.atMs - history.lastLeftMs(fleet.vmNames[vm]!, fleet.hostNames[host]!) < config.returnMs;
}

type Path = { readonly to: number; readonly prediction: Prediction };

/** By what the host will look like, in whole per cents; of equals the one to which the move is shortest. */
function isBetterPlace({ places }: Round, cores: number, { order }: Wish, [a, b]: readonly [Path, Path]): boolean {
  const [stepA, stepB] = [a, b].map(({ to }) => Math.floor(places.shareWith(to, cores) * SHARE_STEPS)) as [
    number,
    number,
  ];
  if (stepA !== stepB) return order === 'emptiest first' ? stepA < stepB : stepA > stepB;
  return a.prediction.totalMs < b.prediction.totalMs;
}
