/** What a migration has done and has still to do, as far as is known: what the bar and the time to go are made of. */
import type { PageTable } from '../pages/page-table.ts';
import type { LinkWindow } from './link-window.ts';
import type { Work } from './progress.ts';

export type WorkFacts = Pick<Work, 'dirtyPagesPerSecond' | 'fixedMs'> & {
  /** The first sweep has not yet named all pages. */
  readonly isFirstSweep: boolean;
};

/** Walks over the chunks of which the guest has not said yet what it needs: for a display, not for every page. */
export function remainingWork(table: PageTable, link: LinkWindow, facts: WorkFacts): Work {
  const { isFirstSweep, dirtyPagesPerSecond, fixedMs } = facts;
  const { totalPages, namedPages, pendingNamings, takenPages } = table;
  // Of what the first sweep has not named yet, as much is taken to have content as of what it has.
  const unnamedPages = isFirstSweep ? totalPages - namedPages : 0;
  const contentShare = namedPages === 0 ? 1 : Math.min(1, pendingNamings / namedPages);
  const undecidedPages = table.undecidedPages();
  const undecidedLeftPages = undecidedPages * neededShare(table, undecidedPages);
  return {
    donePages: takenPages - link.inFlightPages,
    leftPages: table.pendingPages + link.inFlightPages + unnamedPages * contentShare + undecidedLeftPages,
    dirtyPagesPerSecond,
    pagesPerMs: link.pagesPerMs,
    fixedMs,
  };
}

/** Of the pages that the guest was asked about, those that it needs. */
function neededShare({ releasedPages, sparedPages }: PageTable, undecidedPages: number): number {
  const decidedPages = releasedPages + sparedPages - undecidedPages;
  return decidedPages === 0 ? 1 : releasedPages / decidedPages;
}
