/**
 * One migration at its source: the coordinator of the transaction.
 *
 * The pure machine (core/machine/source-machine.ts) decides; this class carries out what it asks for and tells it what
 * came of it. It starts either with a new migration or, after a restart of the agent, with what the journal says.
 * Whatever happens, `done` is fulfilled with a report that says where the guest is.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../core/base/errors.ts';
import { answerOf, canCancel, sourceEnded, stepSource } from '../../core/machine/source-machine.ts';
import type { SourceEntry } from '../../core/machine/records.ts';
import type {
  Cause,
  QueryAnswer,
  SourceEffect,
  SourceEvent,
  SourceNotice,
  SourceState,
  SourceStep,
} from '../../core/machine/source-states.ts';
import type { MigrationReport, MigrationView } from '../../core/model/migration.ts';
import { epilogueMessages } from '../../core/wire/control-codec.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { ownCpuMs } from '../../io/hoststat/process-stat.ts';
import type { Logger } from '../../io/log/logger.ts';
import { causeOf } from './cause.ts';
import { MachineDriver } from './machine-driver.ts';
import type { MigrationJournal } from './migration-journal.ts';
import type { MigrationRecord } from './migration-record.ts';
import type { FerryHost, MigrationRequest } from './ports.ts';
import { dialDestination, reserveAtDestination, reserveMessage, type Reserved } from './reservation.ts';
import { PumpThread } from './pump-thread.ts';
import { SourceDataPlane } from './source-data-plane.ts';
import type { SourceFacts, SourceVm } from './source-vm.ts';

const PREPARED_TIMEOUT_MS = 60_000;
const RETRY_MS = 1_000;
const ACTIVE_TIMEOUT_MS = 15_000;
const RELEASED_TIMEOUT_MS = 2_000;
const WATCH_MS = 250;

/** Effects that only a migration without decision has. */
const dataPlane: ReadonlySet<SourceEffect['type']> = new Set([
  'reserve',
  'startFeed',
  'goSwitchover',
  'sendEpilogue',
  'releaseSourceQemu',
]);

export type SourceSessionParts = {
  readonly host: FerryHost;
  readonly journal: MigrationJournal;
  readonly log: Logger;
  readonly request: MigrationRequest;
  readonly source: SourceVm;
  readonly record: MigrationRecord;
};

/** What the reservation came to, and the threads that were started meanwhile. */
type Agreed = {
  readonly connection: ControlConnection;
  readonly reserved: Reserved;
  readonly facts: SourceFacts;
  readonly pump: PumpThread;
};

export class SourceSession {
  readonly id: string;
  readonly done: Promise<MigrationReport>;
  readonly #parts: SourceSessionParts;
  readonly #driver: MachineDriver<SourceState, SourceEvent, SourceEffect>;
  readonly #finished = Promise.withResolvers<MigrationReport>();
  readonly #timer: NodeJS.Timeout;
  #connection: ControlConnection | null = null;
  #facts: SourceFacts | null = null;
  #pump: PumpThread | null = null;
  #plane: SourceDataPlane | null = null;
  /** Ends whatever the data plane waits for. */
  readonly #abandon = new AbortController();
  /** Effects of the data plane under way: none may outlive the decision to abort. */
  readonly #copying = new Set<Promise<void>>();
  #epilogue: Uint8Array<ArrayBuffer> | null = null;
  #telling = false;
  #cpuAtStartMs = { agent: ownCpuMs(), qemu: 0 };
  #ending = false;

