/**
 * One migration at its source: the coordinator of the transaction.
 *
 * The pure machine (core/machine/source-machine.ts) decides; this class carries out what it asks for and tells it what
 * came of it. It starts either with a new migration or, after a restart of the agent, with what the journal says.
 * Whatever happens, `done` is fulfilled with a report that says where the guest is.
 */
import { describeError } from '../../core/base/errors.ts';
import { answerOf, canCancel, sourceEnded, stepSource } from '../../core/machine/source-machine.ts';
import type {
  Cause,
  QueryAnswer,
  SourceEffect,
  SourceEvent,
  SourceNotice,
  SourceState,
  SourceStep,
} from '../../core/machine/source-states.ts';
import type { MessageOf } from '../../core/wire/control-messages.ts';
import type { CpuMs, MigrationReport, MigrationView } from '../../core/model/migration.ts';
import { switchoverText, type SwitchoverReport } from '../../core/model/switchover.ts';
import { formatMs } from '../../core/model/units.ts';
import { ownCpuMs } from '../../io/hoststat/process-stat.ts';
import { causeOf } from './cause.ts';
import { startPruning, type GuestPruning } from './guest-pruning.ts';
import { findCommit, writeEntry } from './journal-effects.ts';
import { MachineDriver } from './machine-driver.ts';
import { measuredDuring } from './link-rate.ts';
import { reserveAtDestination, reserveMessage } from './reservation.ts';
import { SourceLink } from './source-link.ts';
import { assertDecidable, logNotice, warnOfMissedWrites } from './source-notices.ts';
import { SourcePull } from './source-pull.ts';
import { dataPlane, servingStates, type Agreed, type SourceSessionParts } from './source-session-parts.ts';
import type { PullSet } from './pump-protocol.ts';
import type { PumpThread } from './pump-thread.ts';
import { SourceDataPlane } from './source-data-plane.ts';
import type { SourceFacts } from './source-vm.ts';
import { mismatchText } from './verification.ts';

const WATCH_MS = 250;
/** A STOP event this long before the end of the stream belongs to the switchover. */
const STOP_EVENT_MS_MAX = 1_000;

export class SourceSession {
  readonly id: string;
  readonly done: Promise<MigrationReport>;
  readonly #parts: SourceSessionParts;
  readonly #driver: MachineDriver<SourceState, SourceEvent, SourceEffect>;
  readonly #finished = Promise.withResolvers<MigrationReport>();
  readonly #timer: NodeJS.Timeout;
  readonly #link: SourceLink;
  readonly #served: SourcePull;
  #facts: SourceFacts | null = null;
  #pump: PumpThread | null = null;
  #plane: SourceDataPlane | null = null;
  #pruning: GuestPruning | null = null;
  /** Ends whatever the data plane waits for. */
  readonly #abandon = new AbortController();
  /** Effects of the data plane under way: none may outlive the decision to abort. */
  readonly #copying = new Set<Promise<void>>();
  #epilogue: Uint8Array<ArrayBuffer> | null = null;
  #pull: PullSet | null = null;
  #stopSeenAtMs: number | null = null;
  #telling = false;
  #cpuAtStartMs = { agent: ownCpuMs(), qemu: 0 };
  #loggedState: SourceState['name'] | null = null;
  #ending = false;

