/**
 * The figures of one QEMU, from when it is first seen until it ends. Reading /proc is all that is done each second; what needs
 * QEMU or the guest to answer goes on beside it, and its results are used when they come.
 *
 * The processor time of the vCPU threads is the guest's; all that QEMU used beyond is overhead. Threads that came and went are
 * in the sum of the process, so nothing is lost.
 */
import { statSync } from 'node:fs';
import type { VmTelemetry } from '../../core/model/telemetry.ts';
import { tapNameOf } from '../../io/qemu/command-line.ts';
import { isAlive } from '../../io/qemu/process.ts';
import { capOf } from '../../io/hoststat/cpu-cap.ts';
import type { CpuHierarchy } from '../../io/hoststat/cpu-group.ts';
import type { DeviceBytes } from '../../io/hoststat/network-stat.ts';
import { processCpuMs, processDiskBytes, residentParts, threadCpuMs } from '../../io/hoststat/process-stat.ts';
import type { PageHash } from '../../io/lanes/page-hash.ts';
import type { Conversations } from './conversation.ts';
import { Schedule } from './schedule.ts';
import { dirtyClassOf } from './dirty-class.ts';
import { DirtyLooks, pageCountOf } from './dirty-looks.ts';
import { GUEST_MEMORY_INTERVAL_MS, STATE_INTERVAL_MS, SURVEY_INTERVAL_MS } from './limits.ts';
import { Meter } from './meter.ts';
import { guestUsedBytes, inspectQemu, type QemuInside } from './qemu-inspection.ts';
import type { SampledProcess, SampledVm } from './sampled-vm.ts';
import { PAGE_BYTES } from '../../core/model/units.ts';

const STAT_BLOCK_BYTES = 512;

export type VmSamplerTools = {
  readonly talks: Conversations;
  readonly hash: PageHash;
  readonly hierarchy: CpuHierarchy | null;
  /** As the machine is now; null when it is not here any more. */
  readonly find: (name: string) => SampledVm | null;
  /** Asks QEMU whether the guest runs. */
  readonly refreshState: (name: string) => Promise<void>;
};

/** What is read once for all VMs. */
export type SampleFrame = {
  readonly nowMs: number;
  readonly devices: ReadonlyMap<string, DeviceBytes>;
  /** Whether it is this VM's turn to have its pages looked at. */
  readonly looksAtPages: boolean;
};

export class VmSampler {
  readonly process: SampledProcess;
  readonly #name: string;
  readonly #tools: VmSamplerTools;
  readonly #guestCpu = new Meter();
  readonly #allCpu = new Meter();
  readonly #received = new Meter();
  readonly #sent = new Meter();
  readonly #read = new Meter();
  readonly #written = new Meter();
  readonly #inspection = new Schedule(Infinity);
  readonly #state = new Schedule(STATE_INTERVAL_MS);
  readonly #guestMemory = new Schedule(GUEST_MEMORY_INTERVAL_MS);
  readonly #survey = new Schedule(SURVEY_INTERVAL_MS);
  #inside: QemuInside | null = null;
  #looks: DirtyLooks | null = null;
  #usedBytes: number | null = null;
  #capCores: number | null = null;
  #isTalking = false;

  constructor(name: string, process: SampledProcess, tools: VmSamplerTools) {
    this.#name = name;
    this.process = process;
    this.#tools = tools;
  }

  /** Whether it is the sampler of this machine's QEMU. */
  isOf(vm: SampledVm): boolean {
    return vm.process?.pid === this.process.pid && vm.process.startTicks === this.process.startTicks;
  }

