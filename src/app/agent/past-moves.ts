/** What the reports of earlier migrations tell of the next one. Pure. */
import type { MigrationReport } from '../../core/model/migration.ts';
import type { PastMove } from '../../core/model/prediction.ts';
import { uncorrected } from '../../core/predict/correction.ts';

/** Completed moves without a pull phase, in the order of the reports: what was pulled has a clock of its own. */
export function pastMoves(reports: readonly MigrationReport[]): PastMove[] {
  return reports.flatMap((report) => {
    const { outcome, options, downtimeMs, stagesMs, predicted, strategy, destination, verified } = report;
    // A comparison of all memory is in no prediction.
    if (outcome !== 'completed' || options.pull || verified || downtimeMs === null) return [];
    const figures = predicted && {
      totalMs: { measured: report.totalMs, range: uncorrected(predicted, 'totalMs') },
      downtimeMs: { measured: downtimeMs, range: uncorrected(predicted, 'downtimeMs') },
      wireBytes: { measured: report.bytes.wire, range: uncorrected(predicted, 'wireBytes') },
    };
    const { preMigration, reservation, activation, commitment } = stagesMs;
    const linkBytesPerSecond = predicted?.facts.path.linkBytesPerSecond ?? null;
    const times = { beforeMs: preMigration + reservation, afterMs: commitment + activation };
    return [{ strategy, destination, linkBytesPerSecond, ...times, figures }];
  });
}
