/**
 * The scheduler in a world that does everything at the worst possible time: guest, QEMU, socket, pump, lanes and destination take
 * their steps in a random order given by a seed. What must come out whatever the order: the destination's memory
 * equals the source's, and it always ends. `planted` puts a known mistake around the scheduler (never into it); the tests
 * prove that each of them is found.
 */
import type { StrategyName } from '../model/migration.ts';
import { PageTable } from '../pages/page-table.ts';
import { createStrategy } from './create-strategy.ts';
import * as limits from './limits.ts';
import type { Orders } from './scheduler-types.ts';
import { Scheduler } from './scheduler.ts';
import { SimAgent } from './sim-agent.ts';
import { SimGuest } from './sim-guest.ts';
import { SimQemu, type SimRecord } from './sim-qemu.ts';
import { SimRandom } from './sim-random.ts';

export const plantedMistakes = [
  'content is read before pending is cleared',
  'names of END are dropped',
  'a lane is not a FIFO',
  'a page that became zero again is not sent',
  'done before the last acknowledgement',
  'the guest was asked before its answer counts',
  'cache counts as free in the last report',
  'pruned pages that were sent are not zeroed',
  'withheld pages are not left to be pulled',
] as const;
export type PlantedMistake = (typeof plantedMistakes)[number];

export type InterleavingOptions = {
  readonly seed: number;
  readonly lanes: number;
  readonly feedHold: 'strict' | 'paced';
  readonly strategy: StrategyName;
  readonly pull: boolean;
  /** Pages that the guest writes per step at most. */
  readonly writesMax: number;
  /** Writes fall on so many pages. */
  readonly hotPages: number;
  readonly zeroShare: number;
  readonly maxBandwidthBytesPerSecond: number | null;
  readonly prune: boolean;
  readonly zeroesOnFree: boolean;
  readonly planted?: PlantedMistake;
};

export type InterleavingResult = {
  readonly ended: boolean;
  readonly steps: number;
  /** Pages that differ after the end. */
  readonly wrongPages: readonly number[];
  readonly reason: string | null;
  readonly rounds: number;
  readonly prunedPages: number;
  readonly zeroedPages: number;
};

type Batch = { readonly id: number; readonly pages: readonly number[]; readonly values: number[] };

/** Chunks are asked about one by one, so that a pass has several questions. */
const REPORT_PAGES = 512;

/** Records that the socket between QEMU and pump holds. */
const SOCKET_RECORDS = 40;
const STEPS_MAX = 400_000;
/** Small blocks, so that lanes have several chunks each: guest RAM, one block beside the lanes, one odd one. */
const blocks = [
  { name: 'ram', pageCount: 2 * 512 + 100 },
  { name: 'side', pageCount: 5, side: true },
  { name: 'vram', pageCount: 30, startsZero: false },
] as const;

class World {
  readonly random: SimRandom;
  readonly options: InterleavingOptions;
  readonly table: PageTable;
  readonly scheduler: Scheduler;
  readonly qemu: SimQemu;
  readonly guest: SimGuest;
  readonly destination: Uint32Array;
  readonly #blockOf: readonly number[];
  readonly #indexOf: readonly number[];
  readonly #globalOf: readonly number[];
  readonly #pageOf = new Map<number, number>();
  readonly #socket: SimRecord[] = [];
  readonly #reading: Batch[][];
  readonly #flying: Batch[][];
  readonly #placed: number[][];
  readonly #nextIds: number[] = [];
  readonly #out = new Uint32Array(64);
  readonly #agent: SimAgent;
  /** Writes of the guest per page that is freed, or filled with a file. */
  readonly #usesLastFor: number;
  #oldMemory: Uint32Array;
  zeroedPages = 0;
  #inEnd = false;
  #nowMs = 0;
  orders: Orders;

