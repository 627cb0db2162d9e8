/**
 * The pump: the data plane of one migration at the source, in a thread of its own.
 *
 *     QEMU ──▶ FeedSocket ──▶ VmStreamReader ──▶ Scheduler (page table, strategy) ──▶ lanes ──▶ destination
 *       ◀── hold / read ───────────────────────────┘   ▲──────── sent, acked ─────────┘
 *
 * It only connects: the parser, the scheduler and the lanes do the work. A page is marked pending when its record was
 * parsed, and leaves the pending set when its batch is posted to a lane, which reads the content later than that (R1).
 */
import type { Worker } from 'node:worker_threads';
import type { PageKind } from '../../core/vmstream/constants.ts';
import type { RamBlock, VmStreamSink } from '../../core/vmstream/sink.ts';
import { VmStreamReader } from '../../core/vmstream/stream-reader.ts';
import { composeEpilogue, ramPart, switchoverStart } from '../../core/vmstream/stream-writer.ts';
import { pong, shut, switchoverAck } from '../../core/vmstream/return-path.ts';
import { ByteWriter } from '../../core/bytes/byte-writer.ts';
import { hasPullPhase } from '../../core/model/migration.ts';
import { PageTable } from '../../core/pages/page-table.ts';
import { createStrategy } from '../../core/strategy/create-strategy.ts';
import { Scheduler } from '../../core/strategy/scheduler.ts';
import { AppError, describeError } from '../../core/base/errors.ts';
import { BATCH_PAGES_MAX } from '../../io/lanes/lane-protocol.ts';
import { SourceLanePool } from '../../io/lanes/source-lane-pool.ts';
import { FerryError } from './errors.ts';
import { FeedSocket } from './feed-socket.ts';
import { SidePages } from './side-pages.ts';
import { Verification } from './verification.ts';
import type { FromPump, PruneAnswer, PullSet, PumpInit, PumpProgress, PumpTotals, ToPump } from './pump-protocol.ts';

/** The scheduler is asked at least this often; acks and feed data wake it earlier. */
const TICK_MS = 5;
const PROGRESS_MS = 200;
const PING_COMMAND = 2;
/** A stopped guest's stream is read at local speed, so its rest is a matter of milliseconds. */
const FINISH_MS_MAX = 1_000;
/** Side pages are forwarded in the middle of a sweep when there are so many. */
const SIDE_PART_PAGES = 512;

const noRuns = new Uint32Array(0);

type Post = (message: FromPump, transfer?: ArrayBuffer[]) => void;

export class Pump implements VmStreamSink {
  readonly #init: PumpInit;
  readonly #post: Post;
  readonly #feed: FeedSocket;
  readonly #reader: VmStreamReader;
  readonly #table: PageTable;
  #scheduler: Scheduler;
  readonly #lanes: SourceLanePool;
  readonly #side: SidePages;
  readonly #isSide: readonly boolean[];
  readonly #runs = new Uint32Array(2 * BATCH_PAGES_MAX);
  readonly #heats = new Uint8Array(BATCH_PAGES_MAX);
  readonly #nextIds: number[];
  #rawBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #progressAtMs = 0;
  #deviceState: Uint8Array<ArrayBuffer> | null = null;
  #switchoverAsked = false;
  #drainedPosted = false;
  /** With a pull phase the destination empties its memory first: what lanes placed before that would be lost. */
  #mayPlace: boolean;
  #verification: Verification | null = null;
  #isGuestStopped = false;
  #isShut = false;
  /** Set while the rest of a given-up stream is read. */
  #finishing: PromiseWithResolvers<void> | null = null;
  #ended = false;

