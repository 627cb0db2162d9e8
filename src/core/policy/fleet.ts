/**
 * What the policy sees: hosts, VMs, and where each VM is, as columns.
 *
 * Columns and not objects, so that the same code serves two hosts and ten thousand: the simulated fleet changes a number in
 * place for each of its 100,000 VMs and tick, and nothing is allocated. A host or VM is its index; names are for people.
 *
 * CPU use is in processor cores (1.5 = one and a half cores busy), already averaged over time (load-average.ts), and the
 * vCPU threads and QEMU's own threads are apart, as they are measured. Memory is in bytes.
 *
 * Invariant: `usedCores[h]` and `usedBytes[h]` count every VM that is at h or on its way to it; of them, what is on its way
 * to elsewhere is in `leavingCores[h]` and `leavingBytes[h]`.
 */
import { PolicyError } from './errors.ts';
import { HOSTS_MAX, VMS_MAX } from './limits.ts';

/** Draining: a person wants it empty. Silent: nothing is heard from it, so nothing is decided about it. */
export const HostState = { Active: 0, Draining: 1, Silent: 2 } as const;
export type HostState = (typeof HostState)[keyof typeof HostState];

export type HostFigures = {
  readonly name: string;
  /** Processor cores that its VMs may use. */
  readonly cores: number;
  readonly memoryBytes: number;
  readonly state?: HostState;
  /** When the figures of the host and its VMs were taken, on the clock of `Fleet.atMs`. */
  readonly figuresAtMs: number;
  /** Hosts of one group have a short way to each other. */
  readonly networkGroup?: number;
};

export type VmFigures = {
  readonly name: string;
  readonly host: string;
  /** CPU use of the vCPU threads, and of all other threads of its QEMU. */
  readonly guestCores: number;
  readonly overheadCores: number;
  /** The most its vCPU threads may use; none: as much as they want. */
  readonly capCores?: number;
  /** Assigned memory: what a destination has to have. */
  readonly memoryBytes: number;
  /** Of it resident at the host: what a move has to carry. */
  readonly residentBytes: number;
  /** Never to be moved. */
  readonly isPinned?: boolean;
  /** Not to be moved now: it takes part in something, to which nobody here knows the other end. */
  readonly isBusy?: boolean;
  /** VMs with the same word stay on one host, or never meet on one. */
  readonly affinity?: string;
  readonly antiAffinity?: string;
};

export type FleetFigures = {
  readonly atMs: number;
  readonly hosts: readonly HostFigures[];
  readonly vms: readonly VmFigures[];
};

export const NOWHERE = -1;

export class Fleet {
  atMs: number;
  readonly hostNames: readonly string[];
  readonly cores: Float64Array;
  readonly memoryBytes: Float64Array;
  readonly hostState: Uint8Array;
  readonly figuresAtMs: Float64Array;
  readonly networkGroup: Int32Array;
  readonly usedCores: Float64Array;
  readonly usedBytes: Float64Array;
  readonly leavingCores: Float64Array;
  readonly leavingBytes: Float64Array;
  /** Moves under way from or to the host. */
  readonly moves: Uint16Array;

  readonly vmNames: readonly string[];
  readonly vmHost: Int32Array;
  /** Where it is being moved to, or NOWHERE. */
  readonly vmTarget: Int32Array;
  readonly guestCores: Float64Array;
  readonly overheadCores: Float64Array;
  readonly capCores: Float64Array;
  readonly vmMemoryBytes: Float64Array;
  readonly residentBytes: Float64Array;
  readonly isPinned: Uint8Array;
  readonly isBusy: Uint8Array;
  /** Number of the group, or NOWHERE. */
  readonly affinity: Int32Array;
  readonly antiAffinity: Int32Array;

  readonly #hostOf: Map<string, number>;
  readonly #firstVm: Int32Array;
  readonly #nextVm: Int32Array;
  readonly #affinityMembers: readonly (readonly number[])[];
  readonly #antiAffinityMembers: readonly (readonly number[])[];

