/**
 * A whole migration against the clock of a model: guest, QEMU, link and destination have rates and delays, and the scheduler
 * is the real one. A run of many seconds takes some tens of milliseconds and always gives the same result. It says what
 * a strategy does with a workload; interleavings.ts says whether it can ever be wrong.
 */
import { PageTable } from '../pages/page-table.ts';
import { createStrategy, type StrategyOptions } from './create-strategy.ts';
import { pacedDowntimeLimitMs } from './stop-order.ts';
import type { Orders, SchedulerSnapshot } from './scheduler-types.ts';
import { Scheduler } from './scheduler.ts';
import { SimGuest, type SimWorkload } from './sim-guest.ts';
import { SimQemu, type SimRecord } from './sim-qemu.ts';
import { SimRandom } from './sim-random.ts';

export type SimulationOptions = StrategyOptions & {
  readonly seed: number;
  readonly pages: number;
  /** Share of the guest's pages that hold content at the start. */
  readonly usedShare: number;
  readonly workload: SimWorkload;
  readonly lanes: number;
  readonly feedHold: 'strict' | 'paced';
  readonly linkBytesPerSecond: number;
  readonly roundTripMs: number;
  /** Size of a page with content after compression. */
  readonly wireBytesPerPage: number;
  /** From this share of memory on, pages do not compress at all. */
  readonly hardFromShare?: number;
  readonly maxBandwidthBytesPerSecond: number | null;
  /** Deltas: what a page costs that was sent before. */
  readonly repeatBytes?: number;
  /** Pages that a lane reads and packs per millisecond. */
  readonly lanePagesPerMs?: number;
  /** Pages with content that the feed names per millisecond. */
  readonly feedPagesPerMs?: number;
  readonly batchPages?: number;
  readonly recheckPages?: number;
};

export type SimulationResult = {
  readonly ended: boolean;
  readonly totalMs: number;
  /** The guest stopped; totalMs if it never did. */
  readonly stoppedMs: number;
  readonly downtimeMs: number;
  /** What the scheduler expected when it gave the order to stop; null when it gave none. */
  readonly predictedDowntimeMs: number | null;
  readonly syncs: number;
  readonly wrongPages: number;
  /** Most milliseconds of link time that were ever in flight. */
  readonly inFlightMsMax: number;
  /** Of link time, what was in flight when the order to stop was given; null when it was not. */
  readonly inFlightMsAtOrder: number | null;
  /** One per 100 ms. */
  readonly snapshots: readonly SchedulerSnapshot[];
  readonly last: SchedulerSnapshot;
};

const BATCH_PAGES = 256;
const FEED_PAGES_PER_MS = 250;
/** What QEMU's empty round costs in pages: 20 000 of them per second were measured. */
const PART_COST_PAGES = 12;
const ZERO_COST_PAGES = 0.25;
/** The socket holds some 50 pages with content, or six times as many small records. */
const SOCKET_UNITS = 300;
const LANE_PAGES_PER_MS = 80;
/** From the order until the guest stands still; QEMU below 8.1 looks for the moment by itself. */
const STOP_MS = { ack: 15, own: 100 } as const;
const QEMU_DOWNTIME_LIMIT_MS = 300;
/** Stop, device state and round trips, which are not modelled. */
export const FIXED_DOWNTIME_MS = 60;
const SIMULATED_MS_MAX = 600_000;

type Batch = {
  readonly id: number;
  readonly pages: readonly number[];
  readonly readAtMs: number;
  values: Uint32Array | null;
  wireBytes: number;
  placedAtMs: number;
};

class Simulation {
  readonly #options: SimulationOptions;
  readonly #switchoverBy: 'ack' | 'own';
  readonly #random: SimRandom;
  readonly #guest: SimGuest;
  readonly #qemu: SimQemu;
  readonly #destination: Uint32Array;
  readonly #sentBefore: Uint8Array;
  readonly #scheduler: Scheduler;
  readonly #socket: SimRecord[] = [];
  readonly #batches: Batch[][];
  readonly #laneFreeMs: number[];
  readonly #nextIds: number[];
  readonly #out = new Uint32Array(512);
  readonly #snapshots: SchedulerSnapshot[] = [];
  #socketUnits = 0;
  #linkFreeMs = 0;
  #windowBytes = 0;
  #windowMs = 0;
  #nowMs = 0;
  #stopAtMs: number | null = null;
  #stoppedMs: number | null = null;
  #predictedDowntimeMs: number | null = null;
  #inFlightMsMax = 0;
  #inFlightMsAtOrder: number | null = null;
  #orders: Orders;

