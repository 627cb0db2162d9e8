/**
 * Pre-copy (Clark et al. 2005): ascending, round by round, until what is left fits the downtime target.
 *
 * Three stop rules, in this order: what is left fits the target; it has not shrunk for three rounds, and this round ends
 * near the best seen; the rounds are used up. The last one makes every migration end, however fast the guest writes.
 */
import { PageCursor } from '../pages/page-cursor.ts';
import type { PageTable } from '../pages/page-table.ts';
import { ShrinkingRounds } from './shrinking-rounds.ts';
import { refreshWhileUnsent, type Moment, type Strategy, type SwitchoverReason } from './strategy.ts';

const PATIENCE_ROUNDS = 3;

export type PrecopyOptions = { readonly downtimeTargetMs: number; readonly maxRounds: number };

export function createPrecopy(table: PageTable, options: PrecopyOptions): Strategy {
  const cursor = new PageCursor(table);
  const rounds = new ShrinkingRounds(PATIENCE_ROUNDS);

  function atRoundEnd(moment: Moment): SwitchoverReason | null {
    if (moment.leftPages !== null && rounds.roundEnded(moment.leftPages)) return 'rounds stopped shrinking';
    return moment.round >= options.maxRounds ? 'maximum rounds' : null;
  }

  return {
    name: 'precopy',
    isBounded: false,
    pick: (lane, maxPages, out) => cursor.take(lane, maxPages, out),
    decide: (moment) => {
      if (moment.at === 'sweepEnd') return null;
      const { predictedDowntimeMs } = moment;
      if (predictedDowntimeMs !== null && predictedDowntimeMs <= options.downtimeTargetMs) return 'downtime target met';
      return moment.at === 'roundEnd' ? atRoundEnd(moment) : null;
    },
    wantsSync: refreshWhileUnsent,
    guestStops: () => undefined,
  };
}