  constructor(options: InterleavingOptions) {
    this.options = options;
    this.random = new SimRandom(options.seed);
    this.#usesLastFor = 1 + this.random.below(40);
    this.table = new PageTable(blocks, options.lanes);
    this.#blockOf = this.table.blocks.flatMap((block) => Array.from({ length: block.pageCount }, () => block.index));
    this.#indexOf = this.table.blocks.flatMap((block) => Array.from({ length: block.pageCount }, (_, i) => i));
    this.#globalOf = this.table.blocks.flatMap((block) =>
      Array.from({ length: block.pageCount }, (_, i) => block.firstPage + i),
    );
    for (const [page, global] of this.#globalOf.entries()) this.#pageOf.set(global, page);
    this.guest = new SimGuest(this.#globalOf.length, options.zeroesOnFree);
    this.destination = new Uint32Array(this.guest.memory.length);
    for (let page = 0; page < this.guest.memory.length; page++) {
      this.guest.write(page, this.random.fraction() < 0.7);
      if (this.#blockOf[page] === 2) this.destination[page] = 0xffffffff;
      this.#changeUse(page);
    }
    const switchover = options.feedHold === 'strict' ? 'ack' : 'own';
    this.qemu = new SimQemu(this.guest, { switchover, partPages: 1 + this.random.below(200) });
    this.qemu.thresholdPages = this.random.below(200);
    this.#oldMemory = this.guest.memory.slice();
    this.#agent = new SimAgent(this.guest, options, this.random);
    this.#reading = Array.from({ length: options.lanes }, () => []);
    this.#flying = Array.from({ length: options.lanes }, () => []);
    this.#placed = Array.from({ length: options.lanes }, () => []);
    const downtimeTargetMs = this.random.below(400);
    const maxRounds = 1 + this.random.below(12);
    this.scheduler = new Scheduler({
      table: this.table,
      strategy: createStrategy(
        { strategy: options.strategy, downtimeTargetMs, maxRounds, intervalMs: 1 + this.random.below(300) },
        this.table,
      ),
      pull: options.pull,
      feedHold: options.feedHold,
      downtimeTargetMs,
      maxBandwidthBytesPerSecond: options.maxBandwidthBytesPerSecond,
      batchPages: 32,
      prune: options.prune,
      reportPages: REPORT_PAGES,
      nowMs: 0,
    });
    this.orders = this.scheduler.tick(0);
  }

  /** One step of whoever's turn it is. */
  step(): void {
    this.#nowMs += this.random.fraction() * 2;
    const lane = this.random.below(this.options.lanes);
    switch (this.random.below(9)) {
      case 0:
        return this.#guestWrites();
      case 1:
        return this.#qemuWrites();
      case 2:
      case 3:
        return this.#pumpReads();
      case 4:
        return this.#grant(lane);
      case 5:
        return this.#laneReads(lane);
      case 6:
        return this.#destinationPlaces(lane);
      case 7:
        return this.#agentAnswers();
      default:
        this.#acknowledge(lane);
        this.orders = this.scheduler.tick(this.#nowMs);
    }
  }

  get hasEnded(): boolean {
    if (this.options.planted === 'done before the last acknowledgement') {
      return this.qemu.hasEnded && this.#socket.length === 0 && this.table.pendingPages === 0;
    }
    return this.orders.drained;
  }

  /** After the end: the destination pulls what is left from the guest that stands still. */
  pullTheRest(): void {
    const { pull, planted } = this.options;
    if (!pull) return;
    const runs = this.table.leftRuns();
    for (let at = 0; at < runs.length; at += 2) {
      for (let global = runs[at]!; global < runs[at]! + runs[at + 1]!; global++) {
        if (planted === 'withheld pages are not left to be pulled' && this.table.isWithheld(global)) continue;
        const page = this.#pageOf.get(global)!;
        this.destination[page] = this.guest.memory[page]!;
      }
    }
  }

  wrongPages(): number[] {
    const isWrong = (page: number): boolean => this.guest.memory[page] !== this.destination[page];
    return [...this.guest.memory.keys()].filter((page) => isWrong(page) && this.guest.isNeeded(page));
  }

  #guestWrites(): void {
    const readsEarly = this.options.planted === 'content is read before pending is cleared';
    if (readsEarly && this.random.below(4) === 0) this.#oldMemory = this.guest.memory.slice();
    for (let writes = this.random.below(this.options.writesMax + 1); writes > 0; writes--) {
      const page = this.random.below(Math.min(this.options.hotPages, this.guest.memory.length));
      const spread =
        this.random.below(this.options.prune ? 50 : 8) === 0 ? this.random.below(this.guest.memory.length) : page;
      this.guest.write(spread, this.random.fraction() < this.options.zeroShare);
      if (this.random.below(this.#usesLastFor) === 0) this.#changeUse(this.random.below(this.guest.memory.length));
    }
  }

  #changeUse(page: number): void {
    if (!this.options.prune) return;
    switch (this.random.below(4)) {
      case 0:
        return this.guest.free(page);
      case 1:
        return this.guest.readFile(page);
      case 2:
        return this.guest.allocateZeroed(page);
      default:
    }
  }

  #agentAnswers(): void {
    if (!this.options.prune) return;
    for (let order = this.scheduler.nextReport(this.#nowMs); order !== null;) {
      this.#agent.ask(order, this.#globalOf, this.#pageOf);
      order = this.scheduler.nextReport(this.#nowMs);
    }
    const answer = this.#agent.step();
    if (this.random.below(8) === 0) this.#guestWrites();
    switch (answer?.type) {
      case 'answered':
        return this.scheduler.agentAnswered();
      case 'ready':
        return this.scheduler.agentReady(answer.isProof, this.#nowMs);
      case 'dropped':
        return this.scheduler.cacheDropped(this.#nowMs);
      case 'report':
        return this.scheduler.reportArrived(answer.firstPage, answer.unneeded, this.#nowMs);
      case 'failed':
        return this.scheduler.pruningFailed();
      default:
    }
  }

  #qemuWrites(): void {
    // Between stop order and stop there is any delay; the threshold is whatever QEMU measured.
    if (this.orders.switchover !== null && this.random.below(4) === 0) this.qemu.allowSwitchover();
    else if (this.guest.isRunning && this.random.below(16) === 0) this.qemu.thresholdPages = this.random.below(100);
    for (let left = this.random.below(200); left > 0 && this.#socket.length < SOCKET_RECORDS; left--) {
      const record = this.qemu.next();
      if (record === null) return;
      this.#socket.push(record);
      if (this.random.below(8) === 0) this.#guestWrites();
    }
  }

  #pumpReads(): void {
    for (let left = this.random.below(SOCKET_RECORDS); left > 0 && this.orders.feed === 'read'; left--) {
      const record = this.#socket.shift();
      if (record === undefined) break;
      this.#deliver(record);
      if (this.#socket.length === 0) this.#qemuWrites();
    }
    this.orders = this.scheduler.tick(this.#nowMs);
  }

  #deliver(record: SimRecord): void {
    switch (record.type) {
      case 'page':
        return this.#deliverPage(record.page, record);
      case 'partEnd':
        return this.scheduler.partEnded(record.pages, this.#nowMs);
      case 'stopped':
        this.#inEnd = true;
        return this.scheduler.vcpusStopped(this.#nowMs);
      case 'end':
        return this.scheduler.feedEnded(this.#nowMs);
    }
  }

  #deliverPage(page: number, record: { readonly isZero: boolean; readonly value: number }): void {
    const block = this.#blockOf[page]!;
    if (blocks[block]!.name === 'side') this.destination[page] = record.value;
    const { planted } = this.options;
    if (planted === 'names of END are dropped' && this.#inEnd) return;
    const isSent = this.table.wasSent(this.#globalOf[page]!);
    if (planted === 'a page that became zero again is not sent' && record.isZero && isSent) return;
    this.scheduler.pageNamed(block, this.#indexOf[page]!, record.isZero);
  }

  #grant(lane: number): void {
    this.#grantZeros(lane);
    const unacked = this.#reading[lane]!.length + this.#flying[lane]!.length + this.#placed[lane]!.length;
    const count = this.scheduler.nextBatch(lane, this.#nowMs, this.#out);
    if (count === 0) return;
    if (unacked >= limits.LANE_BATCHES_MAX) throw new Error(`Lane ${lane} has ${unacked} batches and got another`);
    this.#reading[lane]!.push({ id: this.#newId(lane), pages: this.#pagesOut(count), values: [] });
  }

  #grantZeros(lane: number): void {
    const count = this.scheduler.nextZeroBatch(lane, this.#out);
    if (count === 0) return;
    const pages = this.#pagesOut(count);
    this.zeroedPages += pages.length;
    const isForgotten = this.options.planted === 'pruned pages that were sent are not zeroed';
    const zeros = isForgotten ? { pages: [], values: [] } : { pages, values: pages.map(() => 0) };
    this.#reading[lane]!.push({ id: this.#newId(lane), ...zeros });
  }

  #pagesOut(count: number): number[] {
    const pages: number[] = [];
    for (let at = 0; at < count; at += 2) {
      for (let i = 0; i < this.#out[at + 1]!; i++) pages.push(this.#pageOf.get(this.#out[at]! + i)!);
    }
    return pages;
  }

  #newId(lane: number): number {
    const id = this.#nextIds[lane] ?? 0;
    this.#nextIds[lane] = id + 1;
    return id;
  }

  /** Content is read page by page, with guest writes in between. */
  #laneReads(lane: number): void {
    const batch = this.#reading[lane]![0];
    if (batch === undefined) return;
    const memory =
      this.options.planted === 'content is read before pending is cleared' ? this.#oldMemory : this.guest.memory;
    for (let left = 1 + this.random.below(40); left > 0 && batch.values.length < batch.pages.length; left--) {
      batch.values.push(memory[batch.pages[batch.values.length]!]!);
    }
    if (batch.values.length < batch.pages.length) return;
    this.#reading[lane]!.shift();
    this.#flying[lane]!.push(batch);
    const zeroPages = batch.values.filter((value) => value === 0).length;
    const dataPages = batch.pages.length - zeroPages;
    const wireBytes = dataPages * 4096 + 32;
    this.scheduler.batchSent(lane, { id: batch.id, dataPages, zeroPages, wireBytes }, this.#nowMs);
  }

  #destinationPlaces(lane: number): void {
    const flying = this.#flying[lane]!;
    const isFifo = this.options.planted !== 'a lane is not a FIFO';
    const [batch] = flying.splice(isFifo ? 0 : this.random.below(flying.length), 1);
    if (batch === undefined) return;
    for (const [i, page] of batch.pages.entries()) this.destination[page] = batch.values[i]!;
    this.#placed[lane]!.push(batch.id);
  }

  #acknowledge(lane: number): void {
    const placed = this.#placed[lane]!;
    const upTo = placed.splice(0, 1 + this.random.below(placed.length)).sort((a, b) => a - b);
    const id = upTo.at(-1);
    const allSent = this.#reading[lane]!.every((batch) => batch.id > (id ?? 0));
    if (id !== undefined && allSent) this.scheduler.batchAcked(lane, id, this.#nowMs);
  }
}

/** Runs one random order of steps to its end. */
export function runInterleaving(options: InterleavingOptions): InterleavingResult {
  const world = new World(options);
  let steps = 0;
  while (!world.hasEnded && steps < STEPS_MAX) {
    world.step();
    steps++;
  }
  world.table.checkInvariants();
  world.pullTheRest();
  const { switchover, rounds, directory } = world.scheduler.snapshot(steps);
  const listed = Object.values(directory).reduce((sum, pages) => sum + pages, 0);
  if (listed !== world.table.totalPages) throw new Error(`The directory lists ${listed} pages`);
  const ended = steps < STEPS_MAX;
  const { zeroedPages } = world;
  const prunedPages = world.table.sparedPages;
  const wrongPages = world.wrongPages();
  return {
    ended,
    steps,
    wrongPages,
    reason: switchover?.reason ?? null,
    rounds: rounds.length,
    prunedPages,
    zeroedPages,
  };
}
