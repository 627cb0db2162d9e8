/**
 * All migrations of one host, as source and as destination: the one door of this room.
 *
 *     Ferry.open(host)   opens the journal
 *     recover()          takes up what a former agent left undecided; before anybody may connect
 *     preflight, start   migrations from here
 *     accept             control connections from other hosts: their migrations to here, their questions
 *
 * Invariants: a VM takes part in at most one migration that has not ended; a peer may only speak of migrations between
 * itself and this host.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../core/base/errors.ts';
import { recoverDestination, recoverSource, answerFromRecords, type History } from '../../core/machine/recovery.ts';
import type { DestinationRecord, SourceRecord } from '../../core/machine/records.ts';
import type { ObservedDestination } from '../../core/machine/destination-states.ts';
import type { ObservedSource } from '../../core/machine/source-states.ts';
import { startDestination } from '../../core/machine/destination-machine.ts';
import { startSource } from '../../core/machine/source-machine.ts';
import { defaultLanes, defaultMigrationOptions } from '../../core/model/migration.ts';
import type { MigrationView } from '../../core/model/migration.ts';
import type { MovePlan, PlanWish } from '../../core/model/plan.ts';
import type { Problem } from '../../core/model/vm.ts';
import type { ControlMessage } from '../../core/wire/control-messages.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { hostLoad } from './host-load.ts';
import { cpuCount } from '../../io/hoststat/host-stat.ts';
import { DeliveryRates } from '../../io/link/delivery-rates.ts';
import { LinkMemories, LinkMemory } from '../../io/lanes/link-memory.ts';
import { isAlive } from '../../io/qemu/process.ts';
import type { Logger } from '../../io/log/logger.ts';
import { DestinationSession } from './destination-session.ts';
import { FerryError } from './errors.ts';
import { forecastMove } from './forecast.ts';
import { MigrationJournal } from './migration-journal.ts';
import { MigrationRecord } from './migration-record.ts';
import type { FerryHost, LocalVm, MigrationRequest, RunningMigration } from './ports.ts';
import { askDestination, dialDestination, reservationRequest } from './reservation.ts';
import { SpareThreads } from './spare-threads.ts';
import { SourceSession } from './source-session.ts';
import type { Links } from './link-rate.ts';
import { SourceVm } from './source-vm.ts';

/** How long a stop of the agent waits for pages that are being pulled. */
const PULL_GRACE_MS = 60_000;
const pullingStates: ReadonlySet<string> = new Set(['activating', 'pulling', 'completing']);

/** For so long this host looks at how busy it is when another one asks. */
const LOAD_MS = 250;

type ReserveMessage = Extract<ControlMessage, { type: 'reserve' }>;

export class Ferry {
  readonly #host: FerryHost;
  readonly #log: Logger;
  readonly #journal: MigrationJournal;
  readonly #sources = new Map<string, SourceSession>();
  readonly #destinations = new Map<string, DestinationSession>();
  readonly #recovered: RunningMigration[] = [];
  readonly #links: Links = { memories: new LinkMemories(), rates: new DeliveryRates() };
  readonly #threads = new SpareThreads(defaultLanes(cpuCount()));

  private constructor(host: FerryHost, journal: MigrationJournal, log: Logger) {
    this.#host = host;
    this.#journal = journal;
    this.#log = log;
    this.#threads.idle();
  }

  /** Throws JournalError when the journal cannot be read: nothing may be started then. */
  static async open(host: FerryHost, log: Logger): Promise<Ferry> {
    return new Ferry(host, await MigrationJournal.open(host.stateFolder), log);
  }

