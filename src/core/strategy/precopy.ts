/**
 * Pre-copy (Clark et al. 2005): ascending, round by round, until what is left fits the downtime target.
 *
 * Three stop rules, in this order: what is left fits the target; it has not shrunk for three rounds, and this round ends
 * near the best seen (no worse moment is taken just because patience ran out); the rounds are used up. The last one
 * makes every migration end, however fast the guest writes.
 */
import type { PageTable } from '../pages/page-table.ts';
import type { Moment, Strategy, SwitchoverReason } from './strategy.ts';

/** A round counts as shrinking when it leaves less than this share of the best so far. */
const SHRINKING = 0.95;
const PATIENCE_ROUNDS = 3;
/** Out of patience, a round end is good enough up to this multiple of the best so far, */
const NEAR_BEST = 1.1;
/** and with every further round up to this much more: the best may have been luck that does not come again. */
const NEAR_BEST_STEP = 0.1;

export type PrecopyOptions = { readonly downtimeTargetMs: number; readonly maxRounds: number };

export function createPrecopy(table: PageTable, options: PrecopyOptions): Strategy {
  const cursors = new Float64Array(table.lanes);
  let bestLeftPages = Infinity;
  let roundsNotShrinking = 0;

  function atRoundEnd(moment: Moment): SwitchoverReason | null {
    if (moment.leftPages !== null) {
      roundsNotShrinking = moment.leftPages < bestLeftPages * SHRINKING ? 0 : roundsNotShrinking + 1;
      bestLeftPages = Math.min(bestLeftPages, moment.leftPages);
      const roundsTooMany = roundsNotShrinking - PATIENCE_ROUNDS;
      if (roundsTooMany >= 0 && moment.leftPages <= bestLeftPages * (NEAR_BEST + roundsTooMany * NEAR_BEST_STEP)) {
        return 'rounds stopped shrinking';
      }
    }
    return moment.round >= options.maxRounds ? 'maximum rounds' : null;
  }

  return {
    name: 'precopy',
    pick: (lane, maxPages, out) => {
      const count = table.takeRuns(lane, cursors[lane]!, maxPages, out);
      if (count > 0) cursors[lane] = out[count - 2]! + out[count - 1]!;
      return count;
    },
    decide: (moment) => {
      if (moment.at === 'sweepEnd') return null;
      const { predictedDowntimeMs } = moment;
      if (predictedDowntimeMs !== null && predictedDowntimeMs <= options.downtimeTargetMs) return 'downtime target met';
      return moment.at === 'roundEnd' ? atRoundEnd(moment) : null;
    },
  };
}
