/**
 * Looks at this host and its VMs once a second.
 *
 *     VMs of the agent ──▶ one VmSampler per QEMU ─┐
 *     /proc of the host ──▶ HostFigures            ├─▶ HostTelemetry ─▶ whoever listens (store, metrics), GET /telemetry
 *     peers ──▶ PeerWatch                          ┘
 *
 * A sample never overlaps another one: one that takes long makes the next one late, not more. A VM whose figures cannot be had
 * is left out, and tried again the next second; its QEMU may have ended at any line.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { HostTelemetry, PeerTelemetry, VmTelemetry } from '../../core/model/telemetry.ts';
import { cpuHierarchy } from '../../io/hoststat/cpu-cap.ts';
import type { CpuHierarchy } from '../../io/hoststat/cpu-group.ts';
import { networkDevices } from '../../io/hoststat/network-stat.ts';
import { createPageHash } from '../../io/lanes/page-hash.ts';
import type { Logger } from '../../io/log/logger.ts';
import { Conversations } from './conversation.ts';
import { HostFigures } from './host-figures.ts';
import { DIRTY_TURN_S, DIRTY_VMS, SAMPLE_INTERVAL_MS } from './limits.ts';
import type { SampledVm } from './sampled-vm.ts';
import { VmSampler, type SampleFrame, type VmSamplerTools } from './vm-sampler.ts';

export type SamplerOptions = {
  readonly host: string;
  /** `capacity` of the configuration; null: what the machine has. */
  readonly cores: number | null;
  readonly memoryBytes: number | null;
  /** The machines of this host now. */
  readonly vms: () => readonly SampledVm[];
  readonly refreshState: (name: string) => Promise<void>;
  readonly peers: () => readonly PeerTelemetry[];
  readonly log: Logger;
};

/** `elapsedMs`: since the sample before; null for the first. `tookMs`: what else ran meanwhile included. */
export type SampleTiming = { readonly elapsedMs: number | null; readonly tookMs: number };
export type SampleListener = (sample: HostTelemetry, timing: SampleTiming) => void;

export class Sampler {
  readonly #options: SamplerOptions;
  readonly #tools: VmSamplerTools;
  readonly #figures: HostFigures;
  readonly #talks = new Conversations();
  readonly #samplers = new Map<string, VmSampler>();
  readonly #listeners: SampleListener[] = [];
  readonly #failing = new Set<SampleListener>();
  readonly #first = Promise.withResolvers<void>();
  #latest: { readonly sample: HostTelemetry; readonly atMs: number } | null = null;
  #tick = 0;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  #work: Promise<void> = Promise.resolve();

  private constructor(options: SamplerOptions, hash: VmSamplerTools['hash'], hierarchy: CpuHierarchy | null) {
    this.#options = options;
    this.#figures = new HostFigures({ cores: options.cores, memoryBytes: options.memoryBytes, hierarchy });
    this.#tools = {
      ...{ talks: this.#talks, hash, hierarchy },
      find: (name) => this.#options.vms().find((vm) => vm.name === name) ?? null,
      refreshState: options.refreshState,
    };
  }

  static async start(options: SamplerOptions): Promise<Sampler> {
    const sampler = new Sampler(options, await createPageHash(), cpuHierarchy());
    sampler.#work = sampler.#run();
    return sampler;
  }

  /** Called with every sample; what it throws is logged. */
  listen(listener: SampleListener): void {
    this.#listeners.push(listener);
  }

  /** The newest sample, with its age. Waits for the first one. */
  async latest(): Promise<HostTelemetry> {
    await this.#first.promise;
    if (this.#latest === null) throw new Error('The agent is being stopped');
    const { sample, atMs } = this.#latest;
    return { ...sample, ageMs: Math.round(performance.now() - atMs) };
  }

  /** Ends with the sample that is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#talks.close();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#work;
    this.#first.resolve();
    for (const sampler of this.#samplers.values()) sampler.close();
    this.#samplers.clear();
  }

  async #run(): Promise<void> {
    const startMs = performance.now();
    try {
      await this.#sample(startMs);
    } catch (error) {
      this.#options.log.warn('telemetry.failed', 'A look at this host failed', { error });
    }
    this.#first.resolve();
    if (this.#isClosed) return;
    const tookMs = performance.now() - startMs;
    const again = (): void => void (this.#work = this.#run());
    this.#timer = setTimeout(again, Math.max(1, SAMPLE_INTERVAL_MS - tookMs));
  }

  async #sample(nowMs: number): Promise<void> {
    const devices = networkDevices();
    const vms = await this.#sampleVms(nowMs, devices);
    if (this.#isClosed) return;
    const sample: HostTelemetry = {
      ...{ host: this.#options.host, atMs: Date.now(), ageMs: 0 },
      ...this.#figures.sample(nowMs, devices, vms),
      peers: this.#options.peers(),
      vms,
    };
    const elapsedMs = this.#latest === null ? null : nowMs - this.#latest.atMs;
    const timing = { elapsedMs, tookMs: performance.now() - nowMs };
    this.#latest = { sample, atMs: nowMs };
    this.#tell(sample, timing);
  }

  #tell(sample: HostTelemetry, timing: SampleTiming): void {
    for (const listener of this.#listeners) {
      try {
        listener(sample, timing);
        this.#failing.delete(listener);
      } catch (error) {
        // A full disk is told once, not every second.
        if (this.#failing.has(listener)) continue;
        this.#failing.add(listener);
        this.#options.log.warn('telemetry.failed', 'Looks at this host cannot be kept at present', { error });
      }
    }
  }

  async #sampleVms(nowMs: number, devices: SampleFrame['devices']): Promise<VmTelemetry[]> {
    const present = this.#options.vms().filter((vm) => vm.state !== 'gone');
    this.#forgetAllBut(present);
    const turn = Math.floor(this.#tick++ / DIRTY_TURN_S) % Math.max(1, Math.ceil(present.length / DIRTY_VMS));
    const views: VmTelemetry[] = [];
    for (const [index, vm] of present.entries()) {
      if (vm.process === null || this.#isClosed) continue;
      const looksAtPages = Math.floor(index / DIRTY_VMS) === turn;
      try {
        const view = await this.#samplerOf(vm).sample(vm, { nowMs, devices, looksAtPages });
        if (view !== null) views.push(view);
        else this.#forget(vm.name);
      } catch (error) {
        this.#options.log.debug('telemetry.failed', `VM "${vm.name}" could not be looked at`, { vm: vm.name, error });
      }
      // The loop gets its turn between any two VMs.
      await nextTurn();
    }
    return views;
  }

  #samplerOf(vm: SampledVm): VmSampler {
    const known = this.#samplers.get(vm.name);
    if (known?.isOf(vm) === true) return known;
    known?.close();
    const made = new VmSampler(vm.name, vm.process!, this.#tools);
    this.#samplers.set(vm.name, made);
    return made;
  }

  #forgetAllBut(present: readonly SampledVm[]): void {
    const names = new Set(present.map((vm) => vm.name));
    for (const name of this.#samplers.keys()) {
      if (!names.has(name)) this.#forget(name);
    }
  }

  #forget(name: string): void {
    this.#samplers.get(name)?.close();
    this.#samplers.delete(name);
  }
}
