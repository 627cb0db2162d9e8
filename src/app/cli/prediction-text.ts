/** Predictions in words: before a migration, and beside what came of it. Pure. */
import type { MigrationReport } from '../../core/model/migration.ts';
import type { LimitName, Prediction, Range } from '../../core/model/prediction.ts';
import { formatBytes, formatMs } from '../../core/model/units.ts';

export const limitWords: Readonly<Record<LimitName, string>> = {
  link: 'the link',
  processors: 'processors',
  writes: "the guest's writes",
  bandwidthLimit: 'the bandwidth limit',
  fixed: 'checks and start',
};

/** "Expected: 10.3 s to 14.1 s, downtime 133 ms to 218 ms, 113 MiB to 136 MiB on the wire; limited by the link". */
export function expectedText({ totalMs, downtimeMs, wireBytes, limitedBy }: Prediction): string {
  const figures = `${span(totalMs, formatMs)}, downtime ${span(downtimeMs, formatMs)}, ${span(wireBytes, formatBytes)} on the wire`;
  return `Expected: ${figures}; limited by ${limitWords[limitedBy]}`;
}

/** What was expected, and what it was. Null where nothing was expected, or where it did not come to its end. */
export function foretoldText({ predicted, outcome, totalMs, downtimeMs, bytes }: MigrationReport): string | null {
  if (predicted === null || outcome !== 'completed') return null;
  const one = (range: Range, measured: number, format: (value: number) => string): string =>
    `${span(range, format)} (was ${format(measured)})`;
  const total = one(predicted.totalMs, totalMs, formatMs);
  const downtime = downtimeMs === null ? '' : `, downtime ${one(predicted.downtimeMs, downtimeMs, formatMs)}`;
  return `total ${total}${downtime}, on the wire ${one(predicted.wireBytes, bytes.wire, formatBytes)}`;
}

function span({ low, high }: Range, format: (value: number) => string): string {
  const [from, to] = [format(low), format(high)];
  return from === to ? from : `${from} to ${to}`;
}
