/**
 * The machines of this host.
 *
 * Invariants: one entry per name; an entry with a process is on disk, so that a restarted agent finds its QEMU; an
 * incoming machine and one that takes part in a migration are touched by that migration only.
 *
 *     start ──▶ starting ──▶ running/paused ──▶ (QEMU ends) ──▶ gone ──▶ forgotten by stop or a new start
 *     prepareIncoming ──▶ incoming ──▶ activate ──▶ running          adopt ──▶ running/paused
 *                                  └─▶ discard                       running ──▶ migrating ──▶ handedOver (forgotten)
 */
import { ApiError } from '../../core/api/errors.ts';
import { describeError } from '../../core/base/errors.ts';
import type { VmSpec, VmState, VmView } from '../../core/model/vm.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { LocalVm, ReservationRequest } from '../ferry/ports.ts';
import type { History } from './history.ts';
import { VMS_MAX } from './limits.ts';
import type { GuestState, MonitorPlace, QemuInspection, QemuPort } from './qemu-port.ts';
import type { Amounts } from './reservations.ts';
import type { VmFolders, VmProcess } from './vm-record.ts';
import type { SampledVm } from '../telemetry/sampled-vm.ts';

type Entry = {
  readonly spec: VmSpec;
  process: VmProcess | null;
  gone: boolean;
  /** The migration that uses this machine now; nobody else may touch it. */
  migration: string | null;
  /** Ends a start that is under way. */
  readonly starting: AbortController;
  startDone: Promise<void>;
  guestState: GuestState;
};

export type VmsParts = {
  readonly folders: VmFolders;
  readonly qemu: QemuPort;
  readonly history: History;
  readonly log: Logger;
};

export class Vms {
  readonly #parts: VmsParts;
  readonly #entries = new Map<string, Entry>();

  constructor(parts: VmsParts) {
    this.#parts = parts;
  }

  /** Finds the QEMUs of an earlier run of the agent again. */
  restore(): void {
    for (const { spec, process } of this.#parts.folders.readAll()) {
      const entry = newEntry(spec, process.incoming);
      entry.process = process;
      entry.gone = !this.#parts.qemu.isAlive(process);
      this.#entries.set(spec.name, entry);
      if (entry.gone) this.#parts.log.warn('vm.gone', `VM "${spec.name}" ended while no agent ran`, { vm: spec.name });
      else {
        this.#parts.qemu.foundAgain(spec.name, this.#parts.folders.folderOf(spec.name));
        this.#parts.log.info('vm.started', `Found VM "${spec.name}" again`, { vm: spec.name, pid: process.pid });
      }
    }
  }

