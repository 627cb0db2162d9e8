/**
 * The guest on its way in: reservation, incoming QEMU, its memory, its lanes. Knows nothing of the transaction; the
 * session says when to start, load, run or discard it.
 */
import { randomBytes } from 'node:crypto';
import type { Worker } from 'node:worker_threads';
import { describeError } from '../../core/base/errors.ts';
import type { MessageOf } from '../../core/wire/control-messages.ts';
import { ownCpuMs, processCpuMs } from '../../io/hoststat/process-stat.ts';
import { DestinationLanePool } from '../../io/lanes/destination-lane-pool.ts';
import { assertMemoryAccess } from '../../io/qemu/guest-memory.ts';
import { isAlive } from '../../io/qemu/process.ts';
import { QmpClient } from '../../io/qemu/qmp-client.ts';
import { standingMonitorOf } from '../../io/qemu/standing-monitor.ts';
import { formatVersion } from '../../io/qemu/version.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import type { Logger } from '../../io/log/logger.ts';
import { FerryError } from './errors.ts';
import { assertPullable, inspectGuestRam, memoryMap, type GuestRam } from './guest-ram.ts';
import { announceGuest, IncomingQemu, startGuest } from './incoming-qemu.ts';
import { PullPhase, type MissingPages, type PullPhaseParts } from './pull-phase.ts';
import type { FerryHost, LocalVm } from './ports.ts';
import type { SpareThreads } from './spare-threads.ts';
import { readAgain } from './warm-up.ts';

export type ReserveMessage = MessageOf<'reserve'>;
export type ReservationOffer = Omit<MessageOf<'reserved'>, 'type'>;

export type IncomingGuestEvents = {
  readonly failed: (error: unknown) => void;
  /** The QEMU process has ended without having been asked to. */
  readonly qemuGone: () => void;
  /** Every page that was left to be pulled is here. */
  readonly pagesPulled: () => void;
  /** Something of the pull phase that goes wrong and is tried again. */
  readonly trouble: (text: string) => void;
  /** A pull phase whose stream was lost goes on. */
  readonly pullRecovered: (missingPages: number) => void;
};

export type IncomingGuestParts = {
  readonly host: FerryHost;
  readonly migrationId: string;
  readonly vm: string;
  readonly threads: SpareThreads;
};

const MONITOR_TIMEOUT_MS = 10_000;

export class IncomingGuest {
  readonly #host: FerryHost;
  readonly #migrationId: string;
  readonly #name: string;
  readonly #threads: SpareThreads;
  readonly #events: IncomingGuestEvents;
  readonly #agentCpuAtStartMs = ownCpuMs();
  #vm: LocalVm | null;
  #qmp: QmpClient | null = null;
  #stream: IncomingQemu | null = null;
  /** Lane threads that no pool owns yet. */
  #booting: readonly Worker[] = [];
  #lanes: DestinationLanePool | null = null;
  #offer: ReservationOffer | null = null;
  #blocks: MissingPages['blocks'] = [];
  /** Whether the guest may run here before it has all pages. */
  #mayPull = false;
  #pull: PullPhase | null = null;
  #loadMs = 0;
  /** What the guest shall read again here, a path a line; null when nothing. */
  hotFiles: Uint8Array | null = null;
  #closed = false;

  constructor({ host, migrationId, vm, threads }: IncomingGuestParts, events: IncomingGuestEvents) {
    this.#host = host;
    this.#migrationId = migrationId;
    this.#name = vm;
    this.#threads = threads;
    this.#events = events;
    this.#vm = host.findIncoming(migrationId) ?? host.findVm(vm);
  }

  get loadMs(): number {
    return this.#loadMs;
  }

  get isAlive(): boolean {
    return this.#vm !== null && isAlive(this.#vm);
  }

