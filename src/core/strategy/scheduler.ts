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
import type { PageTable } from '../pages/page-table.ts';
import { DirtyRate } from './dirty-rate.ts';
import { FeedRegulator } from './feed-regulator.ts';
import { GuestStop, type StopTime } from './guest-stop.ts';
import * as limits from './limits.ts';
import { LinkWindow } from './link-window.ts';
import { pageDirectory } from './page-directory.ts';
import { Progress, timeToGoMs } from './progress.ts';
import { Pruning, type ReportOrder } from './pruning.ts';
import { remainingWork } from './remaining-work.ts';
import { RoundLog } from './round-log.ts';
import type { Orders, SchedulerOptions, SchedulerSnapshot, SentBatch } from './scheduler-types.ts';
import { SentTotals } from './sent-totals.ts';
import type { Moment, Strategy } from './strategy.ts';
import { SwitchoverBound, type BoundFacts } from './switchover-bound.ts';
import { TokenBucket } from './token-bucket.ts';

export class Scheduler {
  readonly #table: PageTable;
  readonly #options: SchedulerOptions;
  readonly #strategy: Strategy;
  readonly #feed: FeedRegulator;
  readonly #pruning: Pruning;
  readonly #link: LinkWindow;
  readonly #bucket: TokenBucket;
  readonly #dirty = new DirtyRate();
  readonly #stop = new GuestStop();
  readonly #log: RoundLog;
  readonly #bound: SwitchoverBound;
  readonly #startMs: number;
  readonly #progress = new Progress();
  /** Per lane, the batches not yet sent: their round, and how many of their pages had been sent before. */
  readonly #unsent: { roundIndex: number; againPages: number }[][];

  #feedHasEnded = false;
  #fixedDowntimeMs = limits.FIXED_DOWNTIME_MS;
  #roundsBegun = 1;
  readonly #sent = new SentTotals();
  #hasClosedRounds = false;
  /** The sync that was asked for came while pages were pending. */
  #isRefresh = false;