  used(): Amounts {
    const present = [...this.#entries.values()].filter((entry) => !entry.gone);
    return {
      memoryBytes: present.reduce((sum, { spec }) => sum + spec.memory, 0),
      vcpus: present.reduce((sum, { spec }) => sum + spec.vcpus, 0),
    };
  }

  get count(): number {
    return [...this.#entries.values()].filter((entry) => !entry.gone).length;
  }

  /** Names of the machines that are here, or on their way to here. */
  present(): string[] {
    return [...this.#entries].flatMap(([name, { gone }]) => (gone ? [] : [name]));
  }

  /** Whether a name is in use; a machine whose QEMU has ended does not hold its name. */
  isTaken(name: string): boolean {
    return this.#entries.get(name)?.gone === false;
  }

  async list(): Promise<VmView[]> {
    const names = [...this.#entries.keys()].sort((a, b) => a.localeCompare(b));
    return await Promise.all(names.map((name) => this.show(name)));
  }

  /** Throws ApiError VM_UNKNOWN. */
  async show(name: string): Promise<VmView> {
    const entry = this.#find(name);
    await this.#refresh(entry);
    const { process, spec } = entry;
    return {
      name,
      state: stateOf(entry),
      pid: entry.gone ? null : (process?.pid ?? null),
      qemuVersion: process?.qemuVersion ?? null,
      accelerator: process?.accelerator ?? null,
      machine: process?.machine ?? spec.machine,
      vcpus: spec.vcpus,
      memoryBytes: spec.memory,
      adopted: process?.adopted ?? false,
      migration: entry.migration,
      spec,
      runFolder: this.#parts.folders.folderOf(name),
    };
  }

  /** Starts a machine. The caller has checked that the host can take it. Throws ApiError VM_EXISTS, QemuProcessError. */
  async start(spec: VmSpec): Promise<VmView> {
    const entry = this.#add(spec, null);
    await this.#launch(entry, spec, false);
    return await this.show(spec.name);
  }

  /** Takes over a running QEMU. Throws ApiError VM_EXISTS, QmpError. */
  async adopt(spec: VmSpec, qmpPath: string, qgaPath: string | null): Promise<VmView> {
    const { qemu, folders, log } = this.#parts;
    const entry = this.#add(spec, null);
    try {
      const { vcpus, memoryBytes, ...found } = await qemu.inspect({ vm: spec.name, qmpPath }, qgaPath);
      checkAdopted(spec, { ...found, vcpus, memoryBytes });
      folders.create(spec.name);
      entry.process = { ...found, qmpPath, qgaPath, adopted: true, incoming: null };
      folders.write({ spec, process: entry.process });
    } catch (error) {
      this.#entries.delete(spec.name);
      throw error;
    }
    log.info('vm.adopted', `Took over VM "${spec.name}"`, { vm: spec.name, pid: entry.process.pid, qmpPath });
    return await this.show(spec.name);
  }

  /** Powers a machine off and forgets it. Throws ApiError VM_UNKNOWN, VM_MIGRATING. */
  async stop(name: string, options: { readonly force: boolean; readonly graceMs: number }): Promise<VmView> {
    const { qemu, log } = this.#parts;
    const entry = this.#find(name);
    if (entry.migration !== null) throw migrating(name, entry.migration);
    const view = await this.show(name);
    entry.starting.abort();
    await entry.startDone;
    if (this.#entries.get(name) !== entry) return { ...view, state: 'gone', pid: null };
    if (entry.process !== null && qemu.isAlive(entry.process)) {
      const place = placeOf(name, entry.process);
      const ended = !options.force && (await this.#powerDown(entry.process, place, options.graceMs));
      if (entry.migration !== null) throw migrating(name, entry.migration);
      if (!ended) await qemu.end(entry.process, place);
    }
    await this.#forget(name, entry);
    log.info('vm.stopped', `Stopped VM "${name}"`, { vm: name, force: options.force });
    return { ...view, state: 'gone', pid: null };
  }

  /**
   * Gives a machine to a migration. Throws ApiError VM_UNKNOWN, VM_MIGRATING, VM_NOT_RUNNING. Whoever claims releases,
   * unless the machine was handed over.
   */
  async claim(name: string, migrationId: string): Promise<LocalVm> {
    const entry = this.#find(name);
    if (entry.migration !== null) throw migrating(name, entry.migration);
    entry.migration = migrationId;
    try {
      await this.#refresh(entry, true);
      const state = stateOf(entry, true);
      if (entry.process === null || (state !== 'running' && state !== 'paused')) {
        throw new ApiError('VM_NOT_RUNNING', `VM "${name}" cannot be moved: it is ${state}.`, { vm: name, state });
      }
      return this.#local(name, entry.process, entry.spec);
    } catch (error) {
      entry.migration = null;
      throw error;
    }
  }

  /** Gives a machine to a migration that is being settled after a restart; one that is gone has nothing to give. */
  claimForRecovery(name: string, migrationId: string): void {
    const entry = this.#entries.get(name);
    if (entry !== undefined && entry.process?.incoming === null) entry.migration = migrationId;
  }

  /** Frees whatever a migration holds here, but for an incoming machine. */
  releaseAll(migrationId: string): void {
    for (const [name, { process }] of this.#entries) {
      if (process?.incoming !== migrationId) this.release(name, migrationId);
    }
  }

  release(name: string, migrationId: string): void {
    const entry = this.#entries.get(name);
    if (entry?.migration === migrationId) entry.migration = null;
  }

  /** The guest now runs at another host and its QEMU here has been quit: forgets it. Idempotent. */
  async handedOver(name: string, destination: string, at: string): Promise<void> {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#parts.history.addHandedOver(entry.spec, destination, at);
    await this.#forget(name, entry);
  }

  /** Starts the QEMU that waits for a guest. Throws ApiError VM_EXISTS, QemuProcessError. */
  async prepareIncoming({ spec, machine, migrationId, pull }: ReservationRequest): Promise<LocalVm> {
    const entry = this.#add(spec, migrationId);
    const process = await this.#launch(entry, { ...spec, machine }, pull);
    return this.#local(spec.name, process, spec);
  }

  /** Every machine that still waits to be activated or discarded, by migration. */
  incoming(): ReadonlyMap<string, LocalVm> {
    const found = new Map<string, LocalVm>();
    for (const [name, { process, spec, gone }] of this.#entries) {
      if (process?.incoming && !gone) found.set(process.incoming, this.#local(name, process, spec));
    }
    return found;
  }

  /** Ends an incoming machine, started or starting. Idempotent; never touches one that was activated. */
  async discard(migrationId: string): Promise<void> {
    for (const [name, entry] of this.#entries) {
      if (entry.migration !== migrationId || (entry.process !== null && entry.process.incoming !== migrationId))
        continue;
      if (entry.process === null) {
        entry.starting.abort();
        await entry.startDone;
      }
      if (this.#entries.get(name) !== entry) continue;
      if (entry.process !== null) await this.#parts.qemu.end(entry.process, placeOf(name, entry.process));
      await this.#forget(name, entry);
    }
  }

  /** The guest runs here from now on. Idempotent. Returns its name, or null when there is no such incoming machine. */
  activate(migrationId: string): string | null {
    for (const [name, entry] of this.#entries) {
      if (entry.process?.incoming !== migrationId) continue;
      entry.process = { ...entry.process, incoming: null };
      entry.migration = null;
      this.#parts.folders.write({ spec: entry.spec, process: entry.process });
      return name;
    }
    return null;
  }

  /** Every machine as it is known now, without asking its QEMU. */
  snapshot(): SampledVm[] {
    return [...this.#entries].map(([name, entry]) => ({
      ...{ name, state: stateOf(entry), spec: entry.spec, migration: entry.migration, process: entry.process },
    }));
  }

  /** Looks which QEMUs have ended by themselves. */
  watch(): void {
    for (const [name, entry] of this.#entries) {
      if (entry.gone || entry.migration !== null || entry.process === null) continue;
      if (this.#parts.qemu.isAlive(entry.process)) continue;
      entry.gone = true;
      this.#parts.log.warn('vm.gone', `QEMU of VM "${name}" has ended`, { vm: name, pid: entry.process.pid });
    }
  }

  /** A machine of this host that is not incoming; null when there is none, or its QEMU has ended. */
  findLocal(name: string): LocalVm | null {
    const entry = this.#entries.get(name);
    if (entry === undefined || entry.gone || entry.process === null || entry.process.incoming !== null) return null;
    return this.#local(name, entry.process, entry.spec);
  }

  #local(name: string, process: VmProcess, spec: VmSpec): LocalVm {
    const { pid, startTicks, qmpPath, qgaPath } = process;
    return { name, spec, pid, startTicks, qmpPath, qgaPath, runFolder: this.#parts.folders.folderOf(name) };
  }

  #find(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry;
    const went = this.#parts.history.whereTo(name);
    const where = went === null ? '' : ` It was moved to host "${went.destination}" at ${went.at}.`;
    throw new ApiError('VM_UNKNOWN', `There is no VM "${name}" on this host.${where}`, {
      vm: name,
      movedTo: went?.destination ?? null,
    });
  }

  #add(spec: VmSpec, migration: string | null): Entry {
    const { name } = spec;
    if (this.isTaken(name)) {
      throw new ApiError('VM_EXISTS', `There is a VM "${name}" on this host already; nothing was started.`, {
        vm: name,
      });
    }
    if (this.#entries.size >= VMS_MAX && !this.#entries.has(name)) {
      throw new ApiError('START_REFUSED', `The host has ${VMS_MAX} VMs already; nothing was started.`);
    }
    const entry = newEntry(spec, migration);
    this.#entries.set(name, entry);
    return entry;
  }

  async #launch(entry: Entry, spec: VmSpec, pull: boolean): Promise<VmProcess> {
    const { qemu, folders, log } = this.#parts;
    const { name } = spec;
    const done = Promise.withResolvers<void>();
    entry.startDone = done.promise;
    const incoming = entry.migration;
    log.info('vm.starting', `Starting VM "${name}"`, { vm: name, incoming });
    const runFolder = folders.create(name);
    try {
      const started = await qemu.start({ spec, runFolder, incoming: incoming !== null, pull }, entry.starting.signal);
      const process = { ...started, adopted: false, incoming };
      entry.process = process;
      folders.write({ spec: entry.spec, process });
      log.info('vm.started', `Started VM "${name}"`, { vm: name, pid: started.pid, incoming });
      return process;
    } catch (error) {
      log.error('vm.failed', `VM "${name}" did not start`, { vm: name, error });
      if (entry.process !== null) await qemu.end(entry.process, placeOf(name, entry.process));
      await this.#forget(name, entry);
      throw error;
    } finally {
      done.resolve();
    }
  }

  async #powerDown(process: VmProcess, place: MonitorPlace, graceMs: number): Promise<boolean> {
    try {
      await this.#parts.qemu.powerDown(place);
    } catch (error) {
      this.#parts.log.warn('vm.failed', `VM "${place.vm}" cannot be asked to power off`, {
        vm: place.vm,
        error: describeError(error),
      });
      return false;
    }
    return await this.#parts.qemu.waitForEnd(process, graceMs);
  }

  async #forget(name: string, entry: Entry): Promise<void> {
    const { folders, qemu, log } = this.#parts;
    if (this.#entries.get(name) === entry) this.#entries.delete(name);
    try {
      await qemu.cleanUp(entry.spec);
    } catch (error) {
      log.warn('vm.failed', `Network devices of VM "${name}" could not be removed`, { vm: name, error });
    }
    if (!this.isTaken(name)) folders.remove(name);
  }

  /** Asks QEMU what the guest does. A migration holds the only monitor connection: it is not asked meanwhile. */
  async #refresh(entry: Entry, forMigration = false): Promise<void> {
    const { process } = entry;
    if (process === null || entry.gone) return;
    if (!this.#parts.qemu.isAlive(process)) {
      if (entry.migration === null || forMigration) entry.gone = true;
      return;
    }
    if (entry.migration !== null && !forMigration) return;
    const state = await this.#parts.qemu.guestState(placeOf(entry.spec.name, process));
    if (state === 'silent' && forMigration) {
      const { name } = entry.spec;
      const text =
        `The monitor of VM "${name}" does not answer, so it cannot be moved; the guest was not touched. ` +
        'Another program may hold the monitor, or QEMU hangs.';
      throw new ApiError('QEMU_SILENT', text, { vm: name });
    }
    if (state !== 'silent') entry.guestState = state;
  }
}

