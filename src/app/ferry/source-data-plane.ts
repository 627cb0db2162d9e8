/**
 * The data plane of a migration at the source as its session sees it: a pump thread made from what the reservation
 * agreed on, its prologue and side pages forwarded over the control connection, and a watch that something moves.
 */
import type { ReportOrder } from '../../core/strategy/pruning.ts';
import type { SwitchoverReport } from '../../core/model/switchover.ts';
import type { MessageOf } from '../../core/wire/control-messages.ts';
import { attachmentChunks } from '../../core/wire/control-codec.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import type { Logger } from '../../io/log/logger.ts';
import { runPaths } from '../../io/qemu/run-paths.ts';
import { FerryError } from './errors.ts';
import { memoryMap } from './guest-ram.ts';
import type { MigrationRequest, TlsIdentity } from './ports.ts';
import { watchLink } from './link-rate.ts';
import type { Links } from './link-rate.ts';
import type { FromPump, PruneAnswer, PullSet, PumpInit, PumpProgress, PumpTotals } from './pump-protocol.ts';
import type { PumpThread } from './pump-thread.ts';
import type { SourceFacts } from './source-vm.ts';

const PROLOGUE_TIMEOUT_MS = 30_000;
/** Stopping the guest, its device state and one exchange of messages, on top of the round-trip time. */
const FIXED_DOWNTIME_MS = 60;
const LISTEN_TIMEOUT_MS = 30_000;
/**
 * Under software emulation a virtual CPU that loses its processor between the dirty bit of a write and its note that further writes
 * need none writes unseen from then on, when QEMU collects the bit in between (docs/qemu-stream.md). Only pages that are written
 * often run that risk; looking at so many takes some milliseconds.
 */
const RECHECK_PAGES = 1024;

export type DataPlaneSetup = {
  readonly request: MigrationRequest;
  readonly facts: SourceFacts;
  readonly tls: TlsIdentity;
  readonly reserved: MessageOf<'reserved'>;
  readonly connection: ControlConnection;
  /** The guest is being asked what it can do without; its answers come by `pruneAnswer`. */
  readonly prune: boolean;
  readonly links: Links;
  readonly log: Logger;
};

export type DataPlaneEvents = {
  readonly reportWanted: (order: ReportOrder) => void;
  readonly switchoverWanted: (switchover: SwitchoverReport) => void;
  /** From the beginning of the pre-copy to the guest's stop at most; said again when it has become less. */
  readonly promised: (boundMs: number) => void;
  /** `atMs` is a time of this thread's performance.now(). */
  readonly guestStopped: (atMs: number) => void;
  readonly drained: (epilogue: Uint8Array<ArrayBuffer>, pull: PullSet | null) => void;
  readonly verified: (pages: number, mismatches: readonly number[]) => void;
  readonly failed: (error: FerryError) => void;
};

export class SourceDataPlane {
  readonly socketPath: string;
  readonly #setup: DataPlaneSetup;
  readonly #events: DataPlaneEvents;
  readonly #pump: PumpThread;
  readonly #listening = Promise.withResolvers<void>();
  #progress: PumpProgress | null = null;
  #totals: PumpTotals | null = null;
  #movedAtMs = performance.now();
  #closing: Promise<void> | null = null;
  readonly #watching = new AbortController();

  /** `pump`: a thread that was started ahead of time for as many lanes, owned from now on. */
  constructor(setup: DataPlaneSetup, pump: PumpThread, events: DataPlaneEvents) {
    this.#setup = setup;
    this.#events = events;
    this.socketPath = runPaths(setup.request.vm.runFolder).migrationSocket;
    this.#listening.promise.catch(() => undefined);
    this.#pump = pump;
    pump.start(this.#pumpInit(), (message) => this.#receive(message));
  }

  get progress(): PumpProgress | null {
    return this.#progress;
  }

  /** Final counts, known from `drained` on, and after `close`. */
  get totals(): PumpTotals | null {
    return this.#totals;
  }

  /** How long nothing has moved although there was something to move. */
  get idleMs(): number {
    return performance.now() - this.#movedAtMs;
  }

  /** QEMU may connect, and every lane has been accepted. Throws FerryError. */
  async ready(): Promise<void> {
    const timer = setTimeout(() => {
      this.#listening.reject(
        new FerryError('FERRY_PEER_SILENT', `The lanes were not accepted within ${LISTEN_TIMEOUT_MS} ms`),
      );
    }, LISTEN_TIMEOUT_MS);
    try {
      await this.#listening.promise;
    } finally {
      clearTimeout(timer);
    }
    this.#watchLink();
  }