  /** Throws PolicyError POLICY_FLEET for names that occur twice, VMs without a host, and figures that are no numbers. */
  constructor({ atMs, hosts, vms }: FleetFigures) {
    if (hosts.length > HOSTS_MAX || vms.length > VMS_MAX) {
      const message = `A fleet of ${hosts.length} hosts and ${vms.length} VMs is beyond ${HOSTS_MAX} and ${VMS_MAX}`;
      throw new PolicyError('POLICY_FLEET', message, { hosts: hosts.length, vms: vms.length });
    }
    this.atMs = atMs;
    this.hostNames = hosts.map(({ name }) => name);
    this.#hostOf = indexOfNames('host', this.hostNames);
    this.cores = column(hosts, 'cores', (host) => host.cores);
    this.memoryBytes = column(hosts, 'memoryBytes', (host) => host.memoryBytes);
    this.figuresAtMs = column(hosts, 'figuresAtMs', (host) => host.figuresAtMs);
    this.hostState = Uint8Array.from(hosts, (host) => host.state ?? HostState.Active);
    this.networkGroup = Int32Array.from(hosts, (host) => host.networkGroup ?? 0);
    const perHost = (): Float64Array => new Float64Array(hosts.length);
    [this.usedCores, this.usedBytes, this.leavingCores, this.leavingBytes] = [
      perHost(),
      perHost(),
      perHost(),
      perHost(),
    ];
    this.moves = new Uint16Array(hosts.length);

    this.vmNames = vms.map(({ name }) => name);
    indexOfNames('VM', this.vmNames);
    this.vmHost = Int32Array.from(vms, (vm) => this.hostNamed(vm.host));
    this.vmTarget = new Int32Array(vms.length).fill(NOWHERE);
    this.guestCores = column(vms, 'guestCores', (vm) => vm.guestCores);
    this.overheadCores = column(vms, 'overheadCores', (vm) => vm.overheadCores);
    this.capCores = Float64Array.from(vms, (vm) => vm.capCores ?? Infinity);
    this.vmMemoryBytes = column(vms, 'memoryBytes', (vm) => vm.memoryBytes);
    this.residentBytes = column(vms, 'residentBytes', (vm) => vm.residentBytes);
    this.isPinned = Uint8Array.from(vms, (vm) => (vm.isPinned === true ? 1 : 0));
    this.isBusy = Uint8Array.from(vms, (vm) => (vm.isBusy === true ? 1 : 0));
    [this.affinity, this.#affinityMembers] = groupsOf(vms.map(({ affinity }) => affinity));
    [this.antiAffinity, this.#antiAffinityMembers] = groupsOf(vms.map(({ antiAffinity }) => antiAffinity));
    this.#firstVm = new Int32Array(hosts.length).fill(NOWHERE);
    this.#nextVm = new Int32Array(vms.length).fill(NOWHERE);
    for (let vm = vms.length - 1; vm >= 0; vm--) this.#link(vm);
    this.refresh(atMs);
  }

  get hostCount(): number {
    return this.hostNames.length;
  }

  get vmCount(): number {
    return this.vmNames.length;
  }

  /** Throws PolicyError POLICY_UNKNOWN_HOST. */
  hostNamed(name: string): number {
    const host = this.#hostOf.get(name);
    if (host === undefined) {
      throw new PolicyError('POLICY_UNKNOWN_HOST', `No host of this fleet is called "${name}"`, { host: name });
    }
    return host;
  }

  /** What a VM uses, and would use elsewhere: at most its cap, even if an older average says more. */
  vmCores(vm: number): number {
    return Math.min(this.guestCores[vm]!, this.capCores[vm]!) + this.overheadCores[vm]!;
  }

  /** VMs at the host, also those that are leaving; not those that are on their way to it. */
  vmsAt(host: number): number[] {
    const vms: number[] = [];
    for (let vm = this.#firstVm[host]!; vm !== NOWHERE; vm = this.#nextVm[vm]!) vms.push(vm);
    return vms;
  }

  /** Those that must be on one host with the VM, itself among them; none for a VM without a group. */
  kinOf(vm: number): readonly number[] {
    return this.#affinityMembers[this.affinity[vm]!] ?? [];
  }

  /** Those that must not be on one host with the VM, itself among them. */
  rivalsOf(vm: number): readonly number[] {
    return this.#antiAffinityMembers[this.antiAffinity[vm]!] ?? [];
  }

  /** After figures of VMs were changed in place: adds them up again. Hot: no allocation. */
  refresh(atMs: number): void {
    this.atMs = atMs;
    for (const sums of [this.usedCores, this.usedBytes, this.leavingCores, this.leavingBytes]) sums.fill(0);
    for (let vm = 0; vm < this.vmHost.length; vm++) {
      this.#count(this.vmHost[vm]!, vm, 1);
      if (this.vmTarget[vm] !== NOWHERE) this.#countMove(vm, 1);
    }
  }

  /** Throws PolicyError POLICY_MOVE: a VM makes one move at a time, to another host. */
  beginMove(vm: number, to: number): void {
    const from = this.vmHost[vm]!;
    if (this.vmTarget[vm] !== NOWHERE || to === from || to < 0 || to >= this.hostCount) {
      throw new PolicyError('POLICY_MOVE', `VM ${this.vmNames[vm]} cannot begin a move to ${this.hostNames[to]}`);
    }
    this.vmTarget[vm] = to;
    this.#countMove(vm, 1);
    this.moves[from]!++;
    this.moves[to]!++;
  }

  /** The VM runs at the destination from now on, or, if it has not landed, still at the source. */
  endMove(vm: number, hasLanded: boolean): void {
    const from = this.vmHost[vm]!;
    const to = this.vmTarget[vm]!;
    if (to === NOWHERE) throw new PolicyError('POLICY_MOVE', `VM ${this.vmNames[vm]} is not being moved`);
    this.#countMove(vm, -1);
    this.vmTarget[vm] = NOWHERE;
    this.moves[from]!--;
    this.moves[to]!--;
    if (!hasLanded) return;
    this.#count(from, vm, -1);
    this.#unlink(vm);
    this.vmHost[vm] = to;
    this.#link(vm);
    this.#count(to, vm, 1);
  }

  #count(host: number, vm: number, sign: 1 | -1): void {
    this.usedCores[host]! += sign * this.vmCores(vm);
    this.usedBytes[host]! += sign * this.vmMemoryBytes[vm]!;
  }

  #countMove(vm: number, sign: 1 | -1): void {
    this.#count(this.vmTarget[vm]!, vm, sign);
    this.leavingCores[this.vmHost[vm]!]! += sign * this.vmCores(vm);
    this.leavingBytes[this.vmHost[vm]!]! += sign * this.vmMemoryBytes[vm]!;
  }

  #link(vm: number): void {
    const host = this.vmHost[vm]!;
    this.#nextVm[vm] = this.#firstVm[host]!;
    this.#firstVm[host] = vm;
  }

