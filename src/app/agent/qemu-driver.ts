/** QemuPort over io/qemu: the only place where the agent meets real QEMU processes. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { ApiError } from '../../core/api/errors.ts';
import type { VmSpec } from '../../core/model/vm.ts';
import type { Logger } from '../../io/log/logger.ts';
import { buildCommandLine, tapNameOf } from '../../io/qemu/command-line.ts';
import { probeKvm, probeQemu } from '../../io/qemu/probe.ts';
import { identify, isAlive, startQemu, terminate, waitForEnd, type QemuProcess } from '../../io/qemu/process.ts';
import { QmpClient } from '../../io/qemu/qmp-client.ts';
import type { RunState } from '../../io/qemu/qmp-types.ts';
import { createTap, deleteTap } from '../../io/qemu/tap.ts';
import { userfaultfdWorks } from '../../io/qemu/userfaultfd.ts';
import { holdsUnixSocket } from '../../io/qemu/unix-listener.ts';
import { hasStandingMonitor, makeStandingMonitor, standingMonitorOf } from '../../io/qemu/standing-monitor.ts';
import { formatVersion } from '../../io/qemu/version.ts';
import { MONITOR_TIMEOUT_MS, QUIT_TIMEOUT_MS } from './limits.ts';
import type {
  Accelerator,
  GuestState,
  MonitorPlace,
  QemuFacts,
  QemuInspection,
  QemuPort,
  QemuStart,
  RunningQemu,
} from './qemu-port.ts';

const run = promisify(execFile);
const CPU_HELP_TIMEOUT_MS = 10_000;

export type QemuDriverOptions = {
  readonly binary: string;
  readonly accelerator: 'auto' | Accelerator;
  readonly log: Logger;
};

export class QemuDriver implements QemuPort {
  readonly #options: QemuDriverOptions;
  #facts: Promise<QemuFacts> | null = null;
  #kvm: Promise<boolean> | null = null;
  #userfaultfd: Promise<string | null> | null = null;

  constructor(options: QemuDriverOptions) {
    this.#options = options;
  }

  /** Probed once; a failure is probed again, because QEMU may have been installed since. */
  async facts(): Promise<QemuFacts> {
    this.#facts ??= probeFacts(this.#options.binary);
    try {
      return await this.#facts;
    } catch (error) {
      this.#facts = null;
      throw error;
    }
  }

  async kvmWorks(): Promise<boolean> {
    this.#kvm ??= probeKvm(this.#options.binary).then((probe) => {
      if (!probe.works) {
        this.#options.log.warn('qemu.monitor', 'KVM does not work here: guests run in software emulation', {
          reason: probe.reason,
        });
      }
      return probe.works;
    });
    return await this.#kvm;
  }

  async userfaultfdProblem(): Promise<string | null> {
    this.#userfaultfd ??= userfaultfdWorks(this.#options.binary);
    const problem = await this.#userfaultfd;
    // It may be allowed tomorrow.
    if (problem !== null) this.#userfaultfd = null;
    return problem;
  }

  async start(request: QemuStart, signal?: AbortSignal): Promise<RunningQemu> {
    const { runFolder, incoming, pull } = request;
    const { machines } = await this.facts();
    const wanted = request.spec.machine;
    const machine = machines.find(({ name, alias }) => name === wanted || alias === wanted)?.name ?? wanted;
    const accelerator = await this.#acceleratorFor(request.spec);
    const spec = { ...request.spec, machine };
    const host = { binary: this.#options.binary, runFolder, accelerator, incoming, standingMonitor: pull };
    const commandLine = buildCommandLine(spec, host);
    try {
      for (const tap of commandLine.taps) await createTap(tap, signal);
      if (pull) await makeStandingMonitor(runFolder);
      const { process, qmp } = await startQemu({ vm: spec.name, commandLine, ...(signal !== undefined && { signal }) });
      const qemuVersion = formatVersion(qmp.version);
      qmp.close();
      if (pull) await this.#openStandingMonitor(spec.name, runFolder, process);
      const { qmpSocket, agentSocket } = commandLine.paths;
      const qgaPath = spec.guestAgent ? agentSocket : null;
      return { ...process, qmpPath: qmpSocket, qgaPath, machine, qemuVersion, accelerator };
    } catch (error) {
      await this.cleanUp(spec);
      throw error;
    }
  }

  async inspect(place: MonitorPlace, qgaPath: string | null): Promise<QemuInspection> {
    using qmp = await QmpClient.connect({ socketPath: place.qmpPath, vm: place.vm, timeoutMs: MONITOR_TIMEOUT_MS });
    const threads = await qmp.vcpuThreads();
    const memory = await qmp.execute('query-memory-size-summary');
    const type = await qmp.execute('qom-get', { path: '/machine', property: 'type' });
    const kvm = await qmp.humanMonitor('info kvm');
    const process = processOfThread(place, threads[0] ?? 0);
    // What another guest says of its memory must not decide what of this one is sent.
    if (qgaPath !== null && !holdsUnixSocket(process.pid, qgaPath)) {
      const text = `VM "${place.vm}" cannot be adopted: ${qgaPath} is not a socket of its QEMU. The guest was not touched.`;
      throw new ApiError('ADOPT_REFUSED', text, { vm: place.vm, qgaPath });
    }
    return {
      ...process,
      machine: String(type).replace(/-machine$/, ''),
      qemuVersion: formatVersion(qmp.version),
      accelerator: /\benabled\b/.test(kvm) ? 'kvm' : 'tcg',
      vcpus: threads.length,
      memoryBytes: memory['base-memory'] + (memory['plugged-memory'] ?? 0),
    };
  }

  foundAgain(vm: string, runFolder: string): void {
    if (!hasStandingMonitor(runFolder)) return;
    try {
      standingMonitorOf(vm, runFolder);
    } catch (error) {
      this.#options.log.warn('qemu.monitor', `The standing monitor of VM "${vm}" cannot be read`, { vm, error });
    }
  }

  isAlive(process: { readonly pid: number; readonly startTicks: number }): boolean {
    return isAlive(process);
  }

  async guestState(place: MonitorPlace): Promise<GuestState> {
    try {
      using qmp = await connect(place);
      return guestStateOf(await qmp.runState({ timeoutMs: MONITOR_TIMEOUT_MS }));
    } catch {
      return 'silent';
    }
  }

  async powerDown(place: MonitorPlace): Promise<void> {
    using qmp = await connect(place);
    await qmp.execute('system_powerdown', undefined, { timeoutMs: MONITOR_TIMEOUT_MS });
  }

  async end(process: { readonly pid: number; readonly startTicks: number }, place: MonitorPlace): Promise<void> {
    if (!isAlive(process)) return;
    try {
      using qmp = await connect(place);
      // QEMU may close the connection before it answers.
      await qmp.execute('quit', undefined, { timeoutMs: MONITOR_TIMEOUT_MS }).catch(() => undefined);
      if (await waitForEnd(process, QUIT_TIMEOUT_MS)) return;
    } catch (error) {
      this.#options.log.warn('qemu.monitor', `QEMU of VM "${place.vm}" does not quit and is ended by a signal`, {
        vm: place.vm,
        error,
      });
    }
    await terminate(process);
  }

  async waitForEnd(
    process: { readonly pid: number; readonly startTicks: number },
    timeoutMs: number,
  ): Promise<boolean> {
    return await waitForEnd(process, timeoutMs);
  }

  async cleanUp(spec: VmSpec): Promise<void> {
    for (const [index, network] of spec.networks.entries()) {
      if (network.type === 'tap') await deleteTap(tapNameOf(spec.name, index));
    }
  }

  /** A guest that pulls needs it: a QEMU without one is ended. */
  async #openStandingMonitor(vm: string, runFolder: string, process: QemuProcess): Promise<void> {
    try {
      await standingMonitorOf(vm, runFolder).negotiate();
    } catch (error) {
      await terminate(process);
      throw error;
    }
  }

  async #acceleratorFor(spec: VmSpec): Promise<Accelerator> {
    const wanted = spec.accelerator === 'auto' ? this.#options.accelerator : spec.accelerator;
    if (wanted !== 'auto') return wanted;
    return (await this.kvmWorks()) ? 'kvm' : 'tcg';
  }
}