  /** Holds the reservation, starts QEMU, opens its stream and the lanes. Throws RefusedError, FerryError and others. */
  async start(message: ReserveMessage, peerName: string): Promise<void> {
    await this.#host.reserve(message.request);
    // Both take their time, so both are started now.
    const workers = this.#threads.takeDestinationLanes(message.lanes);
    this.#booting = workers;
    const vm = await this.#host.startIncoming(this.#migrationId);
    this.#vm = vm;
    const qmp = await this.#monitor();
    assertMemoryAccess(vm.pid, 'write');
    const ram = await inspectGuestRam(qmp, vm.pid);
    const blocks = message.blocks.map(({ name, bytes }) => ({ name, usedBytes: bytes }));
    const direct = this.#directBlocks(ram, blocks);
    this.#blocks = message.blocks;
    this.#mayPull = message.request.pull;
    if (this.#mayPull) assertPullable(this.#name, ram);
    this.#stream = await IncomingQemu.open(
      { vm: this.#name, runFolder: vm.runFolder },
      qmp,
      { onBroken: (error) => this.#streamBroke(error), onRequest: (request) => this.#pull?.fault(request) },
      this.#mayPull,
    );
    const token = randomBytes(32).toString('hex');
    this.#lanes = new DestinationLanePool(
      {
        lanes: message.lanes,
        address: this.#host.laneAddress,
        ports: this.#host.lanePorts,
        peerName,
        tls: this.#host.tls,
        token,
        memory: memoryMap(ram, blocks, direct),
      },
      { onFailed: (error) => this.#laneFailed(error) },
      workers,
    );
    this.#booting = [];
    const lanePorts = await this.#lanes.ready();
    this.#offer = {
      token,
      lanePorts: [...lanePorts],
      qemuVersion: formatVersion(qmp.version),
      directBlocks: [...direct],
      leaseMs: message.request.leaseMs,
    };
  }

  offer(): ReservationOffer {
    if (this.#offer === null) throw new FerryError('FERRY_INTERNAL', 'The guest has not been started yet');
    return this.#offer;
  }

  async loadPrologue(bytes: Uint8Array): Promise<void> {
    await this.#openStream().loadPrologue(bytes, this.#mayPull);
  }

  async feed(bytes: Uint8Array): Promise<void> {
    await this.#openStream().feed(bytes);
  }

  /**
   * Feeds the end of the stream and waits until QEMU has loaded it; returns which process that was. With `missing` the epilogue
   * is the device state, and these pages will be pulled over `connection`, or another one later.
   */
  async load(
    epilogue: readonly Uint8Array[],
    missing: Omit<MissingPages, 'blocks'> | null,
    connection: ControlConnection | null,
  ): Promise<string> {
    const startedAtMs = performance.now();
    const stream = this.#openStream();
    if (missing === null) {
      for (const bytes of epilogue) await stream.feed(bytes);
      await stream.loaded();
    } else {
      this.#pull = this.#watched(new PullPhase(this.#pullParts(), { ...missing, blocks: this.#blocks }));
      if (connection !== null) this.#pull.connect(connection);
      await this.#pull.load(stream, Buffer.concat(epilogue));
    }
    this.#loadMs = performance.now() - startedAtMs;
    return `${this.#vm?.pid}:${this.#vm?.startTicks}`;
  }

  /** The pull phase, if the guest has one. */
  get pull(): PullPhase | null {
    return this.#pull;
  }

  /** The guest runs, or may run, without all of its pages. */
  get isPulling(): boolean {
    return this.#pull !== null && !this.#pull.isComplete;
  }

  get mayPull(): boolean {
    return this.#mayPull;
  }

  /** After a restart of the agent: goes on with the pull phase of the former one, over this or a later connection. */
  async resumePull(connection: () => ControlConnection | null): Promise<void> {
    if (this.#pull === null) await this.#takeUpPull(connection);
    // Nothing is written down of a pull phase that has ended.
    if (this.#pull === null) this.#events.pagesPulled();
    else this.#pull.guestRuns();
  }

  /** What a former agent left: its stream to QEMU is gone, and is brought back beside whatever else is done. */
  async #takeUpPull(connection: () => ControlConnection | null): Promise<void> {
    const found = await PullPhase.find(this.#pullParts());
    if (found === null || this.#pull !== null) return;
    this.#pull = this.#watched(found);
    const link = connection();
    if (link !== null) found.connect(link);
    void found.recover();
  }

  /** Lets the guest run. Idempotent. Throws QmpError. */
  async run(connection: () => ControlConnection | null): Promise<void> {
    // QEMU may need a page to let it run, and a monitor that answers needs it to get that page.
    if (this.#offer === null && this.#pull === null) await this.#takeUpPull(connection);
    const qmp = await this.#monitor();
    await startGuest(qmp);
    this.#pull?.guestRuns();
    void this.#announce(qmp);
  }

  /** Tells the network where the guest is now; it runs meanwhile. */
  async #announce(qmp: QmpClient): Promise<void> {
    try {
      await announceGuest(qmp);
    } catch (error) {
      this.#events.trouble(`The guest's new place was not announced: ${describeError(error)}`);
    }
    // A pull phase may be long, and others want to ask this QEMU; its end shows on the stream.
    if (this.#pull !== null && this.#qmp === qmp) qmp.close();
  }

  /** The guest runs here and has all of its pages: it may use the time to read its cache again. Never throws. */
  async warmUp(log: Logger): Promise<void> {
    const { hotFiles } = this;
    this.hotFiles = null;
    if (hotFiles !== null && this.#vm !== null) await readAgain(this.#vm, hotFiles, log);
  }

  /** Ends QEMU and gives the reservation back. */
  async discard(): Promise<void> {
    await this.close();
    await this.#host.discard(this.#migrationId);
  }

  /** CPU time that this migration took here; the agent's part includes whatever else it did meanwhile. */
  cpuMs(): { agentCpuMs: number; qemuCpuMs: number | null } {
    const qemuCpuMs = this.#vm === null ? null : processCpuMs(this.#vm.pid);
    return { agentCpuMs: ownCpuMs() - this.#agentCpuAtStartMs, qemuCpuMs };
  }

  /** Lets go of lanes, stream and monitor; QEMU stays as it is. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#pull?.close();
    this.#stream?.close();
    this.#qmp?.close();
    await Promise.all(this.#booting.map(async (worker) => await worker.terminate()));
    await this.#lanes?.stop();
  }

  /** Blocks that both sides can carry on lanes: reachable here, of the same name and large enough. */
  #directBlocks(ram: GuestRam, blocks: readonly { name: string; usedBytes: number }[]): Set<string> {
    const here = new Map(ram.blocks.map((block) => [block.name, block.totalBytes]));
    return new Set(
      blocks
        .filter(({ name, usedBytes }) => ram.reachable.has(name) && (here.get(name) ?? 0) >= usedBytes)
        .map(({ name }) => name),
    );
  }

  #pullParts(): PullPhaseParts {
    const vm = this.#vm;
    if (vm === null) throw new FerryError('FERRY_INCOMING', `The incoming QEMU of VM "${this.#name}" is gone`);
    return {
      place: { vm: this.#name, runFolder: vm.runFolder },
      monitor: async () => await this.#monitor(),
      standing: () => standingMonitorOf(this.#name, vm.runFolder),
      isAlive: () => isAlive(vm),
      qemuGone: () => this.#events.qemuGone(),
      trouble: (text) => this.#events.trouble(text),
      recovered: (missingPages) => this.#events.pullRecovered(missingPages),
    };
  }

  #watched(pull: PullPhase): PullPhase {
    void pull.complete.then(() => this.#events.pagesPulled());
    return pull;
  }

  /** Before the guest's state was loaded that ends the migration; in a pull phase the stream is made anew. */
  #streamBroke(error: FerryError): void {
    if (this.#closed) return;
    if (this.#pull === null) this.#events.failed(error);
    else {
      this.#events.failed(error);
      void this.#pull.recover();
    }
  }

  #openStream(): IncomingQemu {
    if (this.#stream === null) throw new FerryError('FERRY_INCOMING', `VM "${this.#name}" has no incoming stream`);
    return this.#stream;
  }

  #laneFailed(error: Error): void {
    // Lanes have done their part when pages are pulled.
    if (!this.#closed && this.#pull === null) this.#events.failed(error);
  }

  async #monitor(): Promise<QmpClient> {
    if (this.#qmp !== null && !this.#qmp.closed) return this.#qmp;
    this.#vm ??= this.#host.findIncoming(this.#migrationId);
    const vm = this.#vm;
    if (vm === null) throw new FerryError('FERRY_INCOMING', `The incoming QEMU of VM "${this.#name}" is gone`);
    const qmp = await QmpClient.connect({ vm: vm.name, socketPath: vm.qmpPath, timeoutMs: MONITOR_TIMEOUT_MS });
    this.#qmp = qmp;
    void qmp.whenClosed.then(() => {
      if (!this.#closed && !isAlive(vm)) this.#events.qemuGone();
    });
    return qmp;
  }
}
