/**
 * The figures of the host itself. How much of the processors is its own, and what counts as used:
 *
 *     capacity.cores is configured       that many; used: by the agent and its QEMUs (a part of a machine that others use, too)
 *     the agent's control group is capped  the cap; used: by that group
 *     neither                            the processors that the agent may use; used: whatever keeps them busy
 */
import type { HostTelemetry, VmTelemetry } from '../../core/model/telemetry.ts';
import { capOf, groupCpuMs, type CappedGroup } from '../../io/hoststat/cpu-cap.ts';
import type { CpuHierarchy } from '../../io/hoststat/cpu-group.ts';
import { diskDevices, isDisk } from '../../io/hoststat/disk-stat.ts';
import { cpuCount, hostMemory } from '../../io/hoststat/host-stat.ts';
import { leavesHost, type DeviceBytes } from '../../io/hoststat/network-stat.ts';
import { ownCpuMs } from '../../io/hoststat/process-stat.ts';
import { processorsOf, processorTimes } from '../../io/hoststat/processors.ts';
import { SURVEY_INTERVAL_MS } from './limits.ts';
import { Meter } from './meter.ts';

export type HostFiguresOptions = {
  /** `capacity` of the configuration. */
  readonly cores: number | null;
  readonly memoryBytes: number | null;
  readonly hierarchy: CpuHierarchy | null;
};

type Survey = {
  readonly atMs: number;
  readonly group: CappedGroup | null;
  readonly processors: readonly number[];
  readonly networks: readonly string[];
  readonly disks: readonly string[];
};

export class HostFigures {
  readonly #options: HostFiguresOptions;
  readonly #cpu = new Meter();
  readonly #received = new Meter();
  readonly #sent = new Meter();
  readonly #read = new Meter();
  readonly #written = new Meter();
  #survey: Survey | null = null;

  constructor(options: HostFiguresOptions) {
    this.#options = options;
  }

  sample(
    nowMs: number,
    devices: ReadonlyMap<string, DeviceBytes>,
    vms: readonly VmTelemetry[],
  ): Pick<HostTelemetry, 'cpu' | 'memory' | 'network' | 'disk'> {
    if (this.#survey === null || nowMs - this.#survey.atMs >= SURVEY_INTERVAL_MS) {
      this.#survey = this.#look(nowMs, devices);
    }
    const { group, networks, disks } = this.#survey;
    const readings = disks.length === 0 ? new Map<string, never>() : diskDevices();
    return {
      cpu: {
        cores: this.#options.cores ?? Math.min(cpuCount(), group?.cores ?? Infinity),
        usedCores: this.#usedCores(nowMs, vms),
        guestCores: sumOf(vms.map((vm) => vm.guestCores ?? 0)),
      },
      memory: this.#memory(vms),
      network: {
        receivedBytesPerS: this.#received.rate(total(networks, devices, 'received'), nowMs),
        sentBytesPerS: this.#sent.rate(total(networks, devices, 'sent'), nowMs),
      },
      disk: {
        readBytesPerS: this.#read.rate(total(disks, readings, 'read'), nowMs),
        writtenBytesPerS: this.#written.rate(total(disks, readings, 'written'), nowMs),
      },
    };
  }

  /** Of a host that owns a part of the machine's memory, available is what its VMs do not hold, if the machine has it. */
  #memory(vms: readonly VmTelemetry[]): HostTelemetry['memory'] {
    const machine = hostMemory();
    const own = this.#options.memoryBytes;
    if (own === null || own >= machine.totalBytes) return machine;
    const held = sumOf(vms.map((vm) => vm.memory.residentBytes));
    return { totalBytes: own, availableBytes: Math.max(0, Math.min(machine.availableBytes, own - held)) };
  }

  #usedCores(nowMs: number, vms: readonly VmTelemetry[]): number | null {
    const { group, processors } = this.#survey!;
    const { cores, hierarchy } = this.#options;
    if (cores !== null) {
      const own = perCore(this.#cpu.rate(ownCpuMs(), nowMs));
      return own === null ? null : own + sumOf(vms.map((vm) => (vm.guestCores ?? 0) + (vm.overheadCores ?? 0)));
    }
    if (group !== null && hierarchy !== null) {
      return perCore(this.#cpu.rate(groupCpuMs(hierarchy, group.folder), nowMs));
    }
    const times = processorTimes();
    return perCore(this.#cpu.rate(sumOf(processors.map((processor) => times.get(processor)?.busyMs ?? 0)), nowMs));
  }

  #look(nowMs: number, devices: ReadonlyMap<string, DeviceBytes>): Survey {
    return {
      atMs: nowMs,
      group: capOf('self', this.#options.hierarchy),
      processors: processorsOf('self'),
      networks: [...devices.keys()].filter((name) => leavesHost(name)),
      disks: [...diskDevices().keys()].filter((name) => isDisk(name)),
    };
  }
}

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
/** Milliseconds of processor time per second, as processors. */
const perCore = (rate: number | null): number | null => (rate === null ? null : rate / 1000);

/** Null where there is nothing to count. */
function total<Field extends string>(
  names: readonly string[],
  counters: ReadonlyMap<string, Readonly<Record<Field, number>>>,
  field: Field,
): number | null {
  return names.length === 0 ? null : sumOf(names.map((name) => counters.get(name)?.[field] ?? 0));
}
