/** When and why the guest was stopped, and what had been promised about it. */
import { formatMs } from './units.ts';

export type SwitchoverReport = {
  /** The stop rule. */
  readonly reason: string;
  /** From the beginning of the pre-copy to the guest's stop, or to the order for it while the guest still runs. */
  readonly afterMs: number;
  /** Rounds, or epochs, begun until then. */
  readonly rounds: number;
  /** Promised during the first moments: `afterMs` will be no more than this. Null: the strategy promises nothing, or had no time to. */
  readonly boundMs: number | null;
  /** When the order was given; null when it was not known, or QEMU stopped the guest by itself. */
  readonly expectedDowntimeMs: number | null;
};

/** One line: "downtime target met, 120 ms expected, after 4.10 s and 3 rounds (promised within 8.13 s)". */
export function switchoverText(switchover: SwitchoverReport): string {
  const { reason, afterMs, rounds, boundMs, expectedDowntimeMs } = switchover;
  const expected = expectedDowntimeMs === null ? '' : `, ${formatMs(expectedDowntimeMs)} expected`;
  const promised = boundMs === null ? '' : ` (promised within ${formatMs(boundMs)})`;
  return `${reason}${expected}, after ${formatMs(afterMs)} and ${rounds} round${rounds === 1 ? '' : 's'}${promised}`;
}
