/**
 * One migration at its destination. The pure machine (core/machine/destination-machine.ts) decides; this class carries
 * out what it asks for. It starts with a reservation, or after a restart of the agent with what the journal says.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../core/base/errors.ts';
import { destinationEnded, stepDestination } from '../../core/machine/destination-machine.ts';
import type {
  DestinationEffect,
  DestinationEvent,
  DestinationNotice,
  DestinationState,
  DestinationStep,
} from '../../core/machine/destination-states.ts';
import type { DestinationEntry } from '../../core/machine/records.ts';
import type { QueryAnswer } from '../../core/machine/source-states.ts';
import type { MigrationView } from '../../core/model/migration.ts';
import type { ControlMessage } from '../../core/wire/control-messages.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import type { Logger } from '../../io/log/logger.ts';
import { arrivalView, lostReport, type Arrival } from './arrival.ts';
import { causeOf, problemsOf } from './cause.ts';
import { IncomingGuest, type ReserveMessage } from './incoming-guest.ts';
import { writeEntry } from './journal-effects.ts';
import { whyUndecidable } from './undecidable.ts';
import { IncomingEnd } from './incoming-end.ts';
import { MachineDriver } from './machine-driver.ts';
import type { SpareThreads } from './spare-threads.ts';
import type { MigrationJournal } from './migration-journal.ts';
import { FerryError } from './errors.ts';
import type { FerryHost } from './ports.ts';
import { dialDestination } from './reservation.ts';

const RETRY_MS = 1_000;
/** States in which the guest is here and some of its pages are not. */
const arrivalStates: ReadonlyMap<DestinationState['name'], Arrival['state']> = new Map([
  ['pulling', 'pulling'],
  ['lost', 'lost'],
]);
const QUERY_TIMEOUT_MS = 10_000;
const START_RETRY_MS = 100;

export type DestinationSessionParts = {
  readonly host: FerryHost;
  readonly journal: MigrationJournal;
  readonly log: Logger;
  readonly threads: SpareThreads;
  readonly migrationId: string;
  readonly vm: string;
  /** The source's name, as its certificate says it. */
  readonly peer: string;
  /** Absent after a restart. */
  readonly reserve: ReserveMessage | null;
};

export class DestinationSession {
  readonly #parts: DestinationSessionParts;
  readonly #driver: MachineDriver<DestinationState, DestinationEvent, DestinationEffect>;
  readonly #guest: IncomingGuest;
  readonly #ended = Promise.withResolvers<void>();
  #connection: ControlConnection | null = null;
  #feeding: Promise<void> = Promise.resolve();
  readonly #incomingEnd: IncomingEnd;
  #commitAtMs: number | null = null;
  #resumeMs = 0;
  readonly #startedAt = new Date();
  readonly #startedAtMs = performance.now();
  /** Since when no source is connected; null while one is. */
  #silentSinceMs: number | null = performance.now();
  #querying = false;
  #awaitingRelease = false;
  #wasLost = false;

