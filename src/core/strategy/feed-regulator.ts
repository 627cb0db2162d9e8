/**
 * When QEMU's socket is read, and what the sweeps that come out of it mean.
 *
 * While it is not read, QEMU blocks in its write and the guest runs on: that bounds the rate of dirty syncs. `strict` is for
 * QEMU >= 8.1, which cannot switch over before it gets the switchover-ack:
 *
 *     first ──lap or empty PART──▶ held ──release()──▶ stale ──300 records or 20 ms──▶ old ──lap──▶ fresh
 *                                   ▲                                                  │            │
 *                                   └───────────────── empty PART ─────────────────────┴── lap ─────┘
 *
 * `stale` is what waited in the socket, `old` what QEMU's sync from before the release still had to name; everything
 * named in `fresh` comes from a sync after the release. An empty PART ends a sweep at once. `paced` (older QEMU, which
 * switches over by its own judgement) runs lap after lap in `fresh`, held only while our backlog exceeds its budget, so that
 * QEMU's measured bandwidth is ours. `open`: the guest is stopping or stopped, everything is read.
 */
import { assert } from '../base/assert.ts';
import * as limits from './limits.ts';
import { SweepTracker } from './sweep-tracker.ts';

export type FeedHold = 'strict' | 'paced';
export type FeedPhase = 'first' | 'held' | 'stale' | 'old' | 'fresh' | 'open';

/** A sweep that ended: how long after the previous one its sync was. */
export type Sweep = { readonly sinceMs: number; readonly first: boolean };

export class FeedRegulator {
  readonly #mode: FeedHold;
  readonly #tracker: SweepTracker;
  #phase: FeedPhase = 'first';
  #goal: number;
  #nowMs: number;
  #records = 0;
  #releasedMs = 0;
  #releasedRecords = 0;
  #freshSinceMs: number;
  #lastFreshMs = 0;
  #ended: Sweep | null = null;

  constructor(mode: FeedHold, spanPages: number, nowMs: number) {
    this.#mode = mode;
    this.#tracker = new SweepTracker(spanPages);
    this.#goal = spanPages;
    this.#nowMs = nowMs;
    this.#freshSinceMs = nowMs;
  }

  get phase(): FeedPhase {
    return this.#phase;
  }

  /** How far the first sweep has named all of memory (a global page, -1 before the first); Infinity once it is through. */
  get sweptPages(): number {
    return this.#phase === 'first' ? this.#tracker.position : Infinity;
  }

  /** About when the sync happened whose sweep is running or ended last. */
  get freshSinceMs(): number {
    return this.#freshSinceMs;
  }

  /** A record named a page. Hot: no allocation. */
  saw(globalPage: number): void {
    this.#records++;
    this.#tracker.saw(globalPage);
    if (this.#tracker.position >= this.#goal) this.#lapDone();
  }

  /** A PART ended; an empty one means that QEMU had nothing left to name. */
  partEnded(pages: number, nowMs: number): void {
    this.#records++;
    this.tick(nowMs);
    if (pages > 0) return;
    if (this.#phase === 'old') this.#freshSinceNow();
    if (this.#phase === 'first' || this.#phase === 'old' || this.#phase === 'fresh') this.#sweepEnded();
  }

  tick(nowMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    if (this.#phase !== 'stale') return;
    const records = this.#records - this.#releasedRecords;
    if (records >= limits.STALE_RECORDS || this.#nowMs - this.#releasedMs >= limits.STALE_MS) {
      this.#phase = 'old';
      this.#aimAtNextLap();
    }
  }

  /** Strict: everything of the last sweep is on its way; let QEMU sync and name what changed meanwhile. */
  release(): void {
    assert(this.#phase === 'held', `phase ${this.#phase} is held when it is released`);
    this.#phase = 'stale';
    this.#goal = Infinity;
    this.#releasedMs = this.#nowMs;
    this.#releasedRecords = this.#records;
  }

  /** From now on everything is read. */
  open(): void {
    this.#phase = 'open';
    this.#goal = Infinity;
  }

  /** The sweep that ended since the last call, if any. */
  takeEndedSweep(): Sweep | null {
    const ended = this.#ended;
    this.#ended = null;
    return ended;
  }

  #aimAtNextLap(): void {
    this.#goal = Math.max(0, this.#tracker.position) + this.#tracker.spanPages;
  }

  #lapDone(): void {
    if (this.#phase === 'old') {
      this.#freshSinceNow();
      this.#phase = 'fresh';
      this.#aimAtNextLap();
    } else {
      this.#sweepEnded();
    }
  }

  #freshSinceNow(): void {
    this.#lastFreshMs = this.#freshSinceMs;
    this.#freshSinceMs = this.#nowMs;
  }

  #sweepEnded(): void {
    const first = this.#phase === 'first';
    if (this.#mode === 'strict') {
      this.#ended = { sinceMs: this.#freshSinceMs - this.#lastFreshMs, first };
      this.#phase = 'held';
      this.#goal = Infinity;
      return;
    }
    this.#freshSinceNow();
    this.#ended = { sinceMs: this.#freshSinceMs - this.#lastFreshMs, first };
    this.#phase = 'fresh';
    this.#aimAtNextLap();
  }
}
