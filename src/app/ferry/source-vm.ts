/**
 * The source QEMU of one migration: what it is, and the few things that are done to it.
 *
 * Its monitor may be lost and found again (an agent restarts, QEMU's main loop is stuck for a while), so every question
 * goes through `#monitor`, which reconnects. The process is named by pid and start time, never by the VM's name.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { pacedDowntimeLimitMs } from '../../core/strategy/stop-order.ts';
import { hasPullPhase, type MigrationOptions } from '../../core/model/migration.ts';
import type { Problem } from '../../core/model/vm.ts';
import type { ObservedSource } from '../../core/machine/source-states.ts';
import { assertMemoryAccess } from '../../io/qemu/guest-memory.ts';
import {
  cancelMigration,
  orderSwitchover,
  prepareSource,
  restoreSettings,
  saveSettings,
  setParameters,
  startSource,
  waitForRunState,
  type SavedSettings,
} from '../../io/qemu/migration-control.ts';
import { checkSourceReady, migrationFeatures, type MigrationFeatures } from '../../io/qemu/migration-features.ts';
import { isAlive, terminate, waitForEnd } from '../../io/qemu/process.ts';
import { QmpClient } from '../../io/qemu/qmp-client.ts';
import { formatVersion } from '../../io/qemu/version.ts';
import { processCpuMs } from '../../io/hoststat/process-stat.ts';
import { FerryError } from './errors.ts';
import { inspectGuestRam, pullProblems, ramProblems, type GuestRam } from './guest-ram.ts';
import type { LocalVm } from './ports.ts';
import { forgetSettings, keepSettings, keptSettings } from './saved-settings.ts';

const MONITOR_TIMEOUT_MS = 5_000;
const POSTMIGRATE_TIMEOUT_MS = 10_000;
const QUIT_TIMEOUT_MS = 3_000;
const POLL_MS = 50;
/** With the ack withheld QEMU syncs when less than this is left: small, so that it syncs once per sweep (4.2). */
const SWEEP_THRESHOLD = { downtimeLimitMs: 1, availSwitchoverBandwidthBytesPerSecond: 100_000_000 };

/** What must be known of a QEMU before it can be moved. */
export type SourceFacts = {
  readonly features: MigrationFeatures;
  readonly qemuVersion: string;
  readonly accelerator: 'kvm' | 'tcg';
  /** Concrete, versioned machine type. */
  readonly machine: string;
  readonly ram: GuestRam;
};

export class SourceVm {
  readonly vm: LocalVm;
  #qmp: QmpClient | null = null;
  #saved: SavedSettings | null = null;

  constructor(vm: LocalVm) {
    this.vm = vm;
  }

  get isAlive(): boolean {
    return isAlive(this.vm);
  }

  /** CPU time of this QEMU so far; null when it is gone. */
  get cpuMs(): number | null {
    return processCpuMs(this.vm.pid);
  }

