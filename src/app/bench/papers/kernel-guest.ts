/**
 * A guest that runs one of the kernels on each of its virtual processors, on host a of the lab, and how much processor time
 * it takes while it says so many lines: between two lines, so that its use and its work are those of the same time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { busyPart, processorTimes } from '../../../io/hoststat/processors.ts';
import type { VmferryGuest } from '../../lab/vmferry-migration.ts';
import { startStaying } from '../bench-guest.ts';
import { readConsole } from '../console-watch.ts';
import { BenchError } from '../errors.ts';
import type { MeasureTools } from '../measures.ts';
import { cpuMsOf, vcpuMsOf } from '../process-watch.ts';
import { jointPoints, rateBetween } from './joint-work.ts';
import type { JointPoint } from './joint-work.ts';

export const kernels = ['dhrystone', 'linpack', 'livermore'] as const;
export type Kernel = (typeof kernels)[number];

export type KernelGuestOptions = {
  readonly kernel: Kernel;
  /** Like `512M`. */
  readonly memory: string;
  readonly vcpus: number;
};

/** Percent of one processor. */
export type Use = {
  /** Of all threads of its QEMU. */
  readonly usePercent: number;
  /** Of those that run the guest. */
  readonly vcpuPercent: number;
  /** The busy part of the named processors, percent of all of them together. */
  readonly hostPercent: number;
  /** Units per second, of all of its processors. */
  readonly workPerS: number;
};

type StayTools = Pick<MeasureTools, 'plan' | 'signal' | 'accelerator'>;

/** A guest of 2 GiB in software emulation needs ten seconds, more on a busy machine. */
const BOOT_TIMEOUT_MS = 120_000;
/** Its programs have made their tables, and the kernel's own start is over. */
const SETTLE_LINES = 2;
/** A line comes once a second; that of a guest that is capped may be late by a period. */
const LINE_TIMEOUT_MS = 20_000;
const POLL_MS = 20;

export class KernelGuest {
  readonly pid: number;
  readonly #guest: VmferryGuest;
  readonly #options: KernelGuestOptions;
  readonly #consoleFile: string;
  readonly #signal: AbortSignal;

  private constructor(
    guest: VmferryGuest,
    options: KernelGuestOptions,
    place: { readonly pid: number; readonly consoleFile: string; readonly signal: AbortSignal },
  ) {
    this.#guest = guest;
    this.#options = options;
    this.pid = place.pid;
    this.#consoleFile = place.consoleFile;
    this.#signal = place.signal;
  }

  /** Starts the `index`-th guest and waits until it works. Throws what starting guests throws, BenchError BENCH_FAILED. */
  static async start(options: KernelGuestOptions, index: number, tools: StayTools): Promise<KernelGuest> {
    const { kernel, memory, vcpus } = options;
    const programs = Array.from({ length: vcpus }, () => kernel);
    const guest = await startStaying({ memory, vcpus, programs }, index, tools, tools.accelerator);
    try {
      const { pid } = guest.view;
      if (pid === null) throw new BenchError('BENCH_FAILED', 'A guest that was just started has no QEMU');
      const started = new KernelGuest(guest, options, {
        pid,
        consoleFile: await guest.consoleFile(),
        signal: tools.signal,
      });
      await started.#lineAfter(SETTLE_LINES - 1, BOOT_TIMEOUT_MS);
      return started;
    } catch (error) {
      await guest.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.#guest.stop();
  }

  /**
   * What it takes from its next line on, for so many lines: a second each. `processors` are those whose busy part is taken.
   * Throws BenchError BENCH_FAILED when it says nothing, computes wrongly or is not there any more.
   */
  async use(lines: number, processors: readonly number[]): Promise<Use> {
    const first = await this.#lineAfter(this.#last()?.sequence ?? 0, LINE_TIMEOUT_MS);
    const before = this.#times();
    const last = await this.#lineAfter(first.sequence + lines - 1, LINE_TIMEOUT_MS);
    const after = this.#times();
    if (last.failures > 0) {
      throw new BenchError('BENCH_FAILED', `${this.#options.kernel} found ${last.failures} results wrong`);
    }
    const part = (ms: number): number => (ms / (after.atMs - before.atMs)) * 100;
    return {
      usePercent: part(after.processMs - before.processMs),
      vcpuPercent: part(after.vcpuMs - before.vcpuMs),
      hostPercent: (busyPart(before.processors, after.processors, processors) ?? 0) * 100,
      workPerS: rateBetween(first, last),
    };
  }

  #times() {
    const processMs = cpuMsOf(`/proc/${this.pid}/stat`);
    if (processMs === null) throw new BenchError('BENCH_FAILED', `QEMU ${this.pid} is not there any more`);
    return { atMs: performance.now(), processMs, vcpuMs: vcpuMsOf(this.pid), processors: processorTimes() };
  }

  #last(): JointPoint | undefined {
    const { kernel, vcpus } = this.#options;
    return jointPoints(readConsole(this.#consoleFile), kernel, vcpus).at(-1);
  }

  /** The first line with a higher number, as soon as it is there. */
  async #lineAfter(sequence: number, timeoutMs: number): Promise<JointPoint> {
    for (const endMs = performance.now() + timeoutMs; ;) {
      const last = this.#last();
      if (last !== undefined && last.sequence > sequence) return last;
      if (performance.now() >= endMs) {
        const text = `A guest with ${this.#options.kernel} said nothing new within ${timeoutMs / 1000} s`;
        throw new BenchError('BENCH_FAILED', text);
      }
      await sleep(POLL_MS, undefined, { signal: this.#signal });
    }
  }
}