  constructor(parts: SourceSessionParts, first: SourceStep) {
    this.#parts = parts;
    this.id = parts.request.id;
    this.done = this.#finished.promise;
    this.#cpuAtStartMs.qemu = parts.source.cpuMs ?? 0;
    this.#driver = new MachineDriver(first.state, stepSource, {
      run: (effect) => this.#run(effect),
      onState: (state) => this.#onState(state),
    });
    this.#timer = setInterval(() => this.#watch(), WATCH_MS);
    this.#driver.start(first.effects);
  }

  get vmName(): string {
    return this.#parts.request.vm.name;
  }

  get peerName(): string {
    return this.#parts.request.destination.name;
  }

  get stateName(): SourceState['name'] {
    return this.#driver.state.name;
  }

  view(): MigrationView {
    this.#parts.record.progress = this.#plane?.progress ?? null;
    return this.#parts.record.view();
  }

  /** Asks for an abort; false when the commit has been reached and it is too late. */
  cancel(reason: string): boolean {
    if (!canCancel(this.#driver.state)) return false;
    this.#tell({ type: 'cancelled', reason });
    return true;
  }

  /** A person's word about a stranded migration: `run` it here again, or `discard` it. */
  resolve(word: 'run' | 'discard'): void {
    this.#tell({ type: 'personDecided', word });
  }

  /** What a destination in doubt is told. */
  answer(): QueryAnswer {
    return answerOf(this.#driver.state);
  }

  // --- the machine ------------------------------------------------------------------------------------------------

  #tell(event: SourceEvent): void {
    try {
      this.#driver.tell(event);
    } catch (error) {
      // The machine refuses facts that cannot be true: our mistake, which must not cost the guest anything.
      this.#parts.log.error('migration.failed', describeError(error), { state: this.#driver.state.name, event });
      if (event.type !== 'failed') this.#tell({ type: 'failed', cause: causeOf(error) });
    }
  }

  #failed(error: unknown): void {
    this.#tell({ type: 'failed', cause: causeOf(error) });
  }

  #run(effect: SourceEffect): void {
    const work = this.#carryOut(effect).catch((error: unknown) => this.#failed(error));
    if (!dataPlane.has(effect.type)) return;
    this.#copying.add(work);
    void work.then(() => this.#copying.delete(work));
  }

  async #carryOut(effect: SourceEffect): Promise<void> {
    const { source, journal } = this.#parts;
    switch (effect.type) {
      case 'journal':
        return await this.#journal(effect.entry);
      case 'rereadJournal':
        return await this.#rereadJournal();
      case 'reserve':
        return await this.#reserve();
      case 'startFeed':
        return await this.#startFeed();
      case 'goSwitchover':
        return await this.#goSwitchover();
      case 'sendEpilogue':
        return await this.#sendEpilogue();
      case 'releaseSourceQemu':
        return await this.#release();
      case 'tellCommit':
        return await this.#tellCommit();
      case 'tellAbort':
        return await this.#tellAbort();
      case 'tellDone':
        this.#connection?.post({ type: 'done', migrationId: this.id });
        return;
      case 'resumeSource':
        return await this.#resume();
      case 'haltSource':
        return await source.halt();
      case 'quitSourceQemu':
        return await this.#quit();
      case 'answer':
        this.#connection?.post({ type: 'outcome', outcome: effect.answer });
        return;
      case 'report':
        this.#report(effect.notice, journal);
    }
  }

  #onState(state: SourceState): void {
    this.#parts.log.debug('migration.stage', `Source is ${state.name}`, { migration: this.id, state: state.name });
    if (state.name === 'reserving') this.#parts.record.clock.enter('reservation');
    if (state.name === 'copying') this.#parts.record.clock.enter('preCopy');
    if (state.name === 'fencing') this.#parts.record.clock.enter('commitment');
    if (sourceEnded(state) && !this.#ending) {
      this.#ending = true;
      void this.#end(state);
    }
  }

  async #closePlane(): Promise<void> {
    await this.#plane?.close();
    await this.#pump?.close();
  }

  // --- effects: journal ---------------------------------------------------------------------------------------------

  async #journal(entry: SourceEntry): Promise<void> {
    const result = await this.#parts.journal.append(this.id, entry);
    if (result.ok) return this.#tell({ type: 'journalled', entry: entry.type });
    const { certain, reason } = result;
    this.#parts.log.error('journal.failed', reason, { migration: this.id, entry: entry.type, certain });
    if (!canCancel(this.#driver.state)) await sleep(RETRY_MS);
    this.#tell({ type: 'journalFailed', entry: entry.type, certain, reason });
  }

  async #rereadJournal(): Promise<void> {
    for (;;) {
      try {
        await this.#parts.journal.reread();
        break;
      } catch (error) {
        this.#parts.log.error('journal.failed', describeError(error), { migration: this.id });
        await sleep(RETRY_MS);
      }
    }
    const commitFound = this.#parts.journal.recordsOf(this.id).some((record) => record.type === 'commit');
    this.#tell({ type: 'journalReread', commitFound });
  }

  // --- effects: up to the commit --------------------------------------------------------------------------------------

  async #reserve(): Promise<void> {
    const { host, request, source } = this.#parts;
    const signal = this.#abandon.signal;
    const pump = new PumpThread(request.options.lanes);
    this.#pump = pump;
    const facts = await source.facts();
    this.#facts = facts;
    await source.open(() => this.#onMonitorLost());
    await source.onStop(() => this.#parts.record.guestStopped(performance.now()));
    const connection = await dialDestination(host, request.destination, signal);
    this.#watchConnection(connection);
    const message = reserveMessage(host, request, facts);
    const reserved = await reserveAtDestination(connection, message, signal);
    await this.#openPlane({ connection, reserved, facts, pump });
    this.#tell({ type: 'reserved' });
  }

  async #openPlane(agreed: Agreed): Promise<void> {
    const { pump, ...rest } = agreed;
    const { request, host } = this.#parts;
    const plane = new SourceDataPlane(
      { vm: request.vm, destination: request.destination, tls: host.tls, options: request.options, ...rest },
      pump,
      {
        switchoverWanted: () => this.#tell({ type: 'switchoverWanted' }),
        guestStopped: (atMs) => {
          this.#parts.record.guestStopped(atMs);
          this.#tell({ type: 'guestStopped' });
        },
        drained: (epilogue) => this.#onDrained(epilogue),
        verified: (pages, mismatches) => this.#onVerified(pages, mismatches),
        failed: (error) => this.#failed(error),
      },
    );
    this.#plane = plane;
    // An abort may have overtaken the reservation.
    if (this.#driver.state.name !== 'reserving') return await plane.close();
    await plane.ready();
  }

  async #startFeed(): Promise<void> {
    const { source, request } = this.#parts;
    if (this.#facts === null || this.#plane === null) return;
    await source.startFeed(this.#facts, this.#plane.socketPath, request.options.downtimeTargetMs);
  }

  async #goSwitchover(): Promise<void> {
    const { source, log } = this.#parts;
    const facts = this.#facts;
    if (facts === null) return;
    log.info('migration.switchover', 'The guest is about to be stopped', { migration: this.id });
    await source.goSwitchover(facts);
    if (facts.features.switchoverAck) this.#plane?.allowSwitchover();
  }

  #onDrained(epilogue: Uint8Array<ArrayBuffer>): void {
    this.#epilogue = epilogue;
    this.#parts.record.totals = this.#plane?.totals ?? null;
    if (this.#parts.request.options.verify) this.#plane?.verify();
    else this.#tell({ type: 'drained' });
  }

  #onVerified(pages: number, mismatches: readonly number[]): void {
    if (mismatches.length === 0) {
      this.#parts.record.verified = true;
      this.#tell({ type: 'drained' });
      return;
    }
    const reason =
      `Memory differs at the destination: ${mismatches.length} or more of ${pages} pages, the first is page ` +
      `${mismatches[0]}. QEMU before 9.0 loses writes under software emulation; use a newer one or KVM`;
    this.#tell({ type: 'failed', cause: { code: 'FERRY_VERIFY', reason } });
  }

  async #sendEpilogue(): Promise<void> {
    const connection = this.#connection;
    if (connection === null || this.#epilogue === null) return;
    for (const { message, attachment } of epilogueMessages(this.#epilogue)) await connection.send(message, attachment);
    await connection.expect(['prepared'], { timeoutMs: PREPARED_TIMEOUT_MS, signal: this.#abandon.signal });
    this.#tell({ type: 'preparedReceived' });
  }

  async #release(): Promise<void> {
    this.#plane?.shut();
    await this.#parts.source.waitForPostmigrate(this.#abandon.signal);
    this.#tell({ type: 'postmigrateReached' });
  }

  // --- effects: after the decision ------------------------------------------------------------------------------------

  /** Tells COMMIT until the destination says what became of it, over as many connections as that takes. */
  async #tellCommit(): Promise<void> {
    if (this.#telling) return;
    this.#telling = true;
    while (this.#driver.state.name === 'handedOver') {
      try {
        await this.#tellCommitOnce();
      } catch (error) {
        this.#parts.log.warn('migration.commit', describeError(error), { migration: this.id });
        await sleep(RETRY_MS);
      }
    }
    this.#telling = false;
  }

  async #tellCommitOnce(): Promise<void> {
    const { record } = this.#parts;
    const connection = await this.#liveConnection();
    record.commitSent();
    await connection.send({ type: 'commit', migrationId: this.id });
    const { message } = await connection.expect(['active', 'gone'], { timeoutMs: ACTIVE_TIMEOUT_MS });
    if (message.type === 'gone') return this.#tell({ type: 'destinationGone', mayHaveRun: message.mayHaveRun });
    record.guestActive(message.resumeMs, connection.rttMs ?? 0);
    this.#tell({ type: 'activeReceived' });
  }

  async #tellAbort(): Promise<void> {
    const state = this.#driver.state;
    if (this.#connection === null || !('cause' in state)) return;
    const { code, reason } = state.cause;
    await this.#connection.send({ type: 'abort', migrationId: this.id, code, reason }).catch(() => undefined);
  }

  async #resume(): Promise<void> {
    // A `migrate` still on its way to QEMU would start a migration that nobody ends.
    this.#abandon.abort();
    await this.#closePlane();
    await Promise.all(this.#copying);
    const found = await this.#parts.source.resume();
    this.#tell({ type: found === 'running' ? 'sourceRunning' : 'sourceQemuGone' });
  }

  async #quit(): Promise<void> {
    const { source, record } = this.#parts;
    const cpuMs = source.cpuMs;
    const qemu = cpuMs === null ? null : cpuMs - this.#cpuAtStartMs.qemu;
    record.sourceCpuMs = { agent: ownCpuMs() - this.#cpuAtStartMs.agent, qemu };
    await this.#closePlane();
    await source.quit();
    this.#tell({ type: 'sourceQemuGone' });
  }

  // --- the world ------------------------------------------------------------------------------------------------------

  async #liveConnection(): Promise<ControlConnection> {
    if (this.#connection !== null && this.#connection.closedReason === null) return this.#connection;
    const connection = await dialDestination(this.#parts.host, this.#parts.request.destination);
    this.#watchConnection(connection);
    return connection;
  }

  #watchConnection(connection: ControlConnection): void {
    this.#connection = connection;
    const { stallTimeoutMs } = this.#parts.request.options;
    connection.onMessage((message) => {
      if (message.type === 'query') connection.post({ type: 'outcome', outcome: this.answer() });
      if (message.type === 'failed') {
        this.#tell({ type: 'destinationFailed', cause: { code: 'FERRY_PEER', reason: message.message } });
      }
    });
    connection.onStalled(stallTimeoutMs, (silentMs) => {
      const reason = `Nothing was heard of host "${this.peerName}" for ${Math.round(silentMs)} ms`;
      this.#tell({ type: 'failed', cause: { code: 'FERRY_PEER_SILENT', reason } });
    });
    void connection.closed.then((reason) => {
      if (this.#connection !== connection) return;
      this.#parts.log.debug('link.closed', reason.message, { migration: this.id });
      this.#tell({ type: 'failed', cause: { code: 'FERRY_PEER_SILENT', reason: reason.message } });
    });
  }

  /** A link that lets signs of life through but no pages is dead too. */
  #watch(): void {
    const state = this.#driver.state.name;
    const { stallTimeoutMs } = this.#parts.request.options;
    const copying = state === 'copying' || state === 'stopping' || state === 'transferring';
    if (!copying || this.#plane === null || this.#plane.idleMs < stallTimeoutMs) return;
    const reason = `No page reached host "${this.peerName}" for ${stallTimeoutMs} ms`;
    this.#tell({ type: 'failed', cause: { code: 'FERRY_PEER_SILENT', reason } });
  }

  #onMonitorLost(): void {
    if (this.#parts.source.isAlive) {
      this.#tell({
        type: 'failed',
        cause: { code: 'FERRY_QEMU', reason: 'The monitor of the source QEMU was closed' },
      });
    } else this.#tell({ type: 'sourceQemuGone' });
  }

  #report(notice: SourceNotice, journal: MigrationJournal): void {
    const { log } = this.#parts;
    const facts = { migration: this.id, vm: this.vmName, notice };
    if (notice === 'ownershipConflict')
      log.error('migration.inDoubt', 'Somebody started a guest that was given away', facts);
    else if (notice === 'stranded') {
      log.error('migration.inDoubt', 'Host lost the guest after the commit; decide with "vmferry resolve"', facts);
      this.#finishInDoubt({ code: 'FERRY_PEER', reason: 'The destination lost the guest after the commit' });
    } else if (notice === 'outcomeUncertain') {
      log.error('migration.inDoubt', 'The outcome of the commit is not known yet', { ...facts, journal: journal.path });
    } else log.info('migration.stage', notice, facts);
  }

  /** `done` is fulfilled, but the session lives on until a person has decided. */
  #finishInDoubt(cause: Cause): void {
    this.#parts.record.end({ outcome: 'failed', reason: cause.reason, code: cause.code, guest: 'in doubt' });
    this.#finished.resolve(this.#parts.record.report());
  }

  async #end(state: SourceState): Promise<void> {
    const { record, source, host, log } = this.#parts;
    clearInterval(this.#timer);
    await this.#closePlane();
    record.totals = this.#plane?.totals ?? null;
    if (state.name === 'done') {
      await this.#takeLeave();
      await host.vmHandedOver(this.vmName, this.peerName);
      record.end({ outcome: 'completed', reason: 'completed', code: null, guest: 'running at destination' });
      log.info('migration.completed', `VM "${this.vmName}" runs on host "${this.peerName}"`, { migration: this.id });
    } else if (state.name === 'aborted') {
      const { code, reason } = state.cause;
      const outcome = code === 'FERRY_CANCELLED' || code === 'FERRY_SHUTDOWN' ? 'aborted' : 'failed';
      record.end({ outcome, reason, code, guest: state.guest });
      log.warn('migration.aborted', `VM "${this.vmName}" is ${state.guest}: ${reason}`, { migration: this.id, code });
    }
    source.close();
    await this.#connection?.close();
    this.#finished.resolve(record.report());
  }

  /** `done` has been posted; the destination answers with what it spent. */
  async #takeLeave(): Promise<void> {
    try {
      const received = await this.#connection?.expect(['released'], { timeoutMs: RELEASED_TIMEOUT_MS });
      if (received === undefined) return;
      const { agentCpuMs, qemuCpuMs } = received.message;
      this.#parts.record.destinationCpuMs = { agent: agentCpuMs, qemu: qemuCpuMs };
    } catch {
      // It has the guest and will forget the migration when it restarts.
    }
  }
}