  /** The migration that a VM of this host takes part in, or null. */
  migrationOf(vmName: string): string | null {
    for (const session of [...this.#sources.values(), ...this.#destinations.values()]) {
      if (session.vmName === vmName) return 'id' in session ? session.id : session.migrationId;
    }
    return null;
  }

  /** Migrations from here that `recover` took up. */
  get recovered(): readonly RunningMigration[] {
    return this.#recovered;
  }

  /** Takes up every migration that the journal says has not ended. Throws MachineError when the journal contradicts itself. */
  async recover(): Promise<void> {
    const known = new Set(this.#journal.histories().map((history) => history.migrationId));
    // The agent died before the reservation was on record: the source never heard of it.
    for (const id of this.#host.incomingMigrations()) if (!known.has(id)) await this.#host.discard(id);
    for (const history of this.#journal.histories()) {
      this.#log.info('agent.recovery', `Taking up migration ${history.migrationId}`, { role: history.role });
      if (history.role === 'destination') await this.#recoverDestination(history.migrationId, history.records);
      else this.#recovered.push(await this.#recoverSource(history));
    }
  }

  /** Everything that speaks against a migration, from both sides, at once. Throws QmpError, GuestMemoryError, LinkError. */
  async preflight(request: MigrationRequest): Promise<Problem[]> {
    const source = new SourceVm(request.vm);
    let connection: ControlConnection | null = null;
    try {
      const facts = await source.facts();
      const here = await source.problems(facts, request.options);
      connection = await dialDestination(this.#host, request.destination);
      return [...here, ...(await askDestination(connection, reservationRequest(this.#host, request, facts)))];
    } finally {
      source.close();
      await connection?.close();
    }
  }

  /** What a migration would meet, and what each strategy would make of it. Throws as `preflight`, LaneError, AbortError. */
  async plan(request: MigrationRequest, wish: PlanWish, signal: AbortSignal): Promise<MovePlan> {
    const link = new LinkMemory(this.#links.memories.of(request.destination.name), 1);
    return await forecastMove({ host: this.#host, request, link }, wish, signal);
  }

  /** Rate of the link to a host, as last measured by a migration or a plan, bytes per second; null: never measured. */
  linkBytesPerS(peer: string): number | null {
    const known = new LinkMemory(this.#links.memories.of(peer), 1).read(Date.now());
    return known === null ? null : 1000 / known.msPerByte;
  }

  /** Starts a migration. What goes wrong from here on is in its report. Throws FerryError when the VM is in one already. */
  start(request: MigrationRequest): RunningMigration {
    const { vm, destination } = request;
    const other = this.migrationOf(vm.name);
    if (other !== null) {
      throw new FerryError('FERRY_BUSY', `VM "${vm.name}" takes part in migration ${other} already`, { vm: vm.name });
    }
    const parts = {
      ...this.#common(),
      links: this.#links,
      request,
      source: new SourceVm(vm),
      record: this.#newRecord(request),
    };
    const step = startSource({ vm: vm.name, peer: destination.name, qemu: identityOf(vm) });
    return this.#keepSource(new SourceSession(parts, step));
  }

  /** Takes a control connection whose hello has been exchanged. */
  accept(connection: ControlConnection): void {
    let session: DestinationSession | null = null;
    connection.onMessage((message, attachment) => {
      if (message.type === 'preflight') return void this.#answerPreflight(connection, message.request);
      if (message.type === 'load') return void this.#answerLoad(connection);
      if (message.type === 'query') return this.#answerQuery(connection, message.migrationId);
      if (message.type === 'reserve') {
        session = this.#reserve(connection, message);
        return;
      }
      if (session === null && 'migrationId' in message) session = this.#reattach(connection, message.migrationId);
      if (session !== null) session.receive(message, attachment);
      else void connection.fail('UNKNOWN_MIGRATION', `Host "${this.#host.name}" knows no such migration`);
    });
  }

  /** Migrations to here whose guest still needs the other host, or lost it. */
  arrivals(): MigrationView[] {
    return [...this.#destinations.values()].flatMap((session) => session.arrivalView() ?? []);
  }

  /** A person's word about a migration in doubt or stranded. Throws FerryError when there is no such migration. */
  resolve(migrationId: string, word: 'run' | 'discard'): void {
    const session = this.#destinations.get(migrationId) ?? this.#sources.get(migrationId);
    if (session === undefined) throw new FerryError('FERRY_UNKNOWN', `There is no open migration ${migrationId} here`);
    session.resolve(word);
  }

  /** Ends what is not decided, waits for what is. Guests stay where they are. */
  async close(reason: string): Promise<void> {
    const sources = [...this.#sources.values()];
    for (const session of sources) session.cancel(reason);
    for (const session of this.#destinations.values()) session.shutDown();
    await Promise.all(sources.map(async (session) => await session.done));
    // A guest whose pages are still coming would stand still without this agent.
    const pulling = [...this.#destinations.values()].filter((session) => pullingStates.has(session.stateName));
    await Promise.race([
      Promise.all(pulling.map(async (session) => await session.ended)),
      sleep(PULL_GRACE_MS, undefined, { ref: false }),
    ]);
    // Prepared ones wait for the source's word, in the next agent if need be; the others are being discarded.
    await Promise.all(
      [...this.#destinations.values()]
        .filter((session) => session.stateName === 'discarding' || session.stateName === 'forgetting')
        .map(async (session) => await session.ended),
    );
    await this.#threads.close();
    this.#links.rates.close();
    await this.#journal.close();
  }

  #common(): { host: FerryHost; journal: MigrationJournal; log: Logger; threads: SpareThreads } {
    return { host: this.#host, journal: this.#journal, log: this.#log, threads: this.#threads };
  }

  #ended(): void {
    if (this.#sources.size + this.#destinations.size === 0) this.#threads.idle();
  }

  // --- as a source --------------------------------------------------------------------------------------------------

  #newRecord({ id, vm, destination, options, predicted }: MigrationRequest): MigrationRecord {
    const names = { vm: vm.name, source: this.#host.name, destination: destination.name };
    return new MigrationRecord({ id, ...names, options, predicted });
  }

  #keepSource(session: SourceSession): RunningMigration {
    this.#threads.busy('source');
    this.#sources.set(session.id, session);
    const done = session.done.then((report) => {
      if (report.guest !== 'in doubt') this.#sources.delete(session.id);
      this.#ended();
      return report;
    });
    return { id: session.id, view: () => session.view(), cancel: (reason) => session.cancel(reason), done };
  }

  async #recoverSource(history: Extract<History, { role: 'source' }>): Promise<RunningMigration> {
    const begin = history.records.find((record) => record.type === 'begin');
    if (begin === undefined) throw new FerryError('FERRY_JOURNAL', `Migration ${history.migrationId} has no beginning`);
    const { vm: name, peer, qemu } = begin.data;
    const vm = this.#vmOf(name, qemu);
    const source = new SourceVm(vm);
    const observed = vm.pid === 0 ? 'gone' : await source.observe();
    const step = recoverSource(history.records satisfies readonly SourceRecord[], { qemu: observed });
    const destination = this.#host.findPeer(peer) ?? { name: peer, host: peer, port: 0 };
    const request = { id: history.migrationId, vm, destination, options: defaultMigrationOptions, predicted: null };
    const parts = { ...this.#common(), links: this.#links, request, source, record: this.#newRecord(request) };
    return this.#keepSource(new SourceSession(parts, step));
  }

  /** The VM of a BEGIN record, if the very same QEMU process still runs; otherwise a stand-in for one that is gone. */
  #vmOf(name: string, qemu: string): LocalVm {
    const vm = this.#host.findVm(name);
    if (vm !== null && identityOf(vm) === qemu) return vm;
    return {
      name,
      spec: { name } as LocalVm['spec'],
      pid: 0,
      startTicks: 0,
      qmpPath: '',
      qgaPath: null,
      runFolder: '',
    };
  }

  #answerQuery(connection: ControlConnection, migrationId: string): void {
    const session = this.#sources.get(migrationId);
    const records = this.#journal.recordsOf(migrationId).filter((record): record is SourceRecord => isSource(record));
    const known = session?.peerName ?? records.find((record) => record.type === 'begin')?.data.peer;
    if (known !== undefined && known !== connection.peerName) {
      void connection.fail('NOT_YOURS', `Migration ${migrationId} does not concern host "${connection.peerName}"`);
      return;
    }
    const outcome = session?.answer() ?? answerFromRecords(records);
    connection.post({ type: 'outcome', outcome });
    // For a destination that missed it: nobody will tell it any more.
    const isDone = session === undefined && records.some((record) => record.type === 'done');
    if (isDone) connection.post({ type: 'done', migrationId });
  }

  // --- as a destination -----------------------------------------------------------------------------------------------

  async #answerPreflight(connection: ControlConnection, request: ReserveMessage['request']): Promise<void> {
    try {
      connection.post({ type: 'preflightResult', problems: await this.#host.preflight(request) });
    } catch (error) {
      await connection.fail('PREFLIGHT_FAILED', describeError(error));
    }
  }

  async #answerLoad(connection: ControlConnection): Promise<void> {
    try {
      connection.post({ type: 'loadResult', ...(await hostLoad(LOAD_MS)) });
    } catch (error) {
      await connection.fail('LOAD_UNKNOWN', describeError(error));
    }
  }

  #reserve(connection: ControlConnection, message: ReserveMessage): DestinationSession | null {
    const { migrationId, spec } = message.request;
    const peer = connection.peerName;
    const taken = this.migrationOf(spec.name);
    if (taken !== null || this.#journal.recordsOf(migrationId).length > 0) {
      const text = `VM "${spec.name}" takes part in migration ${taken ?? migrationId} on host "${this.#host.name}"`;
      connection.post({ type: 'refused', problems: [{ code: 'VM_MIGRATING', message: text }] });
      return null;
    }
    const parts = { ...this.#common(), migrationId, vm: spec.name, peer };
    const step = startDestination({ vm: spec.name, peer });
    return this.#keepDestination(new DestinationSession({ ...parts, reserve: message }, step, connection));
  }

  /** A source that lost its connection goes on over a new one. */
  #reattach(connection: ControlConnection, migrationId: string): DestinationSession | null {
    const session = this.#destinations.get(migrationId);
    if (session === undefined || session.peerName !== connection.peerName) return null;
    session.attach(connection);
    return session;
  }

  #keepDestination(session: DestinationSession): DestinationSession {
    this.#threads.busy('destination');
    this.#destinations.set(session.migrationId, session);
    void session.ended.then(() => {
      this.#destinations.delete(session.migrationId);
      this.#ended();
    });
    return session;
  }

  async #recoverDestination(migrationId: string, records: readonly DestinationRecord[]): Promise<void> {
    const reserved = records.find((record) => record.type === 'reserved');
    if (reserved === undefined) throw new FerryError('FERRY_JOURNAL', `Migration ${migrationId} has no beginning`);
    const { vm, peer } = reserved.data;
    const incoming = this.#host.findIncoming(migrationId) ?? this.#host.findVm(vm);
    const qemu = incoming === null ? 'gone' : await observeIncoming(incoming, records);
    const parts = { ...this.#common(), migrationId, vm, peer, reserve: null };
    this.#keepDestination(new DestinationSession(parts, recoverDestination(records, { qemu }), null));
  }
}

/** Leaves the monitor free again: QEMU serves one client at a time, and the session opens it for itself. */
async function observeOnce(vm: LocalVm): Promise<ObservedSource> {
  const qemu = new SourceVm(vm);
  try {
    return await qemu.observe();
  } finally {
    qemu.close();
  }
}

/**
 * A QEMU that waits for a page may answer no monitor until it gets one, and whether its guest runs makes no difference behind
 * the commit: `cont` may be given twice.
 */
async function observeIncoming(vm: LocalVm, records: readonly DestinationRecord[]): Promise<ObservedDestination> {
  const pulls = records.some((record) => record.type === 'prepared' && record.data.pull);
  if (pulls && records.some((record) => record.type === 'committed')) return isAlive(vm) ? 'paused' : 'gone';
  const observed = await observeOnce(vm);
  return observed === 'running' || observed === 'gone' ? observed : 'paused';
}

/** Names a QEMU process for ever. */
function identityOf(vm: LocalVm): string {
  return `${vm.pid}:${vm.startTicks}`;
}

const sourceTypes: ReadonlySet<string> = new Set(['begin', 'commit', 'aborted', 'done', 'returned']);

function isSource(record: { readonly type: string }): boolean {
  return sourceTypes.has(record.type);
}