  constructor(parts: DestinationSessionParts, first: DestinationStep, connection: ControlConnection | null) {
    this.#parts = parts;
    const facts = { migration: parts.migrationId, vm: parts.vm };
    this.#incomingEnd = new IncomingEnd(memoryBytesOf(parts.reserve));
    this.#guest = new IncomingGuest(parts, {
      failed: (error) => this.#tell({ type: 'failed', cause: causeOf(error) }),
      qemuGone: () => this.#tell({ type: 'qemuGone' }),
      pagesPulled: () => this.#tell({ type: 'pagesPulled' }),
      trouble: (text) => parts.log.warn('migration.commit', text, facts),
      pullRecovered: (missingPages) => {
        const text = `QEMU takes pages again; ${missingPages} are missing`;
        parts.log.info('migration.commit', text, { ...facts, missingPages });
      },
    });
    this.#driver = new MachineDriver(first.state, stepDestination, {
      run: (effect) => this.#run(effect),
      onState: (state) => this.#onState(state),
    });
    if (connection !== null) this.attach(connection);
    this.#driver.start(first.effects);
  }

  get migrationId(): string {
    return this.#parts.migrationId;
  }

  get vmName(): string {
    return this.#parts.vm;
  }

  get peerName(): string {
    return this.#parts.peer;
  }

  get stateName(): DestinationState['name'] {
    return this.#driver.state.name;
  }

  /** Fulfilled when nothing is left to do. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Takes a connection from the source: the first one, or one that it made after losing another. */
  attach(connection: ControlConnection): void {
    this.#connection = connection;
    this.#silentSinceMs = null;
    this.#guest.pull?.connect(connection);
    void connection.closed.then(() => {
      if (this.#connection !== connection) return;
      this.#silentSinceMs = performance.now();
      this.#tell({ type: 'linkLost' });
    });
    const leaseMs = this.#parts.reserve?.request.leaseMs;
    if (leaseMs !== undefined) connection.onStalled(leaseMs, () => this.#tell({ type: 'leaseExpired' }));
  }

  receive(message: ControlMessage, attachment: Uint8Array | null): void {
    const bytes = attachment ?? new Uint8Array(0);
    switch (message.type) {
      case 'prologue':
        this.#tell({ type: 'feedStarted' });
        this.#feed(async () => {
          await this.#guest.loadPrologue(bytes);
          this.#connection?.post({ type: 'prologueLoaded' });
        });
        return;
      case 'hotFiles':
        this.#guest.hotFiles = Buffer.from(bytes);
        return;
      case 'sidePart':
        this.#feed(async () => await this.#guest.feed(bytes));
        return;
      case 'pullPages':
        this.#guarded(() => this.#incomingEnd.addPages(message.ramSectionId, bytes));
        return;
      case 'pulled':
        this.#guest.pull?.receive(message, bytes);
        return;
      case 'epilogue':
        this.#guarded(() => {
          this.#incomingEnd.addPiece(bytes);
          if (message.last) this.#tell({ type: 'epilogueReceived' });
        });
        return;
      case 'commit':
        this.#commitAtMs ??= performance.now();
        this.#tell({ type: 'commitReceived' });
        return;
      case 'abort':
        this.#tell({ type: 'abortReceived' });
        this.#connection?.post({ type: 'aborted' });
        return;
      case 'done':
        this.#tell({ type: 'doneReceived' });
        return;
      default:
        this.#tell({
          type: 'failed',
          cause: { code: 'FERRY_PEER', reason: `The source sent ${message.type} out of turn` },
        });
    }
  }

  /** What people have to know of it here: null while it is the source's business alone. */
  arrivalView(): MigrationView | null {
    const arrival = this.#arrival();
    return arrival === null ? null : arrivalView(arrival);
  }

  #arrival(): Arrival | null {
    const { pull } = this.#guest;
    const state = arrivalStates.get(this.stateName);
    if (state === undefined) return null;
    // An agent that finds the guest lost knows no more than that; one that has not run here may go on at the source.
    if (pull === null && !isGuestLost(this.#driver.state)) return null;
    const nowMs = performance.now();
    return {
      id: this.migrationId,
      vm: this.vmName,
      source: this.peerName,
      destination: this.#parts.host.name,
      startedAt: this.#startedAt.toISOString(),
      elapsedMs: nowMs - this.#startedAtMs,
      state,
      totalPages: pull?.totalPages ?? 0,
      leftPages: pull?.leftPages ?? null,
      missingPages: pull?.missingPages ?? null,
      whereMissing: () => pull?.whereMissing() ?? 'nobody knows where',
      silentMs: this.#silentSinceMs === null ? null : nowMs - this.#silentSinceMs,
      hasQemuEnded: !this.#guest.isAlive,
    };
  }

  /** A person's word about a migration in doubt, or about a source that is lost for good. Throws FerryError. */
  resolve(word: 'run' | 'discard'): void {
    const { stateName, vmName: vm, peerName: source } = this;
    const silentMs = this.#silentSinceMs === null ? null : performance.now() - this.#silentSinceMs;
    const refusal = whyUndecidable(word, { stateName, vm, source, silentMs });
    if (refusal !== null) throw new FerryError('FERRY_UNDECIDABLE', refusal, { migration: this.migrationId });
    this.#tell({ type: 'personDecided', word });
  }

  /** The agent stops: a migration that is not prepared yet ends here; a prepared one waits for the next start. */
  shutDown(): void {
    this.#tell({ type: 'failed', cause: { code: 'FERRY_SHUTDOWN', reason: 'The agent of the destination stops' } });
  }

  // --- the machine ------------------------------------------------------------------------------------------------

  #tell(event: DestinationEvent): void {
    try {
      this.#driver.tell(event);
    } catch (error) {
      this.#parts.log.error('migration.failed', describeError(error), { state: this.stateName, event });
      if (event.type !== 'failed') this.#tell({ type: 'failed', cause: causeOf(error) });
    }
  }

  /** What a peer sent may be wrong: that fails the migration, and nothing else. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#tell({ type: 'failed', cause: causeOf(error) });
    }
  }

  #run(effect: DestinationEffect): void {
    this.#carryOut(effect).catch((error: unknown) => this.#tell({ type: 'failed', cause: causeOf(error) }));
  }

  async #carryOut(effect: DestinationEffect): Promise<void> {
    switch (effect.type) {
      case 'journal':
        return this.#tell(await writeEntry(this.#parts, this.migrationId, effect.entry, () => isEarly(effect.entry)));
      case 'holdReservation':
        return await this.#hold();
      case 'tellReserved':
        return await this.#tellReserved();
      case 'loadEpilogue':
        return await this.#load();
      case 'tellPrepared':
        this.#connection?.post({ type: 'prepared', loadMs: this.#guest.loadMs });
        return;
      case 'tellFailed':
        this.#connection?.post({ type: 'failed', code: effect.cause.code, message: effect.cause.reason, guest: null });
        return;
      case 'querySource':
        return await this.#querySource();
      case 'runGuest':
        return await this.#runGuest();
      case 'tellActive':
        this.#tellActive(effect.pulling);
        return;
      case 'pullPages':
        return await this.#guest.resumePull(() => this.#connection);
      case 'tellGone':
        this.#connection?.post({ type: 'gone', migrationId: this.migrationId, mayHaveRun: effect.mayHaveRun });
        return;
      case 'discardIncoming':
        return await this.#discard();
      case 'report':
        await this.#report(effect.notice);
    }
  }

  #onState(state: DestinationState): void {
    this.#parts.log.debug('migration.stage', `Destination is ${state.name}`, { migration: this.migrationId });
    if (state.name === 'active') void this.#awaitRelease();
    if (state.name === 'active') void this.#guest.warmUp(this.#parts.log);
    if (state.name === 'lost') this.#onLost();
    if (destinationEnded(state)) void this.#end(state);
  }

  /** What will never come is not waited for; a report says what that is. */
  #onLost(): void {
    this.#wasLost = true;
    const arrival = this.#arrival();
    this.#guest.pull?.close();
    if (arrival === null) return;
    const report = lostReport(arrival);
    this.#parts.host.arrivalLost(report);
    this.#parts.log.error('migration.failed', report.reason, { migration: this.migrationId, vm: this.vmName });
  }

  // --- effects ------------------------------------------------------------------------------------------------------

  async #hold(): Promise<void> {
    const { reserve } = this.#parts;
    if (reserve === null) return;
    try {
      await this.#guest.start(reserve, this.#parts.peer);
      this.#tell({ type: 'reservationHeld' });
    } catch (error) {
      const problems = problemsOf(error);
      if (problems.length > 0) this.#connection?.post({ type: 'refused', problems: [...problems] });
      throw error;
    }
  }

  async #tellReserved(): Promise<void> {
    await this.#connection?.send({ type: 'reserved', ...this.#guest.offer() });
  }

  /** Feeds pieces strictly one after the other; a failure ends the migration. */
  #feed(work: () => Promise<void>): void {
    this.#feeding = this.#feeding.then(work);
    this.#feeding.catch((error: unknown) => this.#tell({ type: 'failed', cause: causeOf(error) }));
  }

  async #load(): Promise<void> {
    await this.#feeding;
    const { pieces, missing } = this.#incomingEnd.take();
    if (this.#guest.mayPull !== (missing !== null)) {
      throw new FerryError('FERRY_PEER', 'The source did not say which pages are left, or did so unasked');
    }
    const qemu = await this.#guest.load(pieces, missing, this.#connection);
    this.#tell({ type: 'loaded', qemu, pull: missing !== null });
  }

  async #runGuest(): Promise<void> {
    const startedAtMs = this.#commitAtMs ?? performance.now();
    let tries = 0;
    while (this.stateName === 'committed') {
      try {
        await this.#guest.run(() => this.#connection);
        this.#resumeMs = performance.now() - startedAtMs;
        return this.#tell({ type: 'guestRunning', pulling: this.#guest.isPulling });
      } catch (error) {
        if (!this.#guest.isAlive) return this.#tell({ type: 'qemuGone' });
        // Told once a second: somebody may hold the image for long.
        if (tries++ % (RETRY_MS / START_RETRY_MS) === 0) {
          const text = `The guest cannot be started yet: ${describeError(error)}`;
          this.#parts.log.warn('migration.commit', text, { migration: this.migrationId, vm: this.vmName });
        }
        await sleep(START_RETRY_MS);
      }
    }
  }

  /** Asks the source for the outcome until it is known: this side never decides by itself. */
  async #querySource(): Promise<void> {
    if (this.#querying) return;
    this.#querying = true;
    while (this.stateName === 'inDoubt') {
      try {
        await this.#queryOnce();
      } catch (error) {
        this.#parts.log.debug('migration.inDoubt', describeError(error), { migration: this.migrationId });
      }
      if (this.stateName === 'inDoubt') await sleep(RETRY_MS);
    }
    this.#querying = false;
  }

  async #queryOnce(): Promise<void> {
    await this.#ask(async (_connection, answer) => {
      this.#tell({ type: 'answered', answer });
      await Promise.resolve();
    });
  }

  /**
   * DONE may get lost with a connection or with this side's agent, and a source that is done does not come back: asks it,
   * so that the guest is not held in an ended migration for ever.
   */
  async #awaitRelease(): Promise<void> {
    if (this.#awaitingRelease) return;
    this.#awaitingRelease = true;
    while (this.stateName === 'active') {
      // Without a connection, as after a restart, the source may have ended it already: nobody will say so unasked.
      if (this.#connection?.closedReason !== null) await this.#askWhetherDone();
      if (this.stateName === 'active') await sleep(RETRY_MS);
    }
    this.#awaitingRelease = false;
  }

  async #askWhetherDone(): Promise<void> {
    try {
      await this.#ask(async (connection, answer) => {
        // A source that has forgotten a committed migration has ended it.
        if (answer !== 'unknown') await connection.expect(['done'], { timeoutMs: RETRY_MS });
        this.#tell({ type: 'doneReceived' });
      });
    } catch (error) {
      this.#parts.log.debug('migration.commit', describeError(error), { migration: this.migrationId });
    }
  }

  async #ask(hear: (connection: ControlConnection, answer: QueryAnswer) => Promise<void>): Promise<void> {
    const peer = this.#parts.host.findPeer(this.peerName);
    if (peer === null) throw new Error(`Host "${this.peerName}" is not among the peers of this host`);
    const connection = await dialDestination(this.#parts.host, peer);
    try {
      await connection.send({ type: 'query', migrationId: this.migrationId });
      const { message } = await connection.expect(['outcome'], { timeoutMs: QUERY_TIMEOUT_MS });
      await hear(connection, message.outcome);
    } finally {
      await connection.close();
    }
  }

  #tellActive(pulling: boolean): void {
    const pull = pulling ? null : (this.#guest.pull?.report() ?? null);
    this.#connection?.post({ type: 'active', resumeMs: this.#resumeMs, pulling, pull });
  }

  async #discard(): Promise<void> {
    for (;;) {
      try {
        await this.#guest.discard();
        return this.#tell({ type: 'incomingGone' });
      } catch (error) {
        this.#parts.log.error('migration.failed', describeError(error), { migration: this.migrationId });
        await sleep(RETRY_MS);
      }
    }
  }

  async #report(notice: DestinationNotice): Promise<void> {
    const { log, host } = this.#parts;
    const facts = { migration: this.migrationId, vm: this.vmName, notice };
    if (notice === 'runningHere') await host.activate(this.migrationId);
    else if (notice === 'inDoubt') log.warn('migration.inDoubt', `Source "${this.peerName}" is silent; asking`, facts);
    else if (notice === 'discarded') log.info('migration.aborted', 'Nothing of the guest is left here', facts);
    else log.error('migration.inDoubt', `Unexpected: ${notice}`, facts);
  }

  async #end(state: DestinationState): Promise<void> {
    if (state.name === 'released') {
      this.#connection?.post({ type: 'released', ...this.#guest.cpuMs() });
      const text = this.#wasLost ? `The loss of VM "${this.vmName}" is settled` : `VM "${this.vmName}" is here`;
      this.#parts.log.info('migration.completed', text, { migration: this.migrationId });
    }
    await this.#guest.close();
    await this.#connection?.close();
    this.#ended.resolve();
  }
}

function isGuestLost(state: DestinationState): boolean {
  return state.name === 'lost' && state.mayHaveRun;
}

/** 0 after a restart, when no stream can come any more. */
function memoryBytesOf(reserve: ReserveMessage | null): number {
  return reserve?.blocks.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;
}

/** Written before this guest could be the only one: a failure still ends in an abort. */
function isEarly({ type }: DestinationEntry): boolean {
  return type === 'reserved' || type === 'prepared';
}
