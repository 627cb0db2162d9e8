/**
 * What a migration strategy decides, and nothing else: which pages go next, when fresh namings are wanted, and when the guest
 * is to be stopped.
 *
 * The scheduler asks; rates, windows, feed and rounds are its business. A strategy sees numbers only, so the same object
 * runs against QEMU, against the simulator and in a unit test.
 */
import type { StrategyName } from '../model/migration.ts';
import * as limits from './limits.ts';

/** Why the guest was stopped, as the report says it. */
export const switchoverReasons = [
  'downtime target met',
  'rounds stopped shrinking',
  'maximum rounds',
  'never-dirtied pages all sent',
  'time bound reached',
  'guest writes faster than the link',
  'QEMU stopped the guest by itself',
  'few new dirty pages',
  'consistent but for the hot pages',
  'iterations reached their bound',
  'first sweep ended',
] as const;
export type SwitchoverReason = (typeof switchoverReasons)[number];

/** What is known at a moment at which the guest could be stopped. */
export type Moment = {
  /**
   * `approach`: what is pending will be sent by the time the guest stops. `roundEnd`: nothing is pending (`paced`: a sweep has
   * ended). `sweepEnd`: the feed has named everything that was dirty, however much of it is pending. `sending`: any other time
   * after the first sweep; only bounded strategies are asked then.
   */
  readonly at: 'approach' | 'roundEnd' | 'sweepEnd' | 'sending';
  /** Rounds begun so far, this one included. */
  readonly round: number;
  /** Pages that would travel while the guest is stopped if it were stopped now; null when that is not known. */
  readonly leftPages: number | null;
  /** The downtime of stopping now; null when that is not known, and while QEMU itself watches the target. */
  readonly predictedDowntimeMs: number | null;
  /** Pending pages that the guest is not known to have written since the migration began. */
  readonly neverDirtiedPages: number;
  /** The lowest rate at which it wrote to pages between any two syncs so far; 0 before there were a few. */
  readonly dirtyPagesPerMsMin: number;
  /** What the lanes and the link carry. */
  readonly pagesPerMs: number;
  /**
   * Wire bytes of a page that is sent again, as a share of those of one that is sent for the first time: small where deltas
   * help, 1 without them; null while too few were sent again.
   */
  readonly repeatCost: number | null;
  /** Until the time at which the guest was promised to be stopped at the latest; null without such a promise. */
  readonly boundLeftMs: number | null;
  /** `paced`: QEMU syncs at the end of a sweep only, and may stop the guest by itself. */
  readonly feedHold: 'strict' | 'paced';
};

/** `refresh`: for the order of pages only. `round`: a new round, or epoch, begins with it. */
export type SyncWish = 'refresh' | 'round';

export type Strategy = {
  readonly name: StrategyName;
  /** The scheduler promises a time until the stop (switchover-bound.ts), which the strategy keeps. */
  readonly isBounded: boolean;
  /** Takes up to maxPages pending pages of a lane as runs into out; returns the u32 written, 0 = nothing for now. Hot. */
  readonly pick: (lane: number, maxPages: number, out: Uint32Array) => number;
  /** A reason to stop the guest now, or null to go on. Called for every moment, in order. */
  readonly decide: (moment: Moment) => SwitchoverReason | null;
  /**
   * Whether fresh namings are wanted although pages are still pending. `sinceSyncMs`: age of what is known. `unsentMs`: what
   * pages that were never sent still take. Asked only where a sync can be had (`strict`).
   */
  readonly wantsSync: (sinceSyncMs: number, unsentMs: number) => SyncWish | null;
  /** The guest is being stopped, or was: from now on everything pending is to be handed out. */
  readonly guestStops: () => void;
};

/**
 * While pages wait for their first turn, fresh namings cost nothing: what the guest wrote to them goes with that turn.
 * Without them every page written before it was sent would be named in the next round and be sent twice.
 */
export function refreshWhileUnsent(sinceSyncMs: number, unsentMs: number): SyncWish | null {
  return unsentMs >= limits.REFRESH_MS && sinceSyncMs >= limits.REFRESH_MS ? 'refresh' : null;
}
