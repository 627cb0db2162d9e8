/** The hosts and VMs of a simulated fleet: sizes, groups, and where everything is at the beginning. All from the seed. */
import { GIB, MIB } from '../model/units.ts';
import { Fleet } from '../policy/fleet.ts';
import type { HostFigures, VmFigures } from '../policy/fleet.ts';
import { SimError } from './errors.ts';
import { below, between, fraction } from './noise.ts';

export type Population = {
  readonly fleet: Fleet;
  readonly vcpus: Float32Array;
  /** Memory that a VM writes per second and busy core. */
  readonly dirtyBytesPerCoreSecond: Float32Array;
};

const hostCores = [24, 32, 48] as const;
const HOST_BYTES_PER_CORE = 8 * GIB;
const HOSTS_PER_GROUP = 40;
/** With their shares. */
const vmSizes: readonly (readonly [vcpus: number, share: number])[] = [
  [1, 0.2],
  [2, 0.25],
  [4, 0.3],
  [8, 0.2],
  [16, 0.05],
];
const VM_BYTES_PER_VCPU = 4 * GIB;
const DIRTY_BYTES = [4 * MIB, 80 * MIB] as const;
/** Every 50th VM is never to be moved; three of thirty never meet; two of a hundred stay together. */
const PINNED_EVERY = 50;
const RIVALS_EVERY = 30;
const RIVALS = 3;
const KIN_EVERY = 100;
const KIN_FIRST = 60;
/** A start without plan, as fleets grow: the host is drawn, and only its memory is looked at. */
const DRAWS_MAX = 64;
const MEMORY_SHARE_AT_START = 0.85;

/** Throws SimError when the hosts' memory is too small for the VMs. */
export function createPopulation(hostCount: number, vmCount: number, seed: number): Population {
  const hosts = Array.from({ length: hostCount }, (_, host): HostFigures => {
    const cores = hostCores[below(hostCores.length, fraction(seed, host, 101))]!;
    const networkGroup = Math.floor(host / HOSTS_PER_GROUP);
    return { name: `host${host}`, cores, memoryBytes: cores * HOST_BYTES_PER_CORE, figuresAtMs: 0, networkGroup };
  });
  const vcpus = Float32Array.from({ length: vmCount }, (_, vm) => sizeOf(fraction(seed, vm, 102)));
  const places = placeAll(hosts, vcpus, seed);
  const vms = Array.from({ length: vmCount }, (_, vm): VmFigures => {
    const memoryBytes = vcpus[vm]! * VM_BYTES_PER_VCPU;
    const residentBytes = Math.round(memoryBytes * between(0.3, 0.95, fraction(seed, vm, 103)));
    const isPinned = vm % PINNED_EVERY === PINNED_EVERY / 2;
    return {
      ...{ name: `vm${vm}`, host: hosts[places[vm]!]!.name, guestCores: 0, overheadCores: 0 },
      ...{ capCores: vcpus[vm]!, memoryBytes, residentBytes, isPinned },
      ...(isRival(vm) && { antiAffinity: `apart${Math.floor(vm / RIVALS_EVERY)}` }),
      ...(isKin(vm) && { affinity: `together${Math.floor(vm / KIN_EVERY)}` }),
    };
  });
  return {
    fleet: new Fleet({ atMs: 0, hosts, vms }),
    vcpus,
    dirtyBytesPerCoreSecond: Float32Array.from(vms, (_, vm) => between(...DIRTY_BYTES, fraction(seed, vm, 104))),
  };
}

function sizeOf(fraction: number): number {
  let left = fraction;
  for (const [vcpus, share] of vmSizes) {
    left -= share;
    if (left < 0) return vcpus;
  }
  return 1;
}

const isRival = (vm: number): boolean => vm % RIVALS_EVERY < RIVALS;
const isKin = (vm: number): boolean => vm % KIN_EVERY === KIN_FIRST || vm % KIN_EVERY === KIN_FIRST + 1;

function placeAll(hosts: readonly HostFigures[], vcpus: Float32Array, seed: number): Int32Array {
  const freeBytes = Float64Array.from(hosts, ({ memoryBytes }) => memoryBytes * MEMORY_SHARE_AT_START);
  const places = new Int32Array(vcpus.length);
  for (let vm = 0; vm < vcpus.length; vm++) {
    const bytes = vcpus[vm]! * VM_BYTES_PER_VCPU;
    const rivals = isRival(vm) ? places.subarray(vm - (vm % RIVALS_EVERY), vm) : places.subarray(vm, vm);
    const fits = (host: number): boolean => freeBytes[host]! >= bytes && !rivals.includes(host);
    let host = vm % KIN_EVERY === KIN_FIRST + 1 ? places[vm - 1]! : below(hosts.length, fraction(seed, vm, 105));
    for (let draw = 0; draw < DRAWS_MAX && !fits(host); draw++)
      host = below(hosts.length, fraction(seed, vm, 1_000 + draw));
    if (!fits(host)) host = hosts.findIndex((_, other) => fits(other));
    if (host < 0) {
      const message = `${hosts.length} hosts have no room for ${vcpus.length} VMs: VM ${vm} finds no place; about 10 per host fit`;
      throw new SimError('SIM_OPTIONS', message, { hosts: hosts.length, vms: vcpus.length });
    }
    places[vm] = host;
    freeBytes[host]! -= bytes;
  }
  return places;
}
