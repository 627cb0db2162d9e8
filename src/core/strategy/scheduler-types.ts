/** What the scheduler is told at first and by its lanes, what it orders, and what it shows of itself. */
import type { PageCounts, PageDirectory, RoundReport } from '../model/migration.ts';
import type { SwitchoverReport } from '../model/switchover.ts';
import type { PageTable } from '../pages/page-table.ts';
import type { FeedHold, FeedPhase } from './feed-regulator.ts';
import type { Strategy, SwitchoverReason } from './strategy.ts';

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
  /** Whether the guest will be asked which pages it can do without. */
  readonly prune: boolean;
  /** Pages of one question to it, a multiple of 512. */
  readonly reportPages?: number;
  /** What is left when the guest stops is pulled by the destination; lanes send nothing more. */
  readonly pull: boolean;
  /** Whether pages that are sent again may travel as deltas. */
  readonly delta?: boolean;
  /** When the guest has stopped, look at so many pages again although they were not named, because QEMU may miss writes. Default 0. */
  readonly recheckPages?: number;
};

/** What a lane says when it has read and framed a batch. */
export type SentBatch = {
  /** The n-th batch that nextBatch granted to this lane has id n, from 0. */
  readonly id: number;
  readonly dataPages: number;
  /** Of `dataPages`. */
  readonly deltaPages?: number;
  readonly unchangedPages?: number;
  /** Of `dataPages` and of `wireBytes`, what had been sent before; without it pages are counted by when they were handed out. */
  readonly resentPages?: number;
  readonly resentBytes?: number;
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
  /** Null before a rate is known. */
  readonly timeToGoMs: number | null;
  readonly round: number;
  readonly rounds: readonly RoundReport[];
  readonly pages: PageCounts;
  readonly directory: PageDirectory;
  readonly pagesPending: number;
  /** Named, but the guest has not said yet whether it needs them. */
  readonly pagesUndecided: number;
  readonly pagesInFlight: number;
  readonly dirtyPagesPerSecond: number;
  readonly wireBytes: number;
  /** Of these, of pages that had been sent before. */
  readonly resentBytes: number;
  /** What the link carries when it has something to carry. */
  readonly wireBytesPerSecond: number;
  /** The downtime if the guest were stopped now; null before the first measurement. */
  readonly predictedDowntimeMs: number | null;
  /** Promised: the guest is stopped at the latest so long after the start; null when nothing is, or not yet. */
  readonly boundMs: number | null;
  readonly feedPhase: FeedPhase;
  /** Null until the strategy, or QEMU, wants the guest stopped. */
  readonly switchover: SwitchoverReport | null;
};
