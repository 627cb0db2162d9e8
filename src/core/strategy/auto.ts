/**
 * The strategy that needs no parameter: the downtime target is its wish, the bound of MPLM its guarantee.
 *
 * Order: pages that the guest is not known to have written first, those ahead of a write front last among them, then the others, so that
 * those that are written again and again are sent late and seldom. It stops the guest, in this order, when
 * 1. what is left fits the downtime target;
 * 2. rounds have stopped shrinking, at a round that ends near the best seen: a local minimum of what is left;
 * 3. at every sync so far the guest had written more than the link carries: what is left would be as much after every
 *    further round. It stops at the end of the first round, or, when the guest writes much more, as soon as every
 *    never-dirtied page was sent, because the others would be sent in vain;
 * 4. the time that was promised at the start is used up: at the end of the last round that fits it, or, should even the
 *    running round last too long, in the middle of it;
 * 5. the rounds are used up, for those who set that parameter.
 */
import { PageCursor } from '../pages/page-cursor.ts';
import type { PageTable } from '../pages/page-table.ts';
import * as limits from './limits.ts';
import { ShrinkingRounds } from './shrinking-rounds.ts';
import { refreshWhileUnsent, type Moment, type Strategy, type SwitchoverReason } from './strategy.ts';

const PATIENCE_ROUNDS = 1;
/**
 * Pages sent once in a time T, while a guest writes x times as many, spread evenly: the share (1 - exp(-x)) / x of them is
 * still clean after T. From this x on, the downtime that this saves is not worth T.
 */
const IN_VAIN_RATIO = 1.6;

export type AutoOptions = { readonly downtimeTargetMs: number; readonly maxRounds: number };

export function createAuto(table: PageTable, options: AutoOptions): Strategy {
  const neverDirtied = new PageCursor(table);
  const dirtied = new PageCursor(table);
  const rounds = new ShrinkingRounds(PATIENCE_ROUNDS);

  /** Hot: no allocation. */
  function pick(lane: number, maxPages: number, out: Uint32Array): number {
    const before = table.takenPages;
    let count = neverDirtied.take(lane, maxPages, out, 'undisturbed');
    while (count === 0 && table.pendingPagesOfLane(lane, 'neverDirtied') > 0 && table.drawNearer()) {
      count = neverDirtied.take(lane, maxPages, out, 'undisturbed');
    }
    return dirtied.take(lane, maxPages - (table.takenPages - before), out, 'dirtied', count);
  }

  /** Only pages that were written before are left, and sending them would save little: their repeats would cost as much again. */
  function isInVain({ neverDirtiedPages, dirtyPagesPerMsMin, pagesPerMs, repeatCost }: Moment): boolean {
    if (neverDirtiedPages > limits.STOP_DELAY_MS * pagesPerMs) return false;
    const hasRepeats = table.unsentPendingPages < table.pendingPages;
    if (repeatCost === null ? hasRepeats : repeatCost < limits.CHEAP_REPEAT) return false;
    const sendingMs = table.pendingPages / pagesPerMs;
    return dirtyPagesPerMsMin >= IN_VAIN_RATIO * pagesPerMs && sendingMs > options.downtimeTargetMs;
  }

  function atRoundEnd(moment: Moment, leftMs: number): SwitchoverReason | null {
    const { leftPages, pagesPerMs, round } = moment;
    if (moment.dirtyPagesPerMsMin >= pagesPerMs) return 'guest writes faster than the link';
    if (leftPages !== null && rounds.roundEnded(leftPages)) return 'rounds stopped shrinking';
    if (leftPages !== null && leftPages / pagesPerMs > leftMs) return 'time bound reached';
    return round >= options.maxRounds ? 'maximum rounds' : null;
  }

  return {
    name: 'auto',
    isBounded: true,
    pick,
    decide: (moment) => {
      if (moment.at === 'sweepEnd') {
        table.foreseeWrites();
        return null;
      }
      const { predictedDowntimeMs, boundLeftMs } = moment;
      const leftMs = boundLeftMs === null ? Infinity : boundLeftMs - limits.BOUND_STOP_MS;
      if (leftMs <= 0) return 'time bound reached';
      if (predictedDowntimeMs !== null && predictedDowntimeMs <= options.downtimeTargetMs) return 'downtime target met';
      if (moment.at === 'sending' && isInVain(moment)) return 'guest writes faster than the link';
      return moment.at === 'roundEnd' ? atRoundEnd(moment, leftMs) : null;
    },
    wantsSync: refreshWhileUnsent,
    guestStops: () => undefined,
  };
}
