/** Where every page is while a migration runs: DSM's directory, as counts (`vmferry show --pages`). */
import type { PageDirectory } from '../model/migration.ts';
import type { PageTable } from '../pages/page-table.ts';

export function pageDirectory(table: PageTable, inFlightPages: number): PageDirectory {
  const { totalPages, namedPages, pendingPages, withheldPages, sparedPages, skippedZeroPages } = table;
  const there = namedPages - pendingPages - withheldPages - sparedPages - skippedZeroPages;
  // A page may be on its way twice.
  const inFlight = Math.min(there, inFlightPages);
  return {
    unnamed: totalPages - namedPages,
    pending: pendingPages,
    withheld: withheldPages,
    spared: sparedPages,
    missing: 0,
    inFlight,
    placed: there - inFlight,
    zero: skippedZeroPages,
  };
}
