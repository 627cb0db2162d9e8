/**
 * The strategy that needs no parameter: the downtime target is its wish, the bound of MPLM its guarantee.
 *
 * Order: pages that the guest is not known to have written first, then the others, so that those that are written again
 * and again are sent late and seldom. It stops the guest, in this order, when
 * 1. what is left fits the downtime target;
 * 2. rounds have stopped shrinking, at a round that ends near the best seen: a local minimum of what is left;
 * 3. the time that was promised at the start is used up: at the end of the last round that fits it, or, should even the
 *    running round last too long, in the middle of it;
 * 4. the rounds are used up, for those who set that parameter.
 */
import type { PageTable } from '../pages/page-table.ts';
import * as limits from './limits.ts';
import { ShrinkingRounds } from './shrinking-rounds.ts';
import { refreshWhileUnsent, type Moment, type Strategy, type SwitchoverReason } from './strategy.ts';

const PATIENCE_ROUNDS = 1;
/** Rounds added for less downtime although the target is met. A guess that did not come true is not made for ever. */
const FURTHER_ROUNDS_MAX = 2;
/** A millisecond of downtime is worth so many of total time. */
const DOWNTIME_WORTH = 2;

export type AutoOptions = { readonly downtimeTargetMs: number; readonly maxRounds: number };

export function createAuto(table: PageTable, options: AutoOptions): Strategy {
  const coldCursors = new Float64Array(table.lanes);
  const dirtiedCursors = new Float64Array(table.lanes);
  let furtherRounds = 0;
  const rounds = new ShrinkingRounds(PATIENCE_ROUNDS);

  /** Hot: no allocation. */
  function pick(lane: number, maxPages: number, out: Uint32Array): number {
    const before = table.takenPages;
    const count = table.takeRuns(lane, coldCursors[lane]!, maxPages, out, 'neverDirtied');
    if (count > 0) coldCursors[lane] = out[count - 2]! + out[count - 1]!;
    const left = maxPages - (table.takenPages - before);
    const all = table.takeRuns(lane, dirtiedCursors[lane]!, left, out, 'dirtied', count);
    if (all > count) dirtiedCursors[lane] = out[all - 2]! + out[all - 1]!;
    return all;
  }

  /**
   * A further round sends now what would be sent while the guest is stopped, and costs a sync and what is dirtied
   * meanwhile: cheap as long as that is much less.
   */
  function isWorthARound({ leftPages, nextLeftPages, pagesPerMs, at, round }: Moment, leftMs: number): boolean {
    if (leftPages === null || nextLeftPages === null) return false;
    if (furtherRounds >= FURTHER_ROUNDS_MAX || round >= options.maxRounds) return false;
    const savedMs = (leftPages - nextLeftPages) / pagesPerMs;
    const costMs = nextLeftPages / pagesPerMs + limits.SYNC_MS;
    if (savedMs * DOWNTIME_WORTH < costMs || leftPages / pagesPerMs + limits.SYNC_MS > leftMs) return false;
    if (at === 'roundEnd') furtherRounds++;
    return true;
  }

  function atRoundEnd(moment: Moment, leftMs: number): SwitchoverReason | null {
    const { leftPages, pagesPerMs, round } = moment;
    if (leftPages !== null && rounds.roundEnded(leftPages)) return 'rounds stopped shrinking';
    if (leftPages !== null && leftPages / pagesPerMs > leftMs) return 'time bound reached';
    return round >= options.maxRounds ? 'maximum rounds' : null;
  }

  return {
    name: 'auto',
    isBounded: true,
    pick,
    decide: (moment) => {
      const { predictedDowntimeMs, boundLeftMs } = moment;
      const leftMs = boundLeftMs === null ? Infinity : boundLeftMs - limits.BOUND_STOP_MS;
      if (leftMs <= 0) return 'time bound reached';
      if (predictedDowntimeMs !== null && predictedDowntimeMs <= options.downtimeTargetMs) {
        return isWorthARound(moment, leftMs) ? null : 'downtime target met';
      }
      return moment.at === 'roundEnd' ? atRoundEnd(moment, leftMs) : null;
    },
    wantsSync: refreshWhileUnsent,
    guestStops: () => undefined,
  };
}
