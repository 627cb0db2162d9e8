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
import type { CpuMs, MigrationReport, MigrationView } from '../../core/model/migration.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { ownCpuMs } from '../../io/hoststat/process-stat.ts';
import type { Logger } from '../../io/log/logger.ts';
import { causeOf } from './cause.ts';
import { GuestPruning, guestLayout } from './guest-pruning.ts';
import { MachineDriver } from './machine-driver.ts';
import type { MigrationJournal } from './migration-journal.ts';
import type { MigrationRecord } from './migration-record.ts';
import type { FerryHost, MigrationRequest } from './ports.ts';
import { reserveAtDestination, reserveMessage, type Reserved } from './reservation.ts';
import { SourceLink } from './source-link.ts';
import { PumpThread } from './pump-thread.ts';
import { SourceDataPlane } from './source-data-plane.ts';
import type { SourceFacts, SourceVm } from './source-vm.ts';

const RETRY_MS = 1_000;
const WATCH_MS = 250;
/** A STOP event this long before the end of the stream belongs to the switchover. */
const STOP_EVENT_MS_MAX = 1_000;

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
  readonly #link: SourceLink;
  #facts: SourceFacts | null = null;
  #pump: PumpThread | null = null;
  #plane: SourceDataPlane | null = null;
  #pruning: GuestPruning | null = null;
  /** Ends whatever the data plane waits for. */
  readonly #abandon = new AbortController();
  /** Effects of the data plane under way: none may outlive the decision to abort. */
  readonly #copying = new Set<Promise<void>>();
  #epilogue: Uint8Array<ArrayBuffer> | null = null;
  #stopSeenAtMs: number | null = null;
  #telling = false;
  #cpuAtStartMs = { agent: ownCpuMs(), qemu: 0 };
  #ending = false;

  constructor(parts: SourceSessionParts, first: SourceStep) {
    this.#parts = parts;
    this.id = parts.request.id;
    this.done = this.#finished.promise;
    const { id, destination, options } = parts.request;
    this.#link = new SourceLink({ id, destination, stallTimeoutMs: options.stallTimeoutMs }, parts.host, {
      silent: (reason) => this.#tell({ type: 'failed', cause: { code: 'FERRY_PEER_SILENT', reason } }),
      failed: (reason) => this.#tell({ type: 'destinationFailed', cause: { code: 'FERRY_PEER', reason } }),
      answer: () => this.answer(),
    });
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
        return this.#tellAbort();
      case 'tellDone':
        return this.#link.tellDone();
      case 'resumeSource':
        return await this.#resume();
      case 'haltSource':
        return await source.halt();
      case 'quitSourceQemu':
        return await this.#quit();
      case 'answer':
        return this.#link.answer(effect.answer);
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
    this.#pruning?.close();
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
    const factsPromise = source.facts();
    this.#startPruning(factsPromise);
    const facts = await factsPromise;
    this.#facts = facts;
    if (facts.accelerator === 'tcg' && !facts.features.reliableTcgDirtyLog) {
      const text = `QEMU ${facts.qemuVersion} under software emulation may miss writes of the guest; use --verify`;
      this.#parts.log.warn('migration.feed', text, { migration: this.id });
    }
    await source.open(() => this.#onMonitorLost());
    await source.onStop(() => (this.#stopSeenAtMs = performance.now()));
    const connection = await this.#link.connection(signal);
    const message = reserveMessage(host, request, facts);
    const reserved = await reserveAtDestination(connection, message, signal);
    await this.#openPlane({ connection, reserved, facts, pump });
    this.#tell({ type: 'reserved' });
  }

  /** Early, because the guest has all the time of the reservation to answer. */
  #startPruning(facts: Promise<SourceFacts>): void {
    const { vm, options } = this.#parts.request;
    if (options.prune === 'none') return;
    const say = (text: string, facts?: object): void =>
      this.#parts.log.info('migration.pruning', text, { migration: this.id, ...facts });
    this.#pruning = new GuestPruning(vm, options, say);
    this.#pruning.start(facts.then(guestLayout));
  }

  async #openPlane(agreed: Agreed): Promise<void> {
    const { pump, ...rest } = agreed;
    const { request, host } = this.#parts;
    const plane = new SourceDataPlane(
      {
        vm: request.vm,
        destination: request.destination,
        tls: host.tls,
        options: request.options,
        prune: this.#pruning !== null,
        ...rest,
      },
      pump,
      {
        reportWanted: (order) => this.#pruning?.order(order),
        switchoverWanted: () => this.#tell({ type: 'switchoverWanted' }),
        guestStopped: (atMs) => {
          this.#pruning?.close();
          this.#onGuestStopped(atMs);
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
    this.#pruning?.deliverTo((answer) => plane.pruneAnswer(answer));
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

  /** QMP tells of the stop a little before the stream does, but also when somebody paused the guest earlier. */
  #onGuestStopped(atMs: number): void {
    const seenAtMs = this.#stopSeenAtMs;
    const same = seenAtMs !== null && seenAtMs < atMs && atMs - seenAtMs < STOP_EVENT_MS_MAX;
    this.#parts.record.guestStopped(same ? seenAtMs : atMs);
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
    if (this.#epilogue === null) return;
    await this.#link.sendEpilogue(this.#epilogue, this.#abandon.signal);
    this.#tell({ type: 'preparedReceived' });
  }

  async #release(): Promise<void> {
    this.#plane?.shut();
    await this.#parts.source.waitForPostmigrate(this.#abandon.signal);
    this.#tell({ type: 'postmigrateReached' });
  }

  // --- effects: after the decision ------------------------------------------------------------------------------------

  async #tellCommit(): Promise<void> {
    if (this.#telling) return;
    this.#telling = true;
    const { record, log } = this.#parts;
    record.commitSent();
    const answer = await this.#link.tellCommit(() => this.#driver.state.name === 'handedOver', log);
    this.#telling = false;
    if (answer === null) return;
    if (answer.type === 'gone') return this.#tell({ type: 'destinationGone', mayHaveRun: answer.mayHaveRun });
    record.guestActive(answer.resumeMs, this.#link.rttMs);
    this.#tell({ type: 'activeReceived' });
  }

  #tellAbort(): void {
    const state = this.#driver.state;
    if ('cause' in state) this.#link.tellAbort(state.cause);
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
    record.sourceCpuMs = this.#cpuMs();
    await this.#closePlane();
    await source.quit();
    this.#tell({ type: 'sourceQemuGone' });
  }

  #cpuMs(): CpuMs {
    const qemu = this.#parts.source.cpuMs;
    return {
      agent: ownCpuMs() - this.#cpuAtStartMs.agent,
      qemu: qemu === null ? null : qemu - this.#cpuAtStartMs.qemu,
    };
  }

  // --- the world ------------------------------------------------------------------------------------------------------

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
    record.notes = [this.#pruning?.note ?? []].flat();
    if (state.name === 'done') {
      const destinationCpuMs = await this.#link.released();
      if (destinationCpuMs !== null) record.destinationCpuMs = destinationCpuMs;
      await host.vmHandedOver(this.vmName, this.peerName);
      record.end({ outcome: 'completed', reason: 'completed', code: null, guest: 'running at destination' });
      log.info('migration.completed', `VM "${this.vmName}" runs on host "${this.peerName}"`, { migration: this.id });
    } else if (state.name === 'aborted') {
      const { code, reason } = state.cause;
      const outcome = code === 'FERRY_CANCELLED' || code === 'FERRY_SHUTDOWN' ? 'aborted' : 'failed';
      record.end({ outcome, reason, code, guest: state.guest });
      record.sourceCpuMs = this.#cpuMs();
      record.progress = this.#plane?.progress ?? null;
      log.warn('migration.aborted', `VM "${this.vmName}" is ${state.guest}: ${reason}`, { migration: this.id, code });
    }
    source.close();
    await this.#link.close();
    this.#finished.resolve(record.report());
  }
}
