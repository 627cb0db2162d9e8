/**
 * What hosts tell of themselves, put together to the fleet that the policy decides on.
 *
 * Loads are averages over time (core/policy/load-average.ts), kept by the VM's name, so that they go with it. A host that has
 * not told anything new keeps its figures and their age; one that takes no part is silent.
 *
 * A migration is seen from two sides, at slightly different moments: `migrating` at its source, `incoming` at its destination.
 * A name that two hosts have for another reason belongs to two VMs, and neither is moved: it could not go to the other's host.
 */
import type { HostTelemetry, VmTelemetry } from '../../core/model/telemetry.ts';
import { Fleet, HostState } from '../../core/policy/fleet.ts';
import type { HostFigures, VmFigures } from '../../core/policy/fleet.ts';
import { foldSample } from '../../core/policy/load-average.ts';

/** Of one host, for one round. */
export type HostReport = {
  readonly name: string;
  readonly state: HostState;
  /** What it offers to guests, where it said so. */
  readonly capacityBytes: number | null;
  /** Its VMs stay, whatever is decided. */
  readonly keepsVms: boolean;
};

/** Destinations by VM. */
export type Ordered = ReadonlyMap<string, string>;

type Averages = { atMs: number; guest: number; overhead: number };
type Told = { readonly telemetry: HostTelemetry; readonly atMs: number };
type Seen = { readonly host: string; readonly vm: VmTelemetry };

export class FleetView {
  readonly #halfLifeMs: number;
  readonly #told = new Map<string, Told>();
  readonly #averages = new Map<string, Averages>();

  constructor(halfLifeMs: number) {
    this.#halfLifeMs = halfLifeMs;
  }

  /** `nowMs`: when it was heard. A sample that is known already changes nothing. */
  hear(telemetry: HostTelemetry, nowMs: number): void {
    const { host } = telemetry;
    const before = this.#told.get(host);
    if (before?.telemetry.atMs === telemetry.atMs) return;
    this.#told.set(host, { telemetry, atMs: nowMs - telemetry.ageMs });
    for (const vm of telemetry.vms) if (isPresent(vm)) this.#fold(vm, nowMs - telemetry.ageMs);
  }

  /** Null: it has not been heard. */
  telemetryOf(host: string): HostTelemetry | null {
    return this.#told.get(host)?.telemetry ?? null;
  }

