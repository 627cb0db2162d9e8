/**
 * The heart of a migration's data plane, without any I/O: facts go in (what the feed named, what lanes sent, what
 * the destination placed, what time it is), orders come out (which pages next, read or hold the feed, stop the guest).
 * The pump drives it with sockets and threads, the simulator with models of them.
 *
 *     feed ──pageNamed──▶ PageTable ──Strategy.pick──▶ nextBatch ──▶ lanes ──batchSent, batchAcked──▶ LinkWindow
 *       ▲                                                                                            │ rates
 *       └──── tick().feed: read, hold ◀── FeedRegulator ── rounds, DirtyHistory ── Strategy.decide ◀─┘
 *
 * Driving it: read the feed only while the last tick said `read`, and call tick after every chunk that was read; give a
 * lane batches until nextBatch says 0, again after every batchSent, batchAcked and chunk; tick at least every 5 ms.
 * Times are milliseconds of a monotonic clock.
 *
 * Invariants: R1 is the page table's. R2: batches of a lane are read and sent in the order of nextBatch. R3: `drained` is true
 * only when the feed has ended, nothing is pending and every batch was acknowledged.
 */
import { assert } from '../base/assert.ts';
import type { PageCounts, PageDirectory, RoundReport } from '../model/migration.ts';
import type { PageTable } from '../pages/page-table.ts';
import { DirtyHistory } from './dirty-history.ts';
import { FeedRegulator, type FeedHold, type FeedPhase } from './feed-regulator.ts';
import * as limits from './limits.ts';
import { LinkWindow } from './link-window.ts';
import { Progress, timeToGoMs, type Work } from './progress.ts';
import { RoundLog } from './round-log.ts';
import type { Moment, Strategy, SwitchoverReason } from './strategy.ts';
import { TokenBucket } from './token-bucket.ts';

export type SchedulerOptions = {
  /** Knows the number of lanes. */
  readonly table: PageTable;
  /**
   * `strict`: QEMU >= 8.1 with return-path and switchover-ack, the ack withheld. `paced`: older; set QEMU's downtime-limit
   * to what pacedDowntimeLimitMs says.
   */
  readonly feedHold: FeedHold;
  readonly downtimeTargetMs: number;
  readonly maxBandwidthBytesPerSecond: number | null;
  /** Most pages of one batch. */
  readonly batchPages: number;
  readonly nowMs: number;
  readonly strategy: Strategy;
  /** What is left when the guest stops is pulled by the destination; lanes send nothing more. */
  readonly pull: boolean;
};

/** What a lane says when it has read and framed a batch. */
export type SentBatch = {
  /** The n-th batch that nextBatch granted to this lane has id n, from 0. */
  readonly id: number;
  readonly dataPages: number;
  readonly zeroPages: number;
  readonly wireBytes: number;
};

export type Orders = {
  readonly feed: 'read' | 'hold';
  /** Why the guest is to be stopped; null before that is decided, and again once it has stopped. */
  readonly switchover: SwitchoverReason | null;
  /** The feed has ended and everything that it named is placed at the destination. */
  readonly drained: boolean;
};

export type SchedulerSnapshot = {
  /** 0 to 0.99, never decreasing. */
  readonly progress: number;
  readonly timeToGoMs: number;
  readonly round: number;
  readonly rounds: readonly RoundReport[];
  readonly pages: PageCounts;
  readonly directory: PageDirectory;
  readonly pagesPending: number;
  readonly pagesInFlight: number;
  readonly dirtyPagesPerSecond: number;
  readonly wireBytes: number;
  /** What the link carries when it has something to carry. */
  readonly wireBytesPerSecond: number;
  /** The downtime if the guest were stopped now; null before the first measurement. */
  readonly predictedDowntimeMs: number | null;
  readonly feedPhase: FeedPhase;
  readonly switchoverReason: SwitchoverReason | null;
};

/** QEMU's own limit in a paced migration: half of the target is left to our backlog and the fixed part. */
export function pacedDowntimeLimitMs(downtimeTargetMs: number): number {
  return Math.max(1, Math.round(downtimeTargetMs / 2));
}

