/**
 * Post-copy (Hines and Gopalan 2009): the guest moves first, its memory follows.
 *
 * QEMU's device state comes only behind a sweep over all memory, so the guest is stopped at the end of the first one; the
 * lanes use that time. Whatever they have not sent by then is pulled.
 */
import type { PageTable } from '../pages/page-table.ts';
import { refreshWhileUnsent, type Strategy } from './strategy.ts';

export function createPostcopy(table: PageTable): Strategy {
  const cursors = new Float64Array(table.lanes);
  return {
    name: 'postcopy',
    isBounded: false,
    wantsSync: refreshWhileUnsent,
    guestStops: () => undefined,
    pick: (lane, maxPages, out) => {
      const count = table.takeRuns(lane, cursors[lane]!, maxPages, out);
      if (count > 0) cursors[lane] = out[count - 2]! + out[count - 1]!;
      return count;
    },
    decide: () => 'first sweep ended',
  };
}
