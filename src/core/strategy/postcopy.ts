/**
 * Post-copy (Hines and Gopalan 2009): the guest moves first, its memory follows.
 *
 * QEMU's device state comes only behind a sweep over all memory, so the guest is stopped at the end of the first one; the
 * lanes use that time. Whatever they have not sent by then is pulled.
 */
import { PageCursor } from '../pages/page-cursor.ts';
import type { PageTable } from '../pages/page-table.ts';
import { refreshWhileUnsent, type Strategy } from './strategy.ts';

export function createPostcopy(table: PageTable): Strategy {
  const cursor = new PageCursor(table);
  return {
    name: 'postcopy',
    isBounded: false,
    wantsSync: refreshWhileUnsent,
    guestStops: () => undefined,
    pick: (lane, maxPages, out) => cursor.take(lane, maxPages, out),
    decide: () => 'first sweep ended',
  };
}