  constructor(parts: SourceSessionParts, first: SourceStep) {
    this.#parts = parts;
    this.id = parts.request.id;
    this.done = this.#finished.promise;
    const { id, destination, options } = parts.request;
    this.#link = new SourceLink({ id, destination, stallTimeoutMs: options.stallTimeoutMs }, parts.host, {
      silent: (reason) => this.#onSilent(reason),
      pull: (connection, message, bytes) => void this.#served.serve(connection, message, new Uint8Array(bytes)),
      told: (message) => this.#onTold(message),
      failed: (reason) => this.#tell({ type: 'destinationFailed', cause: { code: 'FERRY_PEER', reason } }),
      answer: () => this.answer(),
    });
    this.#served = new SourcePull({
      compress: options.compress,
      maxBandwidthBytesPerSecond: options.maxBandwidthBytesPerSecond,
      ram: async () => (this.#facts ?? (await parts.source.facts())).ram,
      isStopped: () => servingStates.has(this.stateName),
      served: (counts) => (parts.record.served = counts),
      failed: (error) => this.#onServeFailed(error),
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

  /** A person's word about a stranded migration: `run` it here again, or `discard` it. Throws FerryError. */
  resolve(word: 'run' | 'discard'): void {
    assertDecidable(this.vmName, this.#driver.state, word);
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
    const { source } = this.#parts;
    switch (effect.type) {
      case 'journal':
        return this.#tell(await writeEntry(this.#parts, this.id, effect.entry, () => canCancel(this.#driver.state)));
      case 'rereadJournal':
        return this.#tell({ type: 'journalReread', commitFound: await findCommit(this.#parts, this.id) });
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
      case 'servePages':
        return await this.#keepServing();
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
        this.#report(effect.notice);
    }
  }

  #onState(state: SourceState): void {
    // A state that only learnt something is not a new stage.
    if (state.name !== this.#loggedState) {
      this.#loggedState = state.name;
      this.#parts.log.debug('migration.stage', `Source is ${state.name}`, { migration: this.id, state: state.name });
    }
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

  // --- effects: up to the commit --------------------------------------------------------------------------------------

  async #reserve(): Promise<void> {
    const { host, request, source } = this.#parts;
    const signal = this.#abandon.signal;
    const pump = this.#parts.threads.takePump(request.options.lanes);
    this.#pump = pump;
    const factsPromise = source.facts();
    const connecting = this.#link.connection(signal);
    // A failure of what comes before it is told first.
    connecting.catch(() => undefined);
    this.#pruning = startPruning(this.#parts, factsPromise);
    const facts = await factsPromise;
    this.#facts = facts;
    warnOfMissedWrites(this.#parts.log, facts, this.id);
    await source.open(() => this.#onMonitorLost());
    await source.onStop(() => (this.#stopSeenAtMs = performance.now()));
    const connection = await connecting;
    const message = reserveMessage(host, request, facts);
    const reserved = await measuredDuring(reserveAtDestination(connection, message, signal), connection, this.#parts);
    await this.#openPlane({ connection, reserved, facts, pump });
    this.#tell({ type: 'reserved' });
  }

  async #openPlane(agreed: Agreed): Promise<void> {
    const { pump, ...rest } = agreed;
    const { request, host, links, log } = this.#parts;
    const plane = new SourceDataPlane(
      {
        request,
        tls: host.tls,
        prune: this.#pruning !== null,
        links,
        log,
        ...rest,
      },
      pump,
      {
        reportWanted: (order) => this.#pruning?.order(order),
        switchoverWanted: (switchover) => this.#onSwitchoverWanted(switchover),
        promised: (boundMs) => this.#onPromised(boundMs),
        guestStopped: (atMs) => {
          this.#pruning?.close();
          this.#onGuestStopped(atMs);
          this.#tell({ type: 'guestStopped' });
        },
        drained: (epilogue, pull) => this.#onDrained(epilogue, pull),
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
    const { source } = this.#parts;
    const facts = this.#facts;
    if (facts === null) return;
    await this.#pruning?.warmUpThere(await this.#link.connection(this.#abandon.signal));
    await source.goSwitchover(facts);
    if (facts.features.switchoverAck) this.#plane?.allowSwitchover();
  }

  #onSwitchoverWanted(switchover: SwitchoverReport): void {
    const text = `The guest is about to be stopped: ${switchoverText(switchover)}`;
    this.#parts.log.info('migration.switchover', text, { migration: this.id, ...switchover });
    this.#tell({ type: 'switchoverWanted' });
  }

  #onPromised(boundMs: number): void {
    const text = `The guest will be stopped within ${formatMs(boundMs)} of the beginning of the pre-copy`;
    this.#parts.log.info('migration.bound', text, { migration: this.id, boundMs });
  }

  /** QMP tells of the stop a little before the stream does, but also when somebody paused the guest earlier. */
  #onGuestStopped(atMs: number): void {
    const seenAtMs = this.#stopSeenAtMs;
    const same = seenAtMs !== null && seenAtMs < atMs && atMs - seenAtMs < STOP_EVENT_MS_MAX;
    this.#parts.record.guestStopped(same ? seenAtMs : atMs);
  }

  #onDrained(epilogue: Uint8Array<ArrayBuffer>, pull: PullSet | null): void {
    this.#epilogue = epilogue;
    this.#pull = pull;
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
    const reason = mismatchText(pages, mismatches);
    this.#tell({ type: 'failed', cause: { code: 'FERRY_VERIFY', reason } });
  }

  async #sendEpilogue(): Promise<void> {
    if (this.#epilogue === null) return;
    await this.#link.sendEpilogue(this.#epilogue, this.#pull, this.#abandon.signal);
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
    const isWanted = (): boolean => this.stateName === 'handedOver' || this.stateName === 'serving';
    const answer = await this.#link.tellCommit(isWanted, log);
    this.#telling = false;
    if (answer !== null) this.#onTold(answer);
  }

  #onTold(message: MessageOf<'active'> | MessageOf<'gone'>): void {
    if (message.type === 'gone') return this.#tell({ type: 'destinationGone', mayHaveRun: message.mayHaveRun });
    const { resumeMs, pulling, pull } = message;
    this.#parts.record.guestActive({ resumeMs, roundTripMs: this.#link.rttMs, pulling, pull });
    this.#tell({ type: 'activeReceived', pulling });
  }

  /** The destination pulls over the connection on which it heard COMMIT. */
  async #keepServing(): Promise<void> {
    if (!this.#parts.source.isAlive) return this.#tell({ type: 'sourceQemuGone' });
    if (this.#link.isOpen) return;
    await this.#tellCommit();
  }

  #onServeFailed(error: unknown): void {
    this.#parts.log.error('migration.failed', describeError(error), { migration: this.id });
    if (!this.#parts.source.isAlive) this.#tell({ type: 'sourceQemuGone' });
  }

  /** Silence ends a migration before the commit; a pull phase waits for the next connection. */
  #onSilent(reason: string): void {
    if (this.stateName !== 'serving')
      return this.#tell({ type: 'failed', cause: { code: 'FERRY_PEER_SILENT', reason } });
    this.#parts.log.warn('migration.commit', `${reason}; the pages are kept`, { migration: this.id });
    this.#link.drop();
    this.#tell({ type: 'linkLost' });
  }

  #tellAbort(): void {
    const state = this.#driver.state;
    if ('cause' in state) this.#link.tellAbort(state.cause);
  }

  async #resume(): Promise<void> {
    // A `migrate` still on its way to QEMU would start a migration that nobody ends.
    this.#abandon.abort();
    await this.#closePlane();
    await this.#served.close();
    await Promise.all(this.#copying);
    const found = await this.#parts.source.resume();
    if (found === 'running') void this.#pruning?.warmUpHere(this.#parts.log);
    this.#tell({ type: found === 'running' ? 'sourceRunning' : 'sourceQemuGone' });
  }

  async #quit(): Promise<void> {
    const { source, record } = this.#parts;
    record.sourceCpuMs = this.#cpuMs();
    await this.#closePlane();
    await this.#served.close();
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

  #report(notice: SourceNotice): void {
    const { log, journal } = this.#parts;
    logNotice(log, notice, { migration: this.id, vm: this.vmName, notice, journal: journal.path });
    if (notice !== 'stranded') return;
    this.#finishInDoubt({ code: 'FERRY_PEER', reason: 'The destination lost the guest after the commit' });
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
    await this.#served.close();
    record.totals = this.#plane?.totals ?? null;
    record.notes = [...(this.#pruning?.notes ?? [])];
    if (state.name === 'done' && state.pagesLost) {
      await host.vmHandedOver(this.vmName, this.peerName);
      log.error('migration.failed', record.endWithPagesLost(), { migration: this.id });
    } else if (state.name === 'done') {
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
