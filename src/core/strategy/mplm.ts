/**
 * Memory-bound pre-copy, MPLM (Chanchio and Yaothanee): no downtime parameter, and a length that can be promised.
 *
 * Pending pages are of two groups, those that the guest has not written since the migration began and those that it has.
 * Each has a cursor per lane that goes round memory. Epochs last `intervalMs` and begin with a dirty sync, which moves
 * pages from the first group to the second. Epoch 0 knows only the first; later batches are half and half. When the first
 * group is empty the guest is stopped, and what is dirty then is sent.
 *
 * Invariant: while the guest runs, no more dirtied pages were handed out than never-dirtied ones. So the pre-copy sends at
 * most twice what the guest holds, and ends, also when the guest writes faster than the link carries.
 *
 * QEMU before 8.1 (`paced`) cannot be made to sync within a sweep, and its first sweep takes as long as sending all it
 * names. There the first sweep is epoch 0 and the one after it is the dirtied half: the same two times memory.
 */
import type { PageTable } from '../pages/page-table.ts';
import * as limits from './limits.ts';
import type { Moment, Strategy, SwitchoverReason } from './strategy.ts';

const PACED_SWEEPS = 2;

export type MplmOptions = { readonly intervalMs: number };

export function createMplm(table: PageTable, { intervalMs }: MplmOptions): Strategy {
  const neverDirtiedCursors = new Float64Array(table.lanes);
  const dirtiedCursors = new Float64Array(table.lanes);
  /** Never-dirtied pages handed out, less dirtied ones. */
  let credit = 0;
  let isLate = false;
  let feedHold: Moment['feedHold'] = 'strict';
  let isStopping = false;

  /** Hot: no allocation. */
  function dirtiedPagesMax(lane: number, maxPages: number): number {
    if (isStopping || feedHold === 'paced') return maxPages;
    if (isLate) return 0;
    // A lane that has sent its never-dirtied pages goes on with others while it may, so that the link stays busy.
    const share = table.pendingPagesOfLane(lane, 'neverDirtied') > 0 ? maxPages >>> 1 : maxPages;
    return Math.min(share, credit);
  }

  function pick(lane: number, maxPages: number, out: Uint32Array): number {
    const before = table.takenPages;
    const count = table.takeRuns(lane, dirtiedCursors[lane]!, dirtiedPagesMax(lane, maxPages), out, 'dirtied');
    if (count > 0) dirtiedCursors[lane] = out[count - 2]! + out[count - 1]!;
    const dirtiedPages = table.takenPages - before;
    const all = table.takeRuns(lane, neverDirtiedCursors[lane]!, maxPages - dirtiedPages, out, 'neverDirtied', count);
    if (all > count) neverDirtiedCursors[lane] = out[all - 2]! + out[all - 1]!;
    credit += table.takenPages - before - 2 * dirtiedPages;
    return all;
  }

  function decide(moment: Moment): SwitchoverReason | null {
    ({ feedHold } = moment);
    const leftMs = moment.boundLeftMs === null ? Infinity : moment.boundLeftMs - limits.BOUND_STOP_MS;
    if (feedHold === 'paced') {
      const isThrough = moment.at === 'roundEnd' && moment.round >= PACED_SWEEPS;
      return isThrough ? 'never-dirtied pages all sent' : leftMs <= 0 ? 'time bound reached' : null;
    }
    // Half and half until nothing of the first group is left; what is sent within the delay of the stop counts as sent.
    const halfAndHalfMs = (2 * moment.neverDirtiedPages) / moment.pagesPerMs;
    isLate = halfAndHalfMs > leftMs;
    return halfAndHalfMs <= limits.STOP_DELAY_MS ? 'never-dirtied pages all sent' : null;
  }

  return {
    name: 'mplm',
    isBounded: true,
    pick,
    decide,
    wantsSync: (sinceSyncMs) => (sinceSyncMs >= intervalMs ? 'round' : null),
    guestStops: () => {
      isStopping = true;
    },
  };
}