  constructor(options: SchedulerOptions) {
    const { table, nowMs } = options;
    this.#options = options;
    this.#table = table;
    this.#strategy = options.strategy;
    this.#feed = new FeedRegulator(options.feedHold, table.spanPages, nowMs);
    const { prune, reportPages, feedHold } = options;
    this.#pruning = new Pruning(table, { isOn: prune, isPaced: feedHold === 'paced', reportPages });
    this.#link = new LinkWindow(table.lanes, options.batchPages, nowMs);
    this.#bucket = new TokenBucket(options.maxBandwidthBytesPerSecond, nowMs);
    this.#log = new RoundLog(nowMs);
    this.#bound = new SwitchoverBound(nowMs);
    this.#startMs = nowMs;
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
    if (this.#stop.isStopped) return;
    this.#stop.stopped(this.#stopTime(nowMs));
    this.#pruning.guestStopped();
    this.#strategy.guestStops();
    if (!this.#options.pull) this.#table.releaseWithheld();
    const { recheckPages = 0 } = this.#options;
    if (recheckPages > 0) this.#table.recheckHottest(recheckPages);
    this.#feed.open();
    this.#log.close(this.#table.renamings, nowMs, 'stopAndCopy');
  }

  /** The END of the RAM section ended: every page that is dirty has been named. */
  feedEnded(nowMs: number): void {
    this.vcpusStopped(nowMs);
    this.#feedHasEnded = true;
  }

  /** What the guest's agent says, and what to ask it: see Pruning. */
  agentAnswered(): void {
    this.#pruning.contact();
  }

  agentReady(isProof: boolean, nowMs: number): void {
    this.#pruning.ready(isProof, nowMs);
  }

  cacheDropped(nowMs: number): void {
    this.#pruning.dropped(nowMs);
  }

  reportArrived(firstPage: number, unneeded: Uint32Array, nowMs: number): void {
    this.#pruning.answered(firstPage, unneeded, nowMs);
  }

  pruningFailed(): void {
    this.#pruning.fail();
  }

  /** To be asked of the guest now; null = nothing. Call it again until then, after every chunk and every answer. */
  nextReport(nowMs: number): ReportOrder | null {
    return this.#stop.isRunning ? this.#pruning.nextOrder(this.#feed.sweptPages, nowMs) : null;
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
    if (!this.#stop.isRunning && this.#options.pull) return 0;
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

  /**
   * Pages of a lane to be overwritten with zero, as pairs like nextBatch; counts as a batch. 0 = none for now. At most
   * out.length u32.
   */
  nextZeroBatch(lane: number, out: Uint32Array): number {
    if (this.#table.stalePages === 0 || !this.#link.isOpen(lane)) return 0;
    if (!this.#stop.isRunning && this.#options.pull) return 0;
    const count = this.#table.takeZeroRuns(lane, out);
    if (count === 0) return 0;
    this.#unsent[lane]!.push({ roundIndex: this.#log.openIndex, againPages: Infinity });
    this.#bucket.take(this.#link.granted(lane, 1));
    return count;
  }

  /** The lane has read the batch's content and queued it on its connection. */
  batchSent(lane: number, batch: SentBatch, nowMs: number): void {
    const correction = this.#link.sent(lane, batch.id, batch.wireBytes, nowMs);
    this.#bucket.take(correction);
    const { roundIndex, againPages } = this.#unsent[lane]!.shift()!;
    this.#log.sent(roundIndex, batch.dataPages, batch.wireBytes);
    this.#sent.add(batch, againPages);
  }

  /** The destination has placed the batch with this id and every earlier one of the lane. */
  batchAcked(lane: number, id: number, nowMs: number): void {
    this.#link.acked(lane, id, this.#table.pendingPages > 0, nowMs);
  }

  tick(nowMs: number): Orders {
    this.#feed.tick(nowMs);
    this.#pruning.tick(this.#feed.sweptPages, nowMs);
    this.#link.pass(this.#table.pendingPages > 0, nowMs);
    const sweep = this.#feed.takeEndedSweep();
    if (sweep !== null) {
      this.#dirty.sweepEnded(sweep, this.#table, this.#isRefresh);
      this.#isRefresh = false;
    }
    if (this.#strategy.isBounded) this.#keepBound(nowMs);
    if (this.#stop.isDraining) this.#stopWhenDue(nowMs);
    if (sweep !== null && this.#stop.isRunning) this.#consider(this.#moment('sweepEnd', nowMs), nowMs);
    if (this.#stop.isRunning) {
      if (this.#options.feedHold === 'paced') {
        if (sweep !== null) this.#atRoundEnd(nowMs);
      } else if (this.#feed.phase === 'held') this.#whileHeld(nowMs);
    }
    const { pull } = this.#options;
    const leftPages = pull ? this.#link.inFlightPages : this.#backlogPages() + this.#table.stalePages;
    const drained = this.#feedHasEnded && leftPages === 0;
    if (drained && !this.#hasClosedRounds) {
      this.#hasClosedRounds = true;
      this.#log.close(this.#table.renamings, nowMs);
    }
    return { feed: this.#feedOrder(), switchover: this.#stop.order, drained };
  }

  snapshot(nowMs: number): SchedulerSnapshot {
    const work = remainingWork(this.#table, this.#link, {
      isFirstSweep: this.#feed.phase === 'first',
      dirtyPagesPerSecond: this.#stop.isStopped ? 0 : this.#dirty.pagesPerSecond,
      fixedMs: this.#fixedDowntimeMs + (this.#stop.isRunning ? limits.STOP_DELAY_MS : 0),
    });
    const rounds = this.#log.reports();
    const zero = Math.min(this.#table.totalPages, this.#table.skippedZeroPages + this.#sent.zeroPages);
    return {
      progress: this.#progress.update(work),
      timeToGoMs: this.#link.isMeasured ? timeToGoMs(work) : null,
      round: this.#hasClosedRounds ? rounds.length : rounds.length + 1,
      rounds,
      pages: {
        total: this.#table.totalPages,
        sent: this.#sent.dataPages,
        resent: this.#sent.resentPages,
        zero,
        pruned: this.#options.prune ? this.#table.sparedPages : null,
        delta: this.#sent.deltaPages,
        unchanged: this.#sent.unchangedPages,
        pulled: this.#options.pull && this.#stop.isStopped ? this.#waitingPages : null,
      },
      directory: pageDirectory(this.#table, this.#link.inFlightPages),
      pagesPending: this.#waitingPages,
      pagesUndecided: this.#table.undecidedPages(),
      pagesInFlight: this.#link.inFlightPages,
      dirtyPagesPerSecond: this.#dirty.pagesPerSecond,
      wireBytes: this.#sent.wireBytes,
      resentBytes: this.#sent.resentBytes,
      wireBytesPerSecond: this.#link.wireBytesPerSecond ?? 0,
      predictedDowntimeMs: this.#moment('roundEnd', nowMs).predictedDowntimeMs,
      boundMs: this.#bound.boundMs,
      feedPhase: this.#feed.phase,
      switchover: this.#stop.report,
    };
  }

  /** Pages whose newest content the destination may not have, apart from what is in flight. */
  get #waitingPages(): number {
    const { pendingPages, withheldPages, stalePages } = this.#table;
    return pendingPages + withheldPages + stalePages;
  }

  #backlogPages(): number {
    return this.#table.pendingPages + this.#link.inFlightPages;
  }

  #feedOrder(): 'read' | 'hold' {
    if (this.#stop.isOrdered) return 'read';
    if (this.#pruning.holdsFeed(this.#feed.sweptPages)) return 'hold';
    if (this.#options.feedHold === 'strict') return this.#feed.phase === 'held' ? 'hold' : 'read';
    const targetPages = (this.#options.downtimeTargetMs / 2) * this.#link.pagesPerMs;
    const leastPages = limits.PACED_BATCHES_MIN * this.#table.lanes * this.#link.batchPages();
    return this.#backlogPages() > Math.max(targetPages, leastPages) ? 'hold' : 'read';
  }

  /** The fresh sweep is in and being sent: stop the guest when it drains just in time, or end the round. */
  #whileHeld(nowMs: number): void {
    this.#pruning.refresh(this.#unsentMs, nowMs);
    if (this.#backlogPages() <= this.#pruning.passMs * this.#link.pagesPerMs) this.#pruning.wantFinal();
    if (this.#table.pendingPages === 0 && this.#pruning.mayStop) {
      this.#atRoundEnd(nowMs);
      if (this.#stop.isRunning) this.#feed.release();
      return;
    }
    const wish = this.#syncWish(nowMs - this.#feed.freshSinceMs);
    if (wish !== null) {
      if (wish === 'round') this.#closeRound(nowMs);
      this.#isRefresh = true;
      this.#feed.release();
    } else if (this.#backlogPages() <= limits.STOP_DELAY_MS * this.#link.pagesPerMs) {
      this.#consider(this.#moment('approach', nowMs), nowMs);
    }
  }

  /** Lanes that have nothing to do until the guest has answered do not end a round. */
  #syncWish(sinceSyncMs: number): 'round' | 'refresh' | null {
    if (this.#table.pendingPages > 0) return this.#strategy.wantsSync(sinceSyncMs, this.#unsentMs);
    return sinceSyncMs >= limits.REFRESH_MS ? 'refresh' : null;
  }

  get #unsentMs(): number {
    return this.#table.unsentPendingPages / this.#link.pagesPerMs;
  }

  /** Promises a time until the stop once the rate is known, and asks the strategy all the time to keep it. */
  #keepBound(nowMs: number): void {
    if (!this.#stop.isRunning) return;
    const firstSweepEnded = this.#feed.phase !== 'first';
    if (this.#link.isMeasured && !this.#pruning.isLearning && this.#bound.isDue(firstSweepEnded, nowMs)) {
      this.#bound.promise(this.#boundFacts(nowMs), nowMs);
    }
    if (firstSweepEnded) this.#consider(this.#moment('sending', nowMs), nowMs);
  }

  #boundFacts(nowMs: number): BoundFacts {
    const { totalPages, namedPages, skippedZeroPages, takenPages, pendingNeverDirtiedPages } = this.#table;
    const { inFlightPages, pagesPerMs, wireBytesPerSecond } = this.#link;
    const unnamedPages = this.#feed.phase === 'first' ? totalPages - namedPages : 0;
    const placedPages = takenPages - inFlightPages;
    // What is left out without proof may have to be sent.
    const sparedPages = this.#pruning.mayStop ? 0 : this.#table.sparedPages;
    const prunedPages = this.#table.sparedPages - sparedPages;
    const elapsedMs = Math.max(1, nowMs - this.#startMs);
    // A first promise knows the newest rate only. Later ones must not be made of a lucky moment.
    const isFirst = this.#bound.boundMs === null;
    const wireBytesPerMs =
      Math.min(wireBytesPerSecond ?? 0, this.#options.maxBandwidthBytesPerSecond ?? Infinity) / 1000;
    return {
      pagesPerMs: isFirst ? pagesPerMs : Math.min(pagesPerMs, placedPages / elapsedMs),
      wireBytesPerMs: isFirst ? wireBytesPerMs : Math.min(wireBytesPerMs, this.#sent.wireBytes / elapsedMs),
      contentPages: totalPages - skippedZeroPages - prunedPages,
      placedPages,
      inFlightPages,
      unsentPages: pendingNeverDirtiedPages + unnamedPages + sparedPages,
      sweepLeftMs: (unnamedPages * elapsedMs) / Math.max(1, namedPages),
    };
  }

  #atRoundEnd(nowMs: number): void {
    this.#consider(this.#moment('roundEnd', nowMs), nowMs);
    if (this.#stop.isRunning) this.#closeRound(nowMs);
  }

  #closeRound(nowMs: number): void {
    this.#log.close(this.#table.renamings, nowMs);
    this.#roundsBegun++;
  }

  #consider(moment: Moment, nowMs: number): void {
    const reason = this.#strategy.decide(moment);
    if (reason === null) return;
    if (!this.#pruning.mayStop) return this.#pruning.wantFinal();
    const { predictedDowntimeMs } = this.#moment('approach', nowMs);
    this.#stop.decide({ reason, ...this.#stopTime(nowMs), expectedDowntimeMs: predictedDowntimeMs }, nowMs);
    this.#stopWhenDue(nowMs);
  }

  #stopWhenDue(nowMs: number): void {
    const { pull } = this.#options;
    const facts = {
      leftPages: pull ? this.#link.inFlightPages : this.#backlogPages(),
      pagesPerMs: this.#link.pagesPerMs,
      pull,
      isHeld: this.#feed.phase === 'held',
      boundLeftMs: this.#bound.leftMs(nowMs),
      dirtyPagesPerMsMin: this.#dirty.pagesPerMsMin,
    };
    if (!this.#stop.orderWhenDue(facts, nowMs)) return;
    this.#strategy.guestStops();
    this.#feed.open();
  }

  #stopTime(nowMs: number): StopTime {
    return { afterMs: nowMs - this.#startMs, rounds: this.#roundsBegun, boundMs: this.#bound.boundMs };
  }

  #moment(at: Moment['at'], nowMs: number): Moment {
    const { feedHold } = this.#options;
    const leftPages = at === 'sending' || this.#dirty.isEmpty ? null : this.#leftPages(nowMs);
    // QEMU below 8.1 watches the target itself; here only the other rules may stop the guest.
    const isKnown = leftPages !== null && feedHold === 'strict';
    return {
      at,
      round: this.#roundsBegun,
      leftPages,
      predictedDowntimeMs: isKnown ? this.#fixedDowntimeMs + leftPages / this.#link.pagesPerMs : null,
      neverDirtiedPages: this.#table.pendingNeverDirtiedPages,
      dirtyPagesPerMsMin: this.#dirty.shownPagesPerMsMin,
      pagesPerMs: this.#link.pagesPerMs,
      repeatCost: this.#options.delta === true ? this.#sent.repeatCost : 1,
      boundLeftMs: this.#bound.leftMs(nowMs),
      feedHold,
    };
  }

  /** The guest writes on until it has stopped, and the lanes go on sending. */
  #leftPages(nowMs: number): number {
    const unsent = Math.max(0, this.#backlogPages() - limits.STOP_DELAY_MS * this.#link.pagesPerMs);
    const sinceSyncMs = nowMs - this.#feed.freshSinceMs + limits.STOP_DELAY_MS;
    return Math.min(this.#table.totalPages, unsent + this.#dirty.expectedPages(sinceSyncMs));
  }
}