  /** `workers`: the threads of the lanes, started ahead of time. */
  constructor(init: PumpInit, workers: Worker[], post: Post) {
    this.#init = init;
    this.#post = post;
    this.#mayPlace = !hasPullPhase(init.options);
    const lanes = init.lanes.ports.length;
    this.#isSide = init.blocks.map((block) => !block.direct);
    this.#side = new SidePages(init.blocks.map((block) => block.name));
    const blocks = init.blocks.map(({ name, usedBytes, direct, startsZero }) => ({
      name,
      pageCount: usedBytes / 4096,
      side: !direct,
      startsZero,
    }));
    this.#table = new PageTable(blocks, lanes);
    this.#scheduler = this.#newScheduler();
    this.#nextIds = init.lanes.ports.map(() => 0);
    this.#reader = new VmStreamReader(this);
    this.#feed = new FeedSocket(init.socketPath, {
      onChunk: (chunk) => (this.#finishing === null ? this.#guard(() => this.#onChunk(chunk)) : this.#readRest(chunk)),
      onClosed: (error) => this.#onFeedClosed(error),
    });
    this.#lanes = this.#openLanes(workers);
  }

  async start(): Promise<void> {
    try {
      await Promise.all([this.#feed.listen(), this.#lanes.ready()]);
      // Its clock starts with the pre-copy, not with the reservation.
      this.#scheduler = this.#newScheduler();
      this.#post({ type: 'listening' });
      this.#timer = setInterval(() => this.#guard(() => this.#advance()), TICK_MS);
    } catch (error) {
      this.#fail(error);
    }
  }

  receive(message: ToPump): void {
    switch (message.type) {
      case 'agentAnswered':
      case 'agentReady':
      case 'cacheDropped':
      case 'pageReport':
      case 'pruningFailed':
        this.#guard(() => this.#onPruneAnswer(message));
        return;
      case 'prologueLoaded':
        this.#mayPlace = true;
        return;
      case 'goSwitchover':
        this.#tellQemu(switchoverAck());
        return;
      case 'shut':
        this.#isShut = true;
        this.#tellQemu(shut(0), () => this.#post({ type: 'shutSent' }));
        return;
      case 'verify':
        this.#guard(() => this.#startVerify());
        return;
      case 'init':
      case 'close':
        // The thread's entry sees to these.
        return;
    }
  }

  #onPruneAnswer(answer: PruneAnswer): void {
    const now = performance.now();
    switch (answer.type) {
      case 'agentAnswered':
        this.#scheduler.agentAnswered();
        break;
      case 'agentReady':
        this.#scheduler.agentReady(answer.isProof, now);
        break;
      case 'cacheDropped':
        this.#scheduler.cacheDropped(now);
        break;
      case 'pageReport':
        this.#scheduler.reportArrived(answer.firstPage, answer.unneeded, now);
        break;
      case 'pruningFailed':
        this.#scheduler.pruningFailed();
    }
    this.#advance();
  }

  // --- VmStreamSink: what QEMU's stream tells -------------------------------------------------------------------

  configuration(): void {}

  blocks(list: readonly RamBlock[]): void {
    const expected = this.#init.blocks;
    const same = list.length === expected.length && list.every((block, i) => isSame(block, expected[i]));
    if (!same) throw new FerryError('FERRY_FEED', 'The RAM blocks changed between the reservation and the start');
    for (const [index, side] of this.#isSide.entries()) if (side) this.#reader.setCapture(index, true);
  }

  prologue(bytes: Uint8Array<ArrayBuffer>): void {
    this.#post({ type: 'prologue', bytes }, [bytes.buffer]);
  }

  command(number: number, payload: Uint8Array): void {
    if (number !== PING_COMMAND) return;
    this.#tellQemu(pong(new DataView(payload.buffer, payload.byteOffset).getUint32(0)));
  }

  page(block: number, page: number, kind: PageKind): void {
    this.#scheduler.pageNamed(block, page, kind === 0);
    if (kind === 0 && this.#isSide[block] === true) this.#side.setZero(block, page);
  }

  payload(block: number, page: number, bytes: Uint8Array): void {
    this.#side.setContent(block, page, bytes);
  }

  partEnd(pages: number): void {
    this.#scheduler.partEnded(pages, performance.now());
    // At the end of a sweep those that are known go ahead, so that the guest does not stand still for them.
    const isSweepEnd = pages === 0 && !this.#isGuestStopped;
    if (this.#side.count >= (isSweepEnd ? 1 : SIDE_PART_PAGES)) this.#flushSide();
  }

  switchoverStart(): void {}

  ramEndStarted(): void {
    this.#isGuestStopped = true;
    this.#scheduler.vcpusStopped(performance.now());
    this.#post({ type: 'guestStopped', atMs: performance.timeOrigin + performance.now() });
  }

  ramEnded(): void {
    this.#scheduler.feedEnded(performance.now());
  }

  deviceState(bytes: Uint8Array<ArrayBuffer>): void {
    this.#deviceState = bytes;
  }

  // --- the loop ---------------------------------------------------------------------------------------------------

  #onChunk(chunk: Uint8Array): void {
    this.#reader.push(chunk);
    this.#advance();
  }

  #openLanes(workers: Worker[]): SourceLanePool {
    const { memory, options, lanes } = this.#init;
    const { compress, maxBandwidthBytesPerSecond } = options;
    return new SourceLanePool(
      { ...lanes, memory, compress, deltaCacheBytes: deltaCacheBytesOf(options), maxBandwidthBytesPerSecond },
      {
        onSent: (lane, id, counts) =>
          this.#guard(() => {
            this.#rawBytes += counts.rawBytes;
            this.#scheduler.batchSent(lane, { ...counts, id }, performance.now());
            this.#advance();
          }),
        onAcked: (lane, id) =>
          this.#guard(() => {
            this.#scheduler.batchAcked(lane, id, performance.now());
            this.#advance();
          }),
        onVerified: (_lane, _id, result) => this.#guard(() => this.#onVerified(result.pages, result.mismatches)),
        onFailed: (error) => this.#fail(error),
      },
      workers,
    );
  }

  /** Gives every lane what it may have, follows the scheduler's wishes, and tells when all is done. */
  #advance(): void {
    if (this.#ended) return;
    const now = performance.now();
    for (let lane = 0; this.#mayPlace && lane < this.#lanes.lanes; lane++) this.#fillLane(lane, now);
    for (let order = this.#scheduler.nextReport(now); order !== null; order = this.#scheduler.nextReport(now)) {
      this.#post({ type: 'reportWanted', order });
    }
    const { feed, switchover: reason, drained } = this.#scheduler.tick(now);
    this.#feed.hold(feed === 'hold');
    if (reason !== null && !this.#switchoverAsked) this.#askForSwitchover(now);
    if (now - this.#progressAtMs >= PROGRESS_MS) {
      this.#progressAtMs = now;
      this.#post({ type: 'progress', progress: this.#progress(now) });
    }
    if (drained && this.#deviceState !== null && !this.#drainedPosted) this.#postDrained(this.#deviceState);
  }

  #askForSwitchover(now: number): void {
    const { switchover } = this.#scheduler.snapshot(now);
    if (switchover === null) return;
    this.#switchoverAsked = true;
    this.#post({ type: 'switchoverWanted', switchover });
  }

  #fillLane(lane: number, now: number): void {
    for (let length = this.#nextZeroRuns(lane); length > 0; length = this.#nextZeroRuns(lane)) {
      this.#lanes.send(lane, this.#nextIds[lane]!++, noRuns, { zeroRuns: this.#runs.slice(0, length) });
    }
    for (;;) {
      const length = this.#scheduler.nextBatch(lane, now, this.#runs);
      if (length === 0) return;
      const runs = this.#runs.subarray(0, length);
      const heats = this.#heats.subarray(0, this.#table.copyDirtyCounts(runs, this.#heats));
      this.#lanes.send(lane, this.#nextIds[lane]!++, runs, { heats });
    }
  }

  #nextZeroRuns(lane: number): number {
    return this.#scheduler.nextZeroBatch(lane, this.#runs);
  }

  #postDrained(deviceState: Uint8Array<ArrayBuffer>): void {
    this.#drainedPosted = true;
    if (hasPullPhase(this.#init.options)) return this.#postLeft(deviceState);
    const epilogue = composeEpilogue({
      ramSectionId: this.#reader.ramSectionId,
      sidePages: this.#side.take(),
      switchoverStart: this.#reader.sawSwitchoverStart,
      deviceState,
    });
    this.#post({ type: 'drained', epilogue, pull: null, totals: this.#totals() }, [epilogue.buffer]);
  }

  /** The destination pulls what is left; here only side pages and device state remain to be told. */
  #postLeft(deviceState: Uint8Array<ArrayBuffer>): void {
    const { ramSectionId, sawSwitchoverStart } = this.#reader;
    const before = new ByteWriter().bytes(ramPart(ramSectionId, this.#side.take()));
    if (sawSwitchoverStart) before.bytes(switchoverStart());
    const pull: PullSet = { ramSectionId, runs: this.#table.leftRuns(), beforeDiscards: before.take() };
    this.#post({ type: 'drained', epilogue: deviceState, pull, totals: this.#totals() });
  }

  #flushSide(): void {
    const bytes = ramPart(this.#reader.ramSectionId, this.#side.take());
    this.#post({ type: 'sidePart', bytes }, [bytes.buffer]);
  }

  // --- verify -----------------------------------------------------------------------------------------------------

  #startVerify(): void {
    this.#verification = new Verification(this.#table);
    // Ids of a lane's batches and verifies must differ.
    for (const { lane, runs } of this.#verification.requests()) this.#lanes.verify(lane, this.#nextIds[lane]!++, runs);
  }

  #onVerified(pages: number, mismatches: Uint32Array): void {
    if (this.#verification === null || !this.#verification.answered(pages, mismatches)) return;
    this.#post({ type: 'verified', ...this.#verification.result() });
    this.#verification = null;
  }

  #newScheduler(): Scheduler {
    const { feedHold, options, fixedDowntimeMs, prune, recheckPages } = this.#init;
    const { downtimeTargetMs, maxBandwidthBytesPerSecond } = options;
    const scheduler = new Scheduler({
      table: this.#table,
      strategy: createStrategy(options, this.#table),
      feedHold,
      ...{ prune, recheckPages },
      downtimeTargetMs,
      maxBandwidthBytesPerSecond,
      batchPages: BATCH_PAGES_MAX,
      pull: hasPullPhase(options),
      delta: deltaCacheBytesOf(options) > 0,
      nowMs: performance.now(),
    });
    scheduler.setFixedDowntimeMs(fixedDowntimeMs);
    return scheduler;
  }

  // --- ends -------------------------------------------------------------------------------------------------------

  #totals(): PumpTotals {
    const { rounds, pages, wireBytes, resentBytes, switchover, directory } = this.#scheduler.snapshot(
      performance.now(),
    );
    const { delta, unchanged } = this.#init.options.delta === 'on' ? pages : { delta: null, unchanged: null };
    const counts = { ...pages, delta, unchanged };
    const bytes = { wire: wireBytes, resent: resentBytes, raw: this.#rawBytes };
    return { switchover, rounds, pages: counts, directory, bytes };
  }

  #progress(nowMs: number): PumpProgress {
    const snapshot = this.#scheduler.snapshot(nowMs);
    const { directory, progress, timeToGoMs, round, boundMs, pagesPending, pagesUndecided } = snapshot;
    const { dirtyPagesPerSecond, wireBytes, wireBytesPerSecond } = snapshot;
    return {
      pagesTotal: snapshot.pages.total,
      progress,
      timeToGoMs,
      round,
      boundMs,
      pagesPending,
      pagesUndecided,
      dirtyPagesPerSecond,
      wireBytes,
      wireBytesPerSecond,
      directory,
    };
  }

  #tellQemu(bytes: Uint8Array, done?: () => void): void {
    this.#feed.write(bytes).then(done, (error: unknown) => this.#fail(error));
  }

  /** Reads the stream to its end, which is near, and lets QEMU finish its migration: it closes the socket then. */
  async #finishFeed(): Promise<void> {
    this.#feed.hold(false);
    if (this.#deviceState === null) await this.#readOn();
    if (this.#deviceState === null) return;
    const closed = this.#readOn();
    await this.#feed.write(shut(0)).catch(() => undefined);
    await closed;
  }

  /** Until the device state has come, or QEMU has closed its socket, or too much time has passed. */
  async #readOn(): Promise<void> {
    const finishing = Promise.withResolvers<void>();
    this.#finishing = finishing;
    const timer = setTimeout(() => finishing.resolve(), FINISH_MS_MAX);
    await finishing.promise;
    clearTimeout(timer);
  }

  #readRest(chunk: Uint8Array): void {
    try {
      this.#reader.push(chunk);
      if (this.#deviceState !== null) this.#finishing?.resolve();
    } catch {
      this.#finishing?.resolve();
    }
  }

  #onFeedClosed(error: Error | null): void {
    this.#finishing?.resolve();
    if (this.#ended) return;
    if (this.#reader.done) {
      this.#post({ type: 'feedClosed' });
      return;
    }
    this.#fail(
      new FerryError('FERRY_FEED', 'QEMU broke off its migration stream', {}, error === null ? {} : { cause: error }),
    );
  }

  #guard(work: () => void): void {
    if (this.#ended) return;
    try {
      work();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    const code = error instanceof AppError ? error.code : 'FERRY_INTERNAL';
    this.#post({ type: 'failed', code, message: describeError(error) });
  }

  /**
   * Ends it. A running guest goes on. A stopped one is left in `postmigrate`, to be continued by QMP: a QEMU whose stream is cut
   * resumes it by itself, even (7.2, 10.0) when another program holds the lock of its image by now, and aborts at its
   * next write.
   */
  async close(): Promise<void> {
    this.#ended = true;
    clearInterval(this.#timer);
    if (this.#isGuestStopped && !this.#isShut) await this.#finishFeed();
    this.#feed.close();
    await this.#lanes.stop();
    this.#post({ type: 'closed', totals: this.#totals() });
  }
}

function deltaCacheBytesOf({ delta, deltaCacheBytes }: PumpInit['options']): number {
  return delta === 'on' ? deltaCacheBytes : 0;
}

function isSame(block: RamBlock, expected: { name: string; usedBytes: number } | undefined): boolean {
  return block.name === expected?.name && block.usedBytes === expected.usedBytes;
}