export class Scheduler {
  readonly #table: PageTable;
  readonly #options: SchedulerOptions;
  readonly #strategy: Strategy;
  readonly #feed: FeedRegulator;
  readonly #link: LinkWindow;
  readonly #bucket: TokenBucket;
  readonly #dirty = new DirtyHistory();
  readonly #log: RoundLog;
  readonly #progress = new Progress();
  /** Per lane, the batches not yet sent: their round, and how many of their pages had been sent before. */
  readonly #unsent: { roundIndex: number; againPages: number }[][];

  /** `draining`: to be stopped as soon as little is in flight. `stopping`: QEMU has the order. */
  #guest: 'running' | 'draining' | 'stopping' | 'stopped' = 'running';
  #feedHasEnded = false;
  #reason: SwitchoverReason | null = null;
  #fixedDowntimeMs = limits.FIXED_DOWNTIME_MS;
  #roundsBegun = 1;
  #namingsAtSweepEnd = 0;
  #dataPages = 0;
  #zeroPages = 0;
  #resentPages = 0;
  #wireBytes = 0;
  #hasClosedRounds = false;
  #isRefresh = false;

  constructor(options: SchedulerOptions) {
    const { table, nowMs } = options;
    this.#options = options;
    this.#table = table;
    this.#strategy = options.strategy;
    this.#feed = new FeedRegulator(options.feedHold, table.spanPages, nowMs);
    this.#link = new LinkWindow(table.lanes, options.batchPages, nowMs);
    this.#bucket = new TokenBucket(options.maxBandwidthBytesPerSecond, nowMs);
    this.#log = new RoundLog(nowMs);
    this.#unsent = Array.from({ length: table.lanes }, () => []);
  }