  #watchLink(): void {
    const { connection, reserved, links, log } = this.#setup;
    const { id: migration, destination, options } = this.#setup.request;
    const address = connection.remoteAddress;
    if (address === null || options.compress !== 'adaptive') return;
    const memory = links.memories.of(destination.name);
    const lanes = { migration, peer: destination.name, address, ports: reserved.lanePorts, memory };
    void watchLink(links.rates, lanes, log, this.#watching.signal);
  }

  /** Only when it is ready. */
  pruneAnswer(answer: PruneAnswer): void {
    this.#pump.tell(answer);
  }

  allowSwitchover(): void {
    this.#pump.tell({ type: 'goSwitchover' });
  }

  verify(): void {
    this.#pump.tell({ type: 'verify' });
  }

  /** SHUT(0): the source QEMU may finish. */
  shut(): void {
    this.#pump.tell({ type: 'shut' });
  }

  async close(): Promise<void> {
    this.#watching.abort();
    this.#closing ??= this.#pump.close();
    this.#listening.reject(new FerryError('FERRY_CANCELLED', 'The migration was given up'));
    await this.#closing;
  }

  #receive(message: FromPump): void {
    switch (message.type) {
      case 'listening':
        this.#listening.resolve();
        return;
      case 'prologue':
        void this.#sendPrologue(message.bytes);
        return;
      case 'sidePart':
        this.#sendSidePart(message.bytes);
        return;
      case 'progress':
        this.#watch(message.progress);
        return;
      case 'reportWanted':
        this.#events.reportWanted(message.order);
        return;
      case 'switchoverWanted':
        this.#events.switchoverWanted(message.switchover);
        return;
      case 'guestStopped':
        this.#events.guestStopped(message.atMs - performance.timeOrigin);
        return;
      case 'drained':
        this.#totals = message.totals;
        this.#events.drained(message.epilogue, message.pull);
        return;
      case 'verified':
        this.#events.verified(message.pages, message.mismatches);
        return;
      case 'failed':
        this.#fail(new FerryError('FERRY_FEED', message.message, { cause: message.code }));
        return;
      case 'closed':
        this.#totals = message.totals;
        return;
      case 'shutSent':
      case 'feedClosed':
        return;
    }
  }

  #watch(progress: PumpProgress): void {
    const moved = progress.wireBytes !== this.#progress?.wireBytes || progress.pagesPending === 0;
    if (moved) this.#movedAtMs = performance.now();
    const isNews = progress.boundMs !== null && progress.boundMs !== this.#progress?.boundMs;
    this.#progress = progress;
    if (isNews) this.#events.promised(progress.boundMs);
  }

  async #sendPrologue(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { connection } = this.#setup;
    try {
      await connection.send({ type: 'prologue' }, bytes);
      await connection.expect(['prologueLoaded'], { timeoutMs: PROLOGUE_TIMEOUT_MS });
      this.#pump.tell({ type: 'prologueLoaded' });
    } catch (cause) {
      this.#fail(new FerryError('FERRY_PEER', 'The destination did not accept the start of the stream', {}, { cause }));
    }
  }

  #sendSidePart(bytes: Uint8Array<ArrayBuffer>): void {
    for (const chunk of attachmentChunks(bytes)) {
      this.#setup.connection.send({ type: 'sidePart' }, chunk).catch(() => undefined);
    }
  }

  #fail(error: FerryError): void {
    this.#listening.reject(error);
    if (this.#closing === null) this.#events.failed(error);
  }

  #pumpInit(): PumpInit {
    const { facts, tls, reserved, connection, prune, links } = this.#setup;
    const { destination, options } = this.#setup.request;
    const direct = new Set(reserved.directBlocks.filter((name) => facts.ram.reachable.has(name)));
    return {
      socketPath: this.socketPath,
      blocks: facts.ram.blocks.map(({ name, usedBytes }) => ({
        name,
        usedBytes,
        direct: direct.has(name),
        startsZero: !facts.ram.preloaded.has(name),
      })),
      memory: memoryMap(facts.ram, facts.ram.blocks, direct),
      options,
      prune,
      // Where a page that has not changed is known from a cache, looking at it again costs no bytes.
      recheckPages: facts.accelerator === 'tcg' && options.delta === 'on' ? RECHECK_PAGES : 0,
      feedHold: facts.features.switchoverAck ? 'strict' : 'paced',
      fixedDowntimeMs: FIXED_DOWNTIME_MS + 2 * (connection.rttMs ?? 0),
      lanes: {
        host: destination.host,
        ports: reserved.lanePorts,
        peerName: destination.name,
        tls,
        token: reserved.token,
        linkMemory: links.memories.of(destination.name),
      },
    };
  }
}
