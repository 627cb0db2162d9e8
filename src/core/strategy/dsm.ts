/**
 * Pre-copy of the cold, pull of the hot (Daradkeh and Agarwal, "Distributed Shared Memory based Live VM Migration").
 *
 * Both hosts share one address space of pages; a page lives where its newest copy is. Pages of low locality (rarely
 * written) travel first, chunks without any written page before the others. A page that is written again while the
 * migration runs is withheld: it is sent only after it has been left alone for as many sweeps as it had been dirtied, and for
 * half of the migration so far: a guest that goes round its working set comes back.
 * What is still withheld when the guest stops is pulled by the destination, or, without a pull phase, sent while it is stopped.
 *
 * Three parameters end the pre-copy, looked at when a round has sent everything that is cold: the iterations reach their bound;
 * the destination's image is consistent but for the hot pages, because what the guest writes to is withheld already; few pages
 * are newly dirtied. More iterations would only send what has cooled and is soon written again: bytes that a pull saves.
 */
import { PageCursor } from '../pages/page-cursor.ts';
import type { PageTable } from '../pages/page-table.ts';
import { refreshWhileUnsent, type Moment, type Strategy, type SwitchoverReason } from './strategy.ts';

/** Rounds of the pre-copy unless --max-rounds says fewer: the first one sends memory, the other what cooled meanwhile. */
export const DSM_ROUNDS_MAX = 2;
/** A page written again even once is hot until it has been quiet. */
const HOT_FROM = 1;
/** Sweeps that even the hottest page must have been quiet for. */
const QUIET_SWEEPS_MAX = 8;
/** Newly dirtied pages are few below this share of guest memory, */
const FEW_SHARE = 1 / 256;
/** and below this number in any case: 1 MiB. */
const FEW_PAGES = 256;

/** The guest writes to withheld pages only when new ones are at most this share of them. */
const CONSISTENT_SHARE = 1 / 32;

export type DsmOptions = { readonly maxRounds: number };

export function createDsm(table: PageTable, options: DsmOptions): Strategy {
  const cursor = new PageCursor(table);
  const roundsMax = Math.min(options.maxRounds, DSM_ROUNDS_MAX);
  const fewPages = Math.max(FEW_PAGES, table.totalPages * FEW_SHARE);
  let sweeps = 0;
  let knownPages = 0;
  let newPages = Infinity;
  table.withholdFrom(HOT_FROM);

  /** Pages that the sweep brought and that were neither pending nor withheld before it. */
  function sweepEnded(): void {
    const known = table.pendingNamings + table.withheldNamings;
    newPages = known - knownPages;
    knownPages = known;
    sweeps++;
    table.coolWithheld(Math.ceil(sweeps / 2), QUIET_SWEEPS_MAX);
  }

  function atRoundEnd(moment: Moment): SwitchoverReason | null {
    if (newPages <= table.withheldPages * CONSISTENT_SHARE) return 'consistent but for the hot pages';
    if (newPages <= fewPages) return 'few new dirty pages';
    return moment.round >= roundsMax ? 'iterations reached their bound' : null;
  }

  return {
    name: 'dsm',
    isBounded: false,
    wantsSync: refreshWhileUnsent,
    guestStops: () => undefined,
    pick: (lane, maxPages, out) => {
      const count = cursor.take(lane, maxPages, out, 'calm');
      return count > 0 ? count : cursor.take(lane, maxPages, out);
    },
    decide: (moment) => {
      if (moment.at === 'sweepEnd') sweepEnded();
      return moment.at === 'roundEnd' ? atRoundEnd(moment) : null;
    },
  };
}