  /** Null: its QEMU has ended. */
  async sample(vm: SampledVm, frame: SampleFrame): Promise<VmTelemetry | null> {
    const { pid } = this.process;
    const resident = this.#residentBytes();
    if (resident === null || !isAlive(this.process)) return null;
    const { nowMs } = frame;
    if (this.#survey.isDue(nowMs)) {
      this.#capCores = capOf(pid, this.#tools.hierarchy)?.cores ?? null;
      this.#survey.succeeded(nowMs);
    }
    this.#talkWhenDue(vm, nowMs);
    const cpu = this.#cpu(nowMs);
    const disk = processDiskBytes(pid);
    const network = this.#network(vm, frame);
    await this.#lookAtPages(vm, frame.looksAtPages);
    const share = this.#looks?.share ?? null;
    return {
      ...{ name: vm.name, state: vm.state, vcpus: vm.spec.vcpus, migration: vm.migration },
      placement: vm.spec.placement,
      ...{ ...cpu, capCores: this.#capCores },
      memory: { assignedBytes: vm.spec.memory, residentBytes: resident, usedBytes: this.#usedBytes },
      dirty: share === null ? null : dirtyClassOf(share),
      dirtyBytesPerS: share === null ? null : Math.round(share * pageCountOf(this.#inside!.memory) * PAGE_BYTES),
      network,
      disk: {
        readBytesPerS: this.#read.rate(disk?.read ?? null, nowMs),
        writtenBytesPerS: this.#written.rate(disk?.written ?? null, nowMs),
      },
    };
  }

  close(): void {
    this.#looks?.close();
    this.#looks = null;
  }

  #cpu(nowMs: number): { guestCores: number | null; overheadCores: number | null } {
    const { pid } = this.process;
    const threads = this.#inside?.vcpuThreads ?? [];
    let guestMs: number | null = threads.length === 0 ? null : 0;
    for (const thread of threads) {
      const ms = threadCpuMs(pid, thread);
      guestMs = ms === null || guestMs === null ? null : guestMs + ms;
    }
    // A vCPU that was unplugged, or plugged in: its threads are asked for anew.
    if (guestMs === null && this.#inside !== null) this.#forgetInside();
    const guest = this.#guestCpu.rate(guestMs, nowMs);
    const all = this.#allCpu.rate(processCpuMs(pid), nowMs);
    const guestCores = guest === null ? null : guest / 1000;
    // The process is counted in ticks of 10 ms, its threads exactly.
    const overhead = guestCores === null || all === null ? null : Math.max(0, all / 1000 - guestCores);
    return { guestCores, overheadCores: overhead };
  }

  #forgetInside(): void {
    this.close();
    this.#inside = null;
    this.#inspection.failed(performance.now());
  }

  /** With all of a shared memory file, of which QEMU may have touched a part only: lanes write to it beside QEMU. */
  #residentBytes(): number | null {
    const parts = residentParts(this.process.pid);
    if (parts === null) return null;
    let inFiles = 0;
    for (const file of this.#inside?.sharedFiles ?? []) inFiles += allocatedBytes(file);
    return parts.anonBytes + parts.fileBytes + Math.max(parts.sharedBytes, inFiles);
  }

  /** What the guest receives is what the host sends into its tap. Null unless all of its networks are taps. */
  #network({ name, spec }: SampledVm, { devices, nowMs }: SampleFrame): VmTelemetry['network'] {
    const taps = spec.networks.map((network, index) =>
      network.type === 'tap' ? devices.get(tapNameOf(name, index)) : undefined,
    );
    const isKnown = taps.length > 0 && taps.every((tap) => tap !== undefined);
    const sum = (of: (tap: DeviceBytes) => number): number | null =>
      isKnown ? taps.reduce((bytes, tap) => bytes + of(tap!), 0) : null;
    return {
      receivedBytesPerS: this.#received.rate(
        sum((tap) => tap.sent),
        nowMs,
      ),
      sentBytesPerS: this.#sent.rate(
        sum((tap) => tap.received),
        nowMs,
      ),
    };
  }

  /** A migration reads the same memory, and needs the processor more: it is left alone. */
  async #lookAtPages(vm: SampledVm, isTurn: boolean): Promise<void> {
    if (!isFree(vm) || this.#inside === null) {
      this.close();
      return;
    }
    if (!isTurn || this.#inside.memory.length === 0) return;
    try {
      this.#looks ??= new DirtyLooks(this.#inside.memory, this.#tools.hash);
      await this.#looks.look();
    } catch {
      // It has ended, or its memory lies elsewhere now: what is where is asked anew.
      this.#forgetInside();
    }
  }

  #talkWhenDue(vm: SampledVm, nowMs: number): void {
    if (this.#isTalking || !isFree(vm)) return;
    const { talks, find } = this.#tools;
    const { qgaPath } = this.process;
    const isStillFree = (): boolean => {
      const now = find(this.#name);
      return now !== null && this.isOf(now) && isFree(now);
    };
    const talk = (schedule: Schedule, run: (signal: AbortSignal) => Promise<void>): void => {
      this.#isTalking = true;
      void talks
        .hold(isStillFree, run)
        .then(
          () => schedule.succeeded(performance.now()),
          () => schedule.failed(performance.now()),
        )
        .finally(() => (this.#isTalking = false));
    };
    if (this.#inside === null) {
      if (!this.#inspection.isDue(nowMs)) return;
      talk(this.#inspection, async (signal) => {
        this.#inside = await inspectQemu(this.#name, this.process, signal);
      });
    } else if (this.#state.isDue(nowMs)) {
      talk(this.#state, async () => await this.#tools.refreshState(this.#name));
    } else if (qgaPath !== null && vm.state === 'running' && this.#guestMemory.isDue(nowMs)) {
      talk(this.#guestMemory, async (signal) => {
        this.#usedBytes = await guestUsedBytes(this.#name, qgaPath, signal).catch((error: unknown) => {
          this.#usedBytes = null;
          throw error;
        });
      });
    }
  }
}

/** Nobody else talks to it. */
function isFree({ migration, state }: SampledVm): boolean {
  return migration === null && (state === 'running' || state === 'paused');
}

function allocatedBytes(file: string): number {
  return (statSync(file, { throwIfNoEntry: false })?.blocks ?? 0) * STAT_BLOCK_BYTES;
}
