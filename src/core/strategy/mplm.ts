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
 * Deltas change what is worth sending before the stop: a page that was sent once costs next to nothing when it is sent again,
 * one that was not costs all of itself, in the downtime if need be. So where a few repeats have shown that they are cheap, the
 * first group is every page that was never sent, written or not. At most twice the memory it is all the same.
 *
 * QEMU before 8.1 (`paced`) cannot be made to sync within a sweep, and its first sweep takes as long as sending all it
 * names. There the first sweep is epoch 0 and the one after it is the dirtied half: the same two times memory.
 */
import { PageCursor } from '../pages/page-cursor.ts';
import type { PageTable } from '../pages/page-table.ts';
import * as limits from './limits.ts';
import type { Moment, Strategy, SwitchoverReason } from './strategy.ts';

const PACED_SWEEPS = 2;
/** An eighth of a batch. */
const REPEATS_SHIFT = 3;

export type MplmOptions = { readonly intervalMs: number };

export function createMplm(table: PageTable, { intervalMs }: MplmOptions): Strategy {
  const neverDirtied = new PageCursor(table);
  const dirtied = new PageCursor(table);
  const unsent = new PageCursor(table);
  /** Never-dirtied pages handed out, less dirtied ones. */
  let credit = 0;
  let isLate = false;
  /** Every page is sent once before the stop, or it is being found out whether that is worth it. */
  let sendsAllOnce = false;
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

  /** A few repeats, to know what they cost, and pages that were never sent. Hot: no allocation. */
  function pickUnsent(lane: number, maxPages: number, out: Uint32Array): number {
    const againBefore = table.takenAgainPages;
    const before = table.takenPages;
    const repeatsMax = Math.min(maxPages >>> REPEATS_SHIFT, credit);
    const count = dirtied.take(lane, repeatsMax, out, 'repeats');
    const repeats = table.takenAgainPages - againBefore;
    const all = unsent.take(lane, maxPages - repeats, out, 'unsent', count);
    credit += table.takenPages - before - 2 * repeats;
    return all;
  }

  function pick(lane: number, maxPages: number, out: Uint32Array): number {
    if (sendsAllOnce && !isStopping && table.pendingPagesOfLane(lane, 'neverDirtied') === 0) {
      const count = pickUnsent(lane, maxPages, out);
      if (count > 0) return count;
    }
    const before = table.takenPages;
    const count = dirtied.take(lane, dirtiedPagesMax(lane, maxPages), out, 'dirtied');
    const dirtiedPages = table.takenPages - before;
    const all = neverDirtied.take(lane, maxPages - dirtiedPages, out, 'neverDirtied', count);
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
    sendsAllOnce = isWorthAll(table, credit, moment, leftMs);
    if (halfAndHalfMs > limits.STOP_DELAY_MS || sendsAllOnce) return null;
    return 'never-dirtied pages all sent';
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

/** Whether pages that were dirtied and never sent are to be sent before the stop, or a few repeats, to know that. */
function isWorthAll(table: PageTable, credit: number, { repeatCost, pagesPerMs }: Moment, leftMs: number): boolean {
  const unsentMs = table.unsentPendingPages / pagesPerMs;
  if (unsentMs <= limits.STOP_DELAY_MS || unsentMs + limits.STOP_DELAY_MS > leftMs) return false;
  if (repeatCost === null) return table.unsentPendingPages < table.pendingPages && credit > limits.REPEATS_MIN;
  return repeatCost < limits.CHEAP_REPEAT;
}