async function connect({ vm, qmpPath }: MonitorPlace): Promise<QmpClient> {
  return await QmpClient.connect({ socketPath: qmpPath, vm, timeoutMs: MONITOR_TIMEOUT_MS });
}

/** The machine is known from its threads: a vCPU's thread belongs to QEMU's process. */
function processOfThread(place: MonitorPlace, threadId: number): { pid: number; startTicks: number } {
  const pid = Number(/^Tgid:\s*(\d+)/m.exec(readOrEmpty(`/proc/${threadId}/status`))?.[1] ?? 0);
  const found = pid === 0 ? null : identify(pid);
  if (found !== null && readOrEmpty(`/proc/${pid}/cmdline`).includes('qemu')) return found;
  const text =
    `VM "${place.vm}" cannot be adopted: the process behind ${place.qmpPath} is not visible to this agent ` +
    '(another PID namespace, or no rights). The guest was not touched.';
  throw new ApiError('ADOPT_REFUSED', text, { vm: place.vm, qmpPath: place.qmpPath });
}

function guestStateOf(state: RunState): GuestState {
  if (state === 'running') return 'running';
  return state === 'postmigrate' || state === 'finish-migrate' ? 'handed over' : 'paused';
}

async function probeFacts(binary: string): Promise<QemuFacts> {
  const [probe, help] = await Promise.all([
    probeQemu(binary),
    run(binary, ['-cpu', 'help'], { timeout: CPU_HELP_TIMEOUT_MS }),
  ]);
  return {
    version: formatVersion(probe.version),
    machines: probe.machines.map(({ name, aliases }) => ({ name, alias: aliases[0] ?? null })),
    cpus: parseCpuHelp(help.stdout),
  };
}

/** Names in `qemu-system-x86_64 -cpu help`: "x86 EPYC  (...)" up to 8.2, "  EPYC  (...)" since 9.0. */
export function parseCpuHelp(text: string): ReadonlySet<string> {
  const names = new Set<string>();
  for (const line of text.split('\n').slice(1)) {
    if (line.trim() === '' && names.size > 0) break;
    const name = /^(?:x86|\s)\s*(\S+)/.exec(line)?.[1];
    if (name !== undefined) names.add(name);
  }
  return names;
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