  /** The fleet of now, with the VMs of hosts that take part. `ordered`: moves under way, which hosts may not show yet. */
  fleet(reports: readonly HostReport[], ordered: Ordered, nowMs: number): Fleet {
    const parts = reports.filter(({ name }) => this.#told.has(name));
    const seen = parts
      .filter(({ state }) => state !== HostState.Silent)
      .flatMap(({ name }) =>
        this.#told
          .get(name)!
          .telemetry.vms.filter(isPresent)
          .map((vm) => ({ host: name, vm })),
      );
    const keepers = new Set(reports.filter(({ keepsVms }) => keepsVms).map(({ name }) => name));
    const names = new Set(reports.map(({ name }) => name));
    const places = placesOf(seen, (name, host) => {
      const to = ordered.get(name);
      return to === undefined || to === host || !names.has(to) ? null : to;
    });
    const fleet = new Fleet({
      atMs: nowMs,
      hosts: reports.map((report) => this.#hostFigures(report, nowMs)),
      vms: places.map((place) => this.#vmFigures(place, keepers.has(place.at.host))),
    });
    for (const [vm, { to }] of places.entries()) if (to !== null) fleet.beginMove(vm, fleet.hostNamed(to));
    this.#forget(new Set(places.map(({ at }) => at.vm.name)));
    return fleet;
  }

  #hostFigures({ name, state, capacityBytes }: HostReport, nowMs: number): HostFigures {
    const told = this.#told.get(name);
    if (told === undefined) return { name, cores: 1, memoryBytes: 1, state: HostState.Silent, figuresAtMs: 0 };
    const { cpu, memory } = told.telemetry;
    return {
      ...{ name, state, cores: Math.max(cpu.cores, CORES_MIN) },
      memoryBytes: Math.max(1, Math.min(memory.totalBytes, capacityBytes ?? memory.totalBytes)),
      // A sample that seems to be of the future is of now.
      figuresAtMs: Math.max(0, Math.min(told.atMs, nowMs)),
    };
  }

  #vmFigures({ name, at, isBusy }: Place, isKept: boolean): VmFigures {
    const { vm, host } = at;
    const { capCores, placement, memory } = vm;
    const average = this.#averages.get(vm.name);
    return {
      ...{ name, host, isBusy, memoryBytes: memory.assignedBytes, residentBytes: memory.residentBytes },
      ...{ guestCores: average?.guest ?? 0, overheadCores: average?.overhead ?? 0 },
      isPinned: isKept || placement?.pinned === true,
      ...(capCores !== null && { capCores }),
      ...(placement?.together !== undefined && { affinity: placement.together }),
      ...(placement?.apart !== undefined && { antiAffinity: placement.apart }),
    };
  }

  /** An incoming VM has no load of its own yet: what it used before goes on to count. */
  #fold({ name, state, guestCores, overheadCores }: VmTelemetry, atMs: number): void {
    if (guestCores === null || state === 'incoming') return;
    const before = this.#averages.get(name);
    const elapsedMs = before === undefined ? 0 : Math.max(0, atMs - before.atMs);
    const fold = (average: number | undefined, sample: number): number =>
      foldSample(average ?? null, sample, elapsedMs, this.#halfLifeMs);
    this.#averages.set(name, {
      atMs: Math.max(atMs, before?.atMs ?? atMs),
      guest: fold(before?.guest, guestCores),
      overhead: fold(before?.overhead, overheadCores ?? 0),
    });
  }

  #forget(present: ReadonlySet<string>): void {
    for (const name of this.#averages.keys()) if (!present.has(name)) this.#averages.delete(name);
  }
}

/** Of a name in the fleet: the VM's own. VM names have no spaces. */
export function vmNameOf(fleetName: string): string {
  return fleetName.split(' ')[0]!;
}

/** A share of a processor group that is smaller than this is not a host. */
const CORES_MIN = 0.01;

type Place = {
  /** In the fleet: the VM's own, or with its host where two have it. */
  readonly name: string;
  readonly at: Seen;
  readonly to: string | null;
  readonly isBusy: boolean;
};

/** Where each VM is, and where it is going. */
function placesOf(seen: readonly Seen[], orderedTo: OrderedTo): Place[] {
  return [...Map.groupBy(seen, ({ vm }) => vm.name).values()].flatMap((each) => placesOfName(each, orderedTo));
}

type OrderedTo = (name: string, host: string) => string | null;

function placesOfName(seen: readonly Seen[], orderedTo: OrderedTo): Place[] {
  const [incoming, there] = [true, false].map((is) => seen.filter(({ vm }) => (vm.state === 'incoming') === is)) as [
    Seen[],
    Seen[],
  ];
  const only = there[0];
  if (only !== undefined && there.length === 1) {
    const to = incoming[0]?.host ?? orderedTo(only.vm.name, only.host);
    return [{ name: only.vm.name, at: only, to, isBusy: to === null && isTaken(only.vm) }];
  }
  // Its source is not in sight: it counts where it will be.
  if (there.length === 0) return incoming.slice(0, 1).map((at) => ({ name: at.vm.name, at, to: null, isBusy: true }));
  return there.map((at) => ({ name: `${at.vm.name} at ${at.host}`, at, to: null, isBusy: true }));
}

function isTaken({ state, migration }: VmTelemetry): boolean {
  return state === 'migrating' || state === 'starting' || migration !== null;
}

function isPresent({ state }: VmTelemetry): boolean {
  return state !== 'gone' && state !== 'handed over';
}
