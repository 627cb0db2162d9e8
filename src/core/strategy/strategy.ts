/**
 * What a migration strategy decides, and nothing else: which pages go next, and when the guest is to be stopped.
 *
 * The scheduler asks; rates, windows, feed and rounds are its business. A strategy sees numbers only, so the same object
 * runs against QEMU, against the simulator and in a unit test.
 */
import type { StrategyName } from '../model/migration.ts';

/** Why the guest was stopped, as the report says it. */
export const switchoverReasons = [
  'downtime target met',
  'rounds stopped shrinking',
  'maximum rounds',
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
   * `approach`: what is pending will be sent by the time the guest stops. `roundEnd`: nothing is pending. `sweepEnd`: the feed
   * has named everything that was dirty, however much of it is pending.
   */
  readonly at: 'approach' | 'roundEnd' | 'sweepEnd';
  /** Rounds begun so far, this one included. */
  readonly round: number;
  /** Pages that would travel while the guest is stopped if it were stopped now; null before the first measurement. */
  readonly leftPages: number | null;
  /** The downtime of stopping now; null before the first measurement, and while QEMU itself watches the target. */
  readonly predictedDowntimeMs: number | null;
};

export type Strategy = {
  readonly name: StrategyName;
  /** Takes up to maxPages pending pages of a lane as runs into out; returns the u32 written, 0 = nothing pending. Hot. */
  readonly pick: (lane: number, maxPages: number, out: Uint32Array) => number;
  /** A reason to stop the guest now, or null to go on. Called for every moment, in order. */
  readonly decide: (moment: Moment) => SwitchoverReason | null;
};