  #unlink(vm: number): void {
    const host = this.vmHost[vm]!;
    if (this.#firstVm[host] === vm) {
      this.#firstVm[host] = this.#nextVm[vm]!;
      return;
    }
    let before = this.#firstVm[host]!;
    while (this.#nextVm[before] !== vm) before = this.#nextVm[before]!;
    this.#nextVm[before] = this.#nextVm[vm]!;
  }
}

function column<T extends HostFigures | VmFigures>(rows: readonly T[], field: string, read: (row: T) => number) {
  return Float64Array.from(rows, (row) => {
    const value = read(row);
    const isLegal = field === 'cores' || field === 'memoryBytes' ? value > 0 : value >= 0;
    if (Number.isFinite(value) && isLegal) return value;
    throw new PolicyError('POLICY_FLEET', `The figure ${field} of ${row.name} is ${value}`, { name: row.name, field });
  });
}

function indexOfNames(what: string, names: readonly string[]): Map<string, number> {
  const index = new Map(names.map((name, i) => [name, i]));
  if (index.size === names.length) return index;
  const twice = names.find((name, i) => index.get(name) !== i);
  throw new PolicyError('POLICY_FLEET', `Two entries for the ${what} "${twice}"`, { name: twice ?? null });
}

function groupsOf(words: readonly (string | undefined)[]): [Int32Array, number[][]] {
  const numbers = new Map<string, number>();
  const members: number[][] = [];
  const groups = Int32Array.from(words, (word, vm) => {
    if (word === undefined) return NOWHERE;
    const group = numbers.get(word) ?? members.push([]) - 1;
    numbers.set(word, group);
    members[group]!.push(vm);
    return group;
  });
  return [groups, members];
}
