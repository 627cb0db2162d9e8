/**
 * When QEMU is told to stop the guest, once that is decided: what is in flight at the stop is downtime, because the device
 * state is sent when all pages are there (docs/strategies.md, "The stop itself").
 */
import * as limits from './limits.ts';

export type StopFacts = {
  readonly sinceDecisionMs: number;
  /** Pages that the lanes still have to bring, or with a pull phase have on their way. */
  readonly leftPages: number;
  readonly pagesPerMs: number;
  readonly pull: boolean;
  /** QEMU waits at the end of its sweep and names nothing new. */
  readonly isHeld: boolean;
  /** Null: no time is promised. */
  readonly boundLeftMs: number | null;
  /** The least that the guest was ever seen to dirty. */
  readonly dirtyPagesPerMsMin: number;
};

/** Whether the order is given now, or waits for the lanes. */
export function isStopDue(facts: StopFacts): boolean {
  if (facts.leftPages <= limits.STOP_IN_FLIGHT_MS * facts.pagesPerMs) return true;
  // With a pull phase nothing but the device state has to follow.
  return !facts.pull && !drainPays(facts);
}

/** Whether waiting makes the downtime shorter: the guest writes on meanwhile. */
function drainPays({ sinceDecisionMs, pagesPerMs, isHeld, boundLeftMs, dirtyPagesPerMsMin }: StopFacts): boolean {
  if (!isHeld || sinceDecisionMs >= limits.STOP_DELAY_MS) return false;
  if (boundLeftMs !== null && boundLeftMs <= limits.BOUND_STOP_MS) return false;
  return dirtyPagesPerMsMin < limits.DRAIN_DIRTY_SHARE * pagesPerMs;
}

/** QEMU's own limit in a paced migration: half of the target is left to our backlog and the fixed part. */
export function pacedDowntimeLimitMs(downtimeTargetMs: number): number {
  return Math.max(1, Math.round(downtimeTargetMs / 2));
}