  /**
   * A record of the feed named a page of the block with that index in the table. Throws PagesError when there is no such
   * page. Hot: no allocation.
   */
  pageNamed(blockIndex: number, page: number, isZero: boolean): void {
    assert(!this.#feedHasEnded, 'no page is named after the end of the feed');
    const global = this.#table.globalPage(blockIndex, page);
    this.#table.name(global, isZero);
    this.#feed.saw(global);
  }

  /** A PART of the RAM section ended (its EOS, do not wait for the footer) after naming so many pages. */
  partEnded(pages: number, nowMs: number): void {
    this.#feed.partEnded(pages, nowMs);
  }

  /** The END of the RAM section began: the guest is stopped. */
  vcpusStopped(nowMs: number): void {
    if (this.#guest === 'stopped') return;
    this.#reason ??= 'QEMU stopped the guest by itself';
    this.#guest = 'stopped';
    if (!this.#options.pull) this.#table.releaseWithheld();
    this.#feed.open();
    this.#log.close(this.#table.renamings, nowMs, 'stopAndCopy');
  }

  /** The END of the RAM section ended: every page that is dirty has been named. */
  feedEnded(nowMs: number): void {
    this.vcpusStopped(nowMs);
    this.#feedHasEnded = true;
  }

  /** What stopping, device state and round trips are measured or known to take. */
  setFixedDowntimeMs(ms: number): void {
    this.#fixedDowntimeMs = ms;
  }

  /**
   * The next batch of a lane as pairs [first global page, page count] in out; returns the u32 written. 0 = nothing for
   * now: nothing is pending, the window is full, or the bandwidth is used up. Its content must be read after this call.
   */
  nextBatch(lane: number, nowMs: number, out: Uint32Array): number {
    // From the order to stop on what is left is pulled: what is on its way then would only hold up the device state.
    if (this.#guest !== 'running' && this.#options.pull) return 0;
    if (!this.#link.isOpen(lane) || this.#table.pendingPagesOfLane(lane) === 0 || !this.#bucket.isOpen(nowMs)) return 0;
    this.#link.pass(this.#table.pendingPages > 0, nowMs);
    const capped = Math.floor(this.#bucket.pagesMax(this.#link.wireBytesPerPage));
    const pagesMax = Math.max(1, Math.min(this.#link.batchPages(), capped));
    const takenBefore = this.#table.takenPages;
    const againBefore = this.#table.takenAgainPages;
    const count = this.#strategy.pick(lane, pagesMax, out);
    if (count === 0) return 0;
    const againPages = this.#table.takenAgainPages - againBefore;
    this.#unsent[lane]!.push({ roundIndex: this.#log.openIndex, againPages });
    this.#bucket.take(this.#link.granted(lane, this.#table.takenPages - takenBefore));
    return count;
  }

  /** The lane has read the batch's content and queued it on its connection. */
  batchSent(lane: number, batch: SentBatch, nowMs: number): void {
    const correction = this.#link.sent(lane, batch.id, batch.wireBytes, nowMs);
    this.#bucket.take(correction);
    const { roundIndex, againPages } = this.#unsent[lane]!.shift()!;
    this.#log.sent(roundIndex, batch.dataPages, batch.wireBytes);
    this.#dataPages += batch.dataPages;
    this.#resentPages += Math.min(againPages, batch.dataPages);
    this.#zeroPages += Math.max(0, batch.zeroPages - againPages);
    this.#wireBytes += batch.wireBytes;
  }

  /** The destination has placed the batch with this id and every earlier one of the lane. */
  batchAcked(lane: number, id: number, nowMs: number): void {
    this.#link.acked(lane, id, this.#table.pendingPages > 0, nowMs);
  }

  tick(nowMs: number): Orders {
    this.#feed.tick(nowMs);
    this.#link.pass(this.#table.pendingPages > 0, nowMs);
    const sweep = this.#feed.takeEndedSweep();
    if (sweep !== null) {
      const pages = this.#table.pendingNamings - this.#namingsAtSweepEnd;
      this.#namingsAtSweepEnd = this.#table.pendingNamings;
      // A refresh names only what is not pending anyway, which says too little about the guest.
      if (!sweep.first && !this.#isRefresh) this.#dirty.add(sweep.sinceMs, pages);
      this.#isRefresh = false;
    }
    if (this.#guest === 'draining') this.#stopWhenDrained();
    if (sweep !== null && this.#guest === 'running') this.#consider(this.#moment('sweepEnd', nowMs));
    if (this.#guest === 'running') {
      if (this.#options.feedHold === 'paced') {
        if (sweep !== null) this.#atRoundEnd(nowMs);
      } else if (this.#feed.phase === 'held') this.#whileHeld(nowMs);
    }
    const leftPages = this.#options.pull ? this.#link.inFlightPages : this.#backlogPages();
    const drained = this.#feedHasEnded && leftPages === 0;
    if (drained && !this.#hasClosedRounds) {
      this.#hasClosedRounds = true;
      this.#log.close(this.#table.renamings, nowMs);
    }
    return { feed: this.#feedOrder(), switchover: this.#guest === 'stopping' ? this.#reason : null, drained };
  }

  snapshot(nowMs: number): SchedulerSnapshot {
    const work = this.#work();
    const rounds = this.#log.reports();
    const zero = Math.min(this.#table.totalPages, this.#table.skippedZeroPages + this.#zeroPages);
    return {
      progress: this.#progress.update(work),
      timeToGoMs: timeToGoMs(work),
      round: this.#hasClosedRounds ? rounds.length : rounds.length + 1,
      rounds,
      pages: {
        total: this.#table.totalPages,
        sent: this.#dataPages,
        resent: this.#resentPages,
        zero,
        pruned: null,
        delta: null,
        pulled: this.#options.pull && this.#guest === 'stopped' ? this.#leftPages : null,
      },
      directory: this.#directory(),
      pagesPending: this.#leftPages,
      pagesInFlight: this.#link.inFlightPages,
      dirtyPagesPerSecond: this.#dirty.pagesPerSecond,
      wireBytes: this.#wireBytes,
      wireBytesPerSecond: this.#link.wireBytesPerSecond ?? 0,
      predictedDowntimeMs: this.#moment('roundEnd', nowMs).predictedDowntimeMs,
      feedPhase: this.#feed.phase,
      switchoverReason: this.#reason,
    };
  }

  #directory(): PageDirectory {
    const {
      totalPages,
      namedPages,
      pendingPages: pending,
      withheldPages: withheld,
      skippedZeroPages: zero,
    } = this.#table;
    const there = namedPages - pending - withheld - zero;
    // A page may be on its way twice.
    const inFlight = Math.min(there, this.#link.inFlightPages);
    return {
      unnamed: totalPages - namedPages,
      pending,
      withheld,
      missing: 0,
      inFlight,
      placed: there - inFlight,
      zero,
    };
  }

  /** Pages whose newest content the destination may not have, apart from what is in flight. */
  get #leftPages(): number {
    return this.#table.pendingPages + this.#table.withheldPages;
  }

  #backlogPages(): number {
    return this.#table.pendingPages + this.#link.inFlightPages;
  }

  #feedOrder(): 'read' | 'hold' {
    if (this.#guest === 'stopping' || this.#guest === 'stopped') return 'read';
    if (this.#options.feedHold === 'strict') return this.#feed.phase === 'held' ? 'hold' : 'read';
    const targetPages = (this.#options.downtimeTargetMs / 2) * this.#link.pagesPerMs;
    const leastPages = limits.PACED_BATCHES_MIN * this.#table.lanes * this.#link.batchPages();
    return this.#backlogPages() > Math.max(targetPages, leastPages) ? 'hold' : 'read';
  }

  /** The fresh sweep is in and being sent: stop the guest when it drains just in time, or end the round. */
  #whileHeld(nowMs: number): void {
    if (this.#table.pendingPages === 0) {
      this.#atRoundEnd(nowMs);
      if (this.#guest === 'running') this.#feed.release();
    } else if (this.#wantsRefresh(nowMs)) {
      this.#isRefresh = true;
      this.#feed.release();
    } else if (this.#backlogPages() <= limits.STOP_DELAY_MS * this.#link.pagesPerMs) {
      this.#consider(this.#moment('approach', nowMs));
    }
  }

  /**
   * While pages wait for their first turn, fresh namings cost nothing: what the guest wrote to them goes with that turn.
   * Without them every page written before it was sent would be named in the next round and be sent twice.
   */
  #wantsRefresh(nowMs: number): boolean {
    const unsentMs = this.#table.unsentPendingPages / this.#link.pagesPerMs;
    return unsentMs >= limits.REFRESH_MS && nowMs - this.#feed.freshSinceMs >= limits.REFRESH_MS;
  }

  #atRoundEnd(nowMs: number): void {
    this.#consider(this.#moment('roundEnd', nowMs));
    if (this.#guest !== 'running') return;
    this.#log.close(this.#table.renamings, nowMs);
    this.#roundsBegun++;
  }

  #consider(moment: Moment): void {
    const reason = this.#strategy.decide(moment);
    if (reason === null) return;
    this.#reason = reason;
    this.#guest = 'draining';
    this.#stopWhenDrained();
  }

  /** With a pull phase nothing but the device state has to follow, which would wait for what is in flight. */
  #stopWhenDrained(): void {
    const { pull } = this.#options;
    if (pull && this.#link.inFlightPages > limits.STOP_IN_FLIGHT_MS * this.#link.pagesPerMs) return;
    this.#guest = 'stopping';
    this.#feed.open();
  }

  /** The guest writes on until it has stopped, and the lanes go on sending. */
  #moment(at: Moment['at'], nowMs: number): Moment {
    const round = this.#roundsBegun;
    if (this.#dirty.isEmpty) return { at, round, leftPages: null, predictedDowntimeMs: null };
    const { pagesPerMs } = this.#link;
    const unsent = Math.max(0, this.#backlogPages() - limits.STOP_DELAY_MS * pagesPerMs);
    const sinceSyncMs = nowMs - this.#feed.freshSinceMs + limits.STOP_DELAY_MS;
    const leftPages = Math.min(this.#table.totalPages, unsent + this.#dirty.expectedPages(sinceSyncMs));
    // QEMU below 8.1 watches the target itself; here only the other rules may stop the guest.
    const paced = this.#options.feedHold === 'paced';
    return { at, round, leftPages, predictedDowntimeMs: paced ? null : this.#fixedDowntimeMs + leftPages / pagesPerMs };
  }

  #work(): Work {
    const { totalPages, namedPages, pendingNamings, takenPages } = this.#table;
    // Of what the first sweep has not named yet, as much is taken to have content as of what it has.
    const unnamed = this.#feed.phase === 'first' ? totalPages - namedPages : 0;
    const contentShare = namedPages === 0 ? 1 : Math.min(1, pendingNamings / namedPages);
    const stoppingMs = this.#guest === 'running' ? limits.STOP_DELAY_MS : 0;
    return {
      donePages: takenPages - this.#link.inFlightPages,
      leftPages: this.#backlogPages() + unnamed * contentShare,
      dirtyPagesPerSecond: this.#guest === 'stopped' ? 0 : this.#dirty.pagesPerSecond,
      pagesPerMs: this.#link.pagesPerMs,
      fixedMs: this.#fixedDowntimeMs + stoppingMs,
    };
  }
}
