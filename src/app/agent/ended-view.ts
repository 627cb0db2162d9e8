/** The last view of a migration, made from its report: for those that are only in the history. Pure. */
import type { MigrationReport, MigrationView } from '../../core/model/migration.ts';

export function endedView(report: MigrationReport): MigrationView {
  return {
    id: report.id,
    vm: report.vm,
    source: report.source,
    destination: report.destination,
    stage: 'ended',
    outcome: report.outcome,
    reason: report.reason,
    elapsedMs: report.totalMs,
    progress: 1,
    timeToGoMs: 0,
    round: report.rounds.at(-1)?.round ?? 0,
    boundMs: report.switchover?.boundMs ?? null,
    pagesTotal: report.pages.total,
    pagesPending: 0,
    pagesUndecided: 0,
    dirtyPagesPerSecond: 0,
    wireBytes: report.bytes.wire,
    wireBytesPerSecond: 0,
    directory: null,
    predicted: report.predicted,
  };
}