  /** Ids of the threads that run the guest's processors. Throws QmpError. */
  async vcpuThreads(): Promise<number[]> {
    return await (await this.#monitor()).vcpuThreads();
  }

  /** Connects, and calls `onLost` when the monitor ends by itself. Throws QmpError. */
  async open(onLost: () => void): Promise<void> {
    const qmp = await this.#monitor();
    void qmp.whenClosed.then(() => {
      if (this.#qmp === qmp) onLost();
    });
  }

  /** Calls `listener` when QEMU reports that the guest's CPUs have stopped. */
  async onStop(listener: () => void): Promise<void> {
    (await this.#monitor()).on('STOP', listener);
  }

  /** Throws QmpError, GuestMemoryError. */
  async facts(): Promise<SourceFacts> {
    const qmp = await this.#monitor();
    assertMemoryAccess(this.vm.pid, 'read');
    const type = await qmp.execute('qom-get', { path: '/machine', property: 'type' });
    return {
      features: await migrationFeatures(qmp),
      qemuVersion: formatVersion(qmp.version),
      accelerator: (await qmp.execute('query-kvm')).enabled ? 'kvm' : 'tcg',
      machine: String(type).replace(/-machine$/, ''),
      ram: await inspectGuestRam(qmp, this.vm.pid),
    };
  }

  /** Everything at this side that forbids the move. Throws QmpError. */
  async problems(facts: SourceFacts, options: MigrationOptions): Promise<Problem[]> {
    const qmp = await this.#monitor();
    const problems = [...(await checkSourceReady(qmp)), ...ramProblems(this.vm.name, facts.ram)];
    problems.push(...(await streamProblems(qmp)));
    if (hasPullPhase(options)) problems.push(...pullProblems(this.vm.name, facts.ram));
    const state = await qmp.runState();
    if (state !== 'running') {
      const message = `VM "${this.vm.name}" is "${state}"; live migration needs a running guest: resume it first`;
      problems.push({ code: 'VM_NOT_RUNNING', message });
    }
    return problems;
  }

  /** Lets QEMU connect to the pump and send. Throws QmpError. */
  async startFeed(facts: SourceFacts, socketPath: string, downtimeTargetMs: number): Promise<void> {
    const qmp = await this.#monitor();
    const { features } = facts;
    this.#saved ??= keptSettings(this.vm) ?? (await saveSettings(qmp));
    keepSettings(this.vm, this.#saved);
    await prepareSource(qmp, features);
    const threshold = features.switchoverAck
      ? SWEEP_THRESHOLD
      : { downtimeLimitMs: pacedDowntimeLimitMs(downtimeTargetMs) };
    await setParameters(qmp, { maxBandwidthBytesPerSecond: null, ...threshold }, features);
    await startSource(qmp, socketPath);
  }

  async goSwitchover(facts: SourceFacts): Promise<void> {
    await orderSwitchover(await this.#monitor(), facts.features);
  }

  /** After SHUT(0). Throws MigrationControlError, QmpError. */
  async waitForPostmigrate(signal: AbortSignal): Promise<void> {
    const state = await waitForRunState(await this.#monitor(), ['postmigrate', 'running'], {
      timeoutMs: POSTMIGRATE_TIMEOUT_MS,
      signal,
    });
    if (state === 'running') throw new FerryError('FERRY_QEMU', `QEMU of VM "${this.vm.name}" resumed the guest`);
  }

  async observe(): Promise<ObservedSource> {
    if (!this.isAlive) return 'gone';
    try {
      const state = await (await this.#monitor()).runState({ timeoutMs: MONITOR_TIMEOUT_MS });
      if (state === 'running' || state === 'finish-migrate' || state === 'postmigrate') return state;
      return 'paused';
    } catch {
      return this.isAlive ? 'unreachable' : 'gone';
    }
  }

  /**
   * Makes sure that the guest runs again, whatever the aborted migration left: waits where QEMU resumes by itself, ends
   * a migration that still runs, continues where it was finally stopped. Returns when it runs, or when QEMU is gone.
   */
  async resume(): Promise<'running' | 'gone'> {
    for (;;) {
      const seen = await this.observe();
      if (seen === 'gone') return 'gone';
      try {
        if (seen === 'running' && (await this.#settled())) return 'running';
        if (seen === 'postmigrate' || seen === 'paused') await (await this.#monitor()).execute('cont');
      } catch {
        // The image lock may still be held by the destination's QEMU for a moment, or the monitor be stuck: again.
      }
      await sleep(POLL_MS);
    }
  }

  async halt(): Promise<void> {
    await (await this.#monitor()).execute('stop');
  }

  /** Quits exactly this process. */
  async quit(): Promise<void> {
    try {
      if (this.isAlive) await (await this.#monitor()).execute('quit', undefined, { timeoutMs: QUIT_TIMEOUT_MS });
    } catch {
      // It may close its monitor before it answers.
    }
    this.close();
    if (!(await waitForEnd(this.vm, QUIT_TIMEOUT_MS))) await terminate(this.vm);
  }

  close(): void {
    const qmp = this.#qmp;
    this.#qmp = null;
    qmp?.close();
  }

  /** No migration is active any more; puts the settings back as they were. */
  async #settled(): Promise<boolean> {
    const qmp = await this.#monitor();
    const status = (await qmp.execute('query-migrate')).status ?? 'none';
    if (status === 'cancelling') return false;
    if (status === 'setup' || status === 'active' || status === 'device') {
      await cancelMigration(qmp);
      return false;
    }
    const saved = this.#saved ?? keptSettings(this.vm);
    if (saved !== null) await restoreSettings(qmp, saved);
    forgetSettings(this.vm);
    return true;
  }

  async #monitor(): Promise<QmpClient> {
    if (this.#qmp !== null && !this.#qmp.closed) return this.#qmp;
    const { name, qmpPath } = this.vm;
    const qmp = await QmpClient.connect({ vm: name, socketPath: qmpPath, timeoutMs: MONITOR_TIMEOUT_MS });
    this.#qmp = qmp;
    return qmp;
  }
}

/** What would keep us from reading this machine's stream, or QEMU from writing it. */
async function streamProblems(qmp: QmpClient): Promise<Problem[]> {
  const problems: Problem[] = [];
  if ((await qmp.execute('qom-get', { path: '/machine', property: 'suppress-vmdesc' })) === true) {
    const message = 'The machine has suppress-vmdesc=on, so the end of its device state cannot be found: switch it off';
    problems.push({ code: 'QEMU_VMDESC', message });
  }
  const devices = await qmp.execute('query-memory-devices');
  if (devices.some((device) => device.type === 'nvdimm')) {
    const message = 'The machine has an NVDIMM, whose content belongs to a file on this host: remove it';
    problems.push({ code: 'QEMU_NVDIMM', message });
  }
  return problems;
}
