/**
 * Everything off a host, for maintenance, in an order that ends soonest.
 *
 * The longest move first on whichever slot is free first: the rule for parallel machines whose end is never later than 4/3
 * of the best one (Graham 1969). VMs that belong together go to one host, one after the other. Each VM is placed at most
 * once, and room only shrinks, so the plan ends, and who found no room would find none later in the plan either.
 *
 * A person asked for it, so cooldowns, budgets and the sustain time do not count; threshold, memory, pinning and groups do.
 */
import type { AutopilotConfig } from './config.ts';
import type { Predict, Prediction } from './decision.ts';
import { HostState, NOWHERE } from './fleet.ts';
import type { Fleet } from './fleet.ts';
import { isKnown } from './history.ts';
import { Places } from './places.ts';

export const drainRefusals = [
  'pinned',
  'kept with a pinned VM',
  'no place',
  'no end',
  'stale figures',
  'silent',
] as const;
export type DrainRefusal = (typeof drainRefusals)[number];

/** One for each VM of the host, in the order in which the moves begin; those that stay come last. */
export type DrainLine =
  | {
      readonly kind: 'goes';
      readonly vm: number;
      readonly to: number;
      /** From the beginning of the drain. */
      readonly startMs: number;
      readonly endMs: number;
      readonly prediction: Prediction;
    }
  | { readonly kind: 'is leaving'; readonly vm: number; readonly to: number }
  | { readonly kind: 'stays'; readonly vm: number; readonly why: DrainRefusal };

/** Marks the host: it receives nothing more. Plan again when VMs that were on their way to it have arrived. */
export function drain(fleet: Fleet, host: number): void {
  fleet.hostState[host] = HostState.Draining;
}

export function undrain(fleet: Fleet, host: number): void {
  if (fleet.hostState[host] === HostState.Draining) fleet.hostState[host] = HostState.Active;
}

export function planDrain(fleet: Fleet, host: number, config: AutopilotConfig, predict: Predict): DrainLine[] {
  const vms = fleet.vmsAt(host);
  const leaving = vms.filter((vm) => fleet.vmTarget[vm] !== NOWHERE);
  const lines: DrainLine[] = leaving.map((vm) => ({ kind: 'is leaving', vm, to: fleet.vmTarget[vm]! }));
  const rest = vms.filter((vm) => fleet.vmTarget[vm] === NOWHERE);
  if (!isKnown(fleet, host, config)) {
    const why = fleet.hostState[host] === HostState.Silent ? 'silent' : 'stale figures';
    return [...lines, ...rest.map((vm) => stays(vm, why))];
  }
  const plan = new DrainPlan(fleet, host, config, predict);
  const units = plan.unitsOf(rest);
  for (const unit of units) lines.push(...plan.place(unit));
  const startOf = (line: DrainLine): number =>
    line.kind === 'goes' ? line.startMs : line.kind === 'is leaving' ? -1 : Infinity;
  return lines.toSorted((a, b) => compare(startOf(a), startOf(b)) || a.vm - b.vm);
}

type Unit = { readonly vms: readonly number[]; readonly totalMs: number };

class DrainPlan {
  readonly #fleet: Fleet;
  readonly #host: number;
  readonly #config: AutopilotConfig;
  readonly #predict: Predict;
  readonly #places: Places;
  /** By host: when each of its slots for a move is free. */
  readonly #freeMs = new Map<number, number[]>();

  constructor(fleet: Fleet, host: number, config: AutopilotConfig, predict: Predict) {
    this.#fleet = fleet;
    this.#host = host;
    this.#config = config;
    this.#predict = predict;
    this.#places = new Places(
      fleet,
      (other) => other !== host && fleet.hostState[other] === HostState.Active && isKnown(fleet, other, config),
    );
  }

  /** VMs that must stay together are one unit. The longest to move first. */
  unitsOf(vms: readonly number[]): Unit[] {
    const isSeen = new Set<number>();
    const units: Unit[] = [];
    for (const vm of vms) {
      if (isSeen.has(vm)) continue;
      const kin = this.#fleet.kinOf(vm);
      const members = kin.length === 0 ? [vm] : vms.filter((other) => kin.includes(other));
      for (const member of members) isSeen.add(member);
      const to = this.#placesFor(members)[0];
      const totalMs = to === undefined ? 0 : this.#totalMs(members, to);
      units.push({ vms: members, totalMs });
    }
    return units.sort((a, b) => compare(b.totalMs, a.totalMs) || a.vms[0]! - b.vms[0]!);
  }

  /** At the place where it arrives first. */
  place({ vms }: Unit): DrainLine[] {
    const isPinned = (vm: number): boolean => this.#fleet.isPinned[vm] === 1;
    if (vms.some(isPinned)) return vms.map((vm) => stays(vm, isPinned(vm) ? 'pinned' : 'kept with a pinned VM'));
    const found = this.#placesFor(vms);
    const ending = found.filter((to) => Number.isFinite(this.#totalMs(vms, to)));
    if (ending.length === 0) return vms.map((vm) => stays(vm, found.length === 0 ? 'no place' : 'no end'));
    const endMs = (to: number): number => this.#startMs(to) + this.#totalMs(vms, to);
    const to = ending.reduce((best, other) => (endMs(other) < endMs(best) ? other : best));
    return vms.map((vm) => {
      const prediction = this.#predict(vm, this.#host, to);
      const startMs = this.#startMs(to);
      const line = { kind: 'goes', vm, to, startMs, endMs: startMs + prediction.totalMs, prediction } as const;
      for (const host of [this.#host, to]) {
        const free = this.#slots(host);
        free[free.indexOf(Math.min(...free))] = line.endMs;
      }
      this.#places.reserve(vm, to);
      return line;
    });
  }

  #placesFor(vms: readonly number[]): number[] {
    const fleet = this.#fleet;
    const sum = (of: (vm: number) => number): number => vms.reduce((total, vm) => total + of(vm), 0);
    // Together and never together: they contradict each other, so there is no such place.
    if (vms.some((vm) => fleet.rivalsOf(vm).some((other) => other !== vm && vms.includes(other)))) return [];
    const kinElsewhere = fleet.kinOf(vms[0]!).filter((other) => fleet.vmHost[other] !== this.#host);
    return this.#places.find({
      vm: vms[0]!,
      cores: sum((vm) => fleet.vmCores(vm)),
      bytes: sum((vm) => fleet.vmMemoryBytes[vm]!),
      marks: { cpu: this.#config.thresholdShare, memory: this.#config.memoryShare },
      order: 'emptiest first',
      accepts: (host) =>
        vms.every((vm) => this.#places.isPeaceful(vm, host)) &&
        (kinElsewhere.length === 0 || kinElsewhere.some((other) => fleet.vmHost[other] === host)),
      isThorough: true,
    });
  }

  #totalMs(vms: readonly number[], to: number): number {
    return vms.reduce((total, vm) => total + this.#predict(vm, this.#host, to).totalMs, 0);
  }

  #startMs(to: number): number {
    return Math.max(Math.min(...this.#slots(this.#host)), Math.min(...this.#slots(to)));
  }

  #slots(host: number): number[] {
    const slots = this.#freeMs.get(host) ?? Array.from({ length: this.#config.movesAtATime }, () => 0);
    this.#freeMs.set(host, slots);
    return slots;
  }
}

function stays(vm: number, why: DrainRefusal): DrainLine {
  return { kind: 'stays', vm, why };
}

/** Also where both are infinite. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