function newEntry(spec: VmSpec, migration: string | null): Entry {
  return {
    spec,
    process: null,
    gone: false,
    migration,
    starting: new AbortController(),
    startDone: Promise.resolve(),
    guestState: 'running',
  };
}

function stateOf(entry: Entry, forMigration = false): VmState {
  if (entry.gone) return 'gone';
  if (entry.process === null) return entry.migration === null ? 'starting' : 'incoming';
  if (entry.process.incoming !== null) return 'incoming';
  if (entry.migration !== null && !forMigration) return 'migrating';
  return entry.guestState === 'silent' ? 'running' : entry.guestState;
}

/** The destination starts its QEMU from the spec: one that describes another machine would fail there, at the end. */
function checkAdopted(spec: VmSpec, found: QemuInspection): void {
  const differing: [what: string, inSpec: string | number, real: string | number][] = [];
  if (spec.vcpus !== found.vcpus) differing.push(['vcpus', spec.vcpus, found.vcpus]);
  if (spec.memory !== found.memoryBytes) differing.push(['memory', spec.memory, found.memoryBytes]);
  const isVersioned = /-\d+\.\d+$/.test(spec.machine);
  if (isVersioned && spec.machine !== found.machine) differing.push(['machine', spec.machine, found.machine]);
  if (differing.length === 0) return;
  const problems = differing.map(([what, inSpec, real]) => ({
    code: 'SPEC_DIFFERS',
    message: `The spec says ${what} ${inSpec}, the running QEMU has ${real}.`,
  }));
  const text = `VM "${spec.name}" cannot be adopted: the spec does not describe the running QEMU. The guest was not touched.`;
  throw new ApiError('ADOPT_REFUSED', text, { vm: spec.name }, { problems });
}

function placeOf(vm: string, process: VmProcess): MonitorPlace {
  return { vm, qmpPath: process.qmpPath };
}

function migrating(name: string, migrationId: string): ApiError {
  return new ApiError(
    'VM_MIGRATING',
    `VM "${name}" takes part in migration ${migrationId}; wait for it, or cancel it with "vmferry cancel ${migrationId}".`,
    { vm: name, migration: migrationId },
  );
}