  constructor(options: SimulationOptions) {
    const { pages, lanes, feedHold } = options;
    this.#options = options;
    this.#switchoverBy = feedHold === 'strict' ? 'ack' : 'own';
    this.#random = new SimRandom(options.seed);
    this.#guest = new SimGuest(pages);
    for (let page = 0; page < pages; page++) this.#guest.write(page, page >= pages * options.usedShare);
    const { blindShare } = options.workload;
    this.#qemu = new SimQemu(this.#guest, {
      switchover: this.#switchoverBy,
      partPages: 8192,
      losesSight: blindShare === undefined ? undefined : () => this.#random.fraction() < blindShare,
    });
    this.#destination = new Uint32Array(pages);
    this.#sentBefore = new Uint8Array(pages);
    this.#batches = Array.from({ length: lanes }, () => []);
    this.#laneFreeMs = Array.from({ length: lanes }, () => 0);
    this.#nextIds = Array.from({ length: lanes }, () => 0);
    const table = new PageTable([{ name: 'ram', pageCount: pages }], lanes);
    this.#scheduler = new Scheduler({
      ...options,
      table,
      delta: options.repeatBytes !== undefined,
      strategy: createStrategy(options, table),
      batchPages: options.batchPages ?? BATCH_PAGES,
      prune: false,
      pull: false,
      nowMs: 0,
    });
    this.#orders = this.#scheduler.tick(0);
  }

  run(): SimulationResult {
    while (!this.#orders.drained && this.#nowMs < SIMULATED_MS_MAX) this.#millisecond();
    const wrong = this.#guest.memory.reduce((sum, value, page) => sum + (value === this.#destination[page] ? 0 : 1), 0);
    return {
      ended: this.#orders.drained,
      totalMs: this.#nowMs,
      stoppedMs: this.#stoppedMs ?? this.#nowMs,
      downtimeMs: this.#nowMs - (this.#stoppedMs ?? this.#nowMs) + FIXED_DOWNTIME_MS,
      predictedDowntimeMs: this.#predictedDowntimeMs,
      syncs: this.#qemu.syncs,
      wrongPages: wrong,
      inFlightMsMax: this.#inFlightMsMax,
      inFlightMsAtOrder: this.#inFlightMsAtOrder,
      snapshots: this.#snapshots,
      last: this.#scheduler.snapshot(this.#nowMs),
    };
  }

  #millisecond(): void {
    this.#nowMs++;
    this.#guest.work(this.#options.workload, this.#random, this.#nowMs);
    this.#moveFeed();
    for (let lane = 0; lane < this.#options.lanes; lane++) this.#moveLane(lane);
    this.#tick();
    if (this.#nowMs % 100 === 0) this.#snapshots.push(this.#scheduler.snapshot(this.#nowMs));
  }

  #tick(): void {
    this.#orders = this.#scheduler.tick(this.#nowMs);
    if (this.#orders.switchover !== null && this.#stopAtMs === null) {
      this.#stopAtMs = this.#nowMs + STOP_MS[this.#switchoverBy];
      this.#inFlightMsAtOrder = Math.max(0, this.#linkFreeMs - this.#nowMs);
      this.#predictedDowntimeMs = this.#scheduler.snapshot(this.#nowMs).predictedDowntimeMs;
    }
    if (this.#stopAtMs !== null && this.#nowMs >= this.#stopAtMs && this.#guest.isRunning) {
      this.#qemu.allowSwitchover();
    }
    if (!this.#guest.isRunning) this.#stoppedMs ??= this.#nowMs;
  }

  #moveFeed(): void {
    for (let budget = this.#options.feedPagesPerMs ?? FEED_PAGES_PER_MS; budget > 0;) {
      while (budget > 0 && this.#socketUnits < SOCKET_UNITS) {
        const record = this.#qemu.next();
        if (record === null) {
          budget = 0;
          break;
        }
        const isContent = record.type === 'page' && !record.isZero;
        budget -= isContent ? 1 : record.type === 'page' ? ZERO_COST_PAGES : PART_COST_PAGES;
        this.#socketUnits += isContent ? 6 : 1;
        this.#socket.push(record);
        this.#measure(isContent ? 4104 : 18);
      }
      if (this.#orders.feed === 'hold') return;
      for (const record of this.#socket) this.#deliver(record);
      this.#socket.length = 0;
      this.#socketUnits = 0;
      this.#tick();
    }
  }

  /** QEMU's own idea of the bandwidth, taken every 100 ms. */
  #measure(bytes: number): void {
    this.#windowBytes += bytes;
    const ms = this.#nowMs - this.#windowMs;
    if (ms < 100) return;
    const { feedHold, downtimeTargetMs } = this.#options;
    const limitMs = feedHold === 'strict' ? QEMU_DOWNTIME_LIMIT_MS : pacedDowntimeLimitMs(downtimeTargetMs);
    if (this.#qemu.thresholdPages !== Infinity) this.#qemu.thresholdPages = ((this.#windowBytes / ms) * limitMs) / 4096;
    this.#windowBytes = 0;
    this.#windowMs = this.#nowMs;
  }

  #deliver(record: SimRecord): void {
    switch (record.type) {
      case 'page':
        return this.#scheduler.pageNamed(0, record.page, record.isZero);
      case 'partEnd':
        return this.#scheduler.partEnded(record.pages, this.#nowMs);
      case 'stopped':
        return this.#scheduler.vcpusStopped(this.#nowMs);
      case 'end':
        return this.#scheduler.feedEnded(this.#nowMs);
    }
  }

  #moveLane(lane: number): void {
    const batches = this.#batches[lane]!;
    const { lanePagesPerMs = LANE_PAGES_PER_MS } = this.#options;
    for (const batch of batches) if (batch.values === null && batch.readAtMs <= this.#nowMs) this.#read(lane, batch);
    while (batches[0] !== undefined && batches[0].placedAtMs + this.#options.roundTripMs / 2 <= this.#nowMs) {
      const batch = batches.shift()!;
      for (const [i, page] of batch.pages.entries()) this.#destination[page] = batch.values![i]!;
      this.#scheduler.batchAcked(lane, batch.id, this.#nowMs);
    }
    for (;;) {
      const count = this.#scheduler.nextBatch(lane, this.#nowMs, this.#out);
      if (count === 0) break;
      const pages: number[] = [];
      for (let at = 0; at < count; at += 2) {
        for (let i = 0; i < this.#out[at + 1]!; i++) pages.push(this.#out[at]! + i);
      }
      const readAtMs = Math.max(this.#nowMs, this.#laneFreeMs[lane]!) + pages.length / lanePagesPerMs;
      this.#laneFreeMs[lane] = readAtMs;
      batches.push({ id: this.#nextIds[lane]!++, pages, readAtMs, values: null, wireBytes: 0, placedAtMs: Infinity });
    }
  }

  #read(lane: number, batch: Batch): void {
    batch.values = Uint32Array.from(batch.pages, (page) => this.#guest.memory[page]!);
    const dataPages = batch.values.reduce((sum, value) => sum + (value === 0 ? 0 : 1), 0);
    const { pages, wireBytesPerPage, hardFromShare = 1 } = this.#options;
    const hardPages = batch.pages.filter((page, i) => page >= pages * hardFromShare && batch.values![i] !== 0).length;
    const wholeBytes = (dataPages - hardPages) * wireBytesPerPage + hardPages * 4096;
    const repeats = this.#noteRepeats(batch);
    const repeatBytes = this.#options.repeatBytes ?? wholeBytes / Math.max(1, dataPages);
    const resentBytes = repeats * repeatBytes;
    batch.wireBytes = (wholeBytes * (dataPages - repeats)) / Math.max(1, dataPages) + resentBytes + 32;
    const bytesPerMs = this.#options.linkBytesPerSecond / 1000;
    this.#linkFreeMs = Math.max(this.#linkFreeMs, batch.readAtMs) + batch.wireBytes / bytesPerMs;
    this.#inFlightMsMax = Math.max(this.#inFlightMsMax, this.#linkFreeMs - this.#nowMs);
    batch.placedAtMs = this.#linkFreeMs + this.#options.roundTripMs / 2;
    const zeroPages = batch.pages.length - dataPages;
    this.#scheduler.batchSent(lane, { ...batch, dataPages, zeroPages, resentPages: repeats, resentBytes }, this.#nowMs);
  }

  /** Pages of the batch with content that were sent with content before. */
  #noteRepeats({ pages, values }: Batch): number {
    let repeats = 0;
    for (const [i, page] of pages.entries()) {
      if (values![i] === 0) continue;
      repeats += this.#sentBefore[page]!;
      this.#sentBefore[page] = 1;
    }
    return repeats;
  }
}

export function simulate(options: SimulationOptions): SimulationResult {
  return new Simulation(options).run();
}
