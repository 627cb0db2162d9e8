/**
 * A migration as its destination sees it while the guest runs here and pages of it are still at the source, and after the
 * source was lost: the same view and report as at the source, as far as this side knows. Pure.
 */
import { defaultMigrationOptions, reportedOptions } from '../../core/model/migration.ts';
import type { MigrationReport, MigrationView, StageName } from '../../core/model/migration.ts';
import { formatMs } from '../../core/model/units.ts';

export type Arrival = {
  readonly id: string;
  readonly vm: string;
  readonly source: string;
  readonly destination: string;
  readonly startedAt: string;
  readonly elapsedMs: number;
  /** `lost`: nothing of what is missing will come any more. */
  readonly state: 'pulling' | 'lost';
  readonly totalPages: number;
  /** Pages that were still at the source when the guest, or this agent, began to run here; null = not known any more. */
  readonly leftPages: number | null;
  /** Null only with `lost`: a former agent of this host knew. */
  readonly missingPages: number | null;
  /** describeMissing of core/pages/missing-summary.ts; looks at every page. */
  readonly whereMissing: () => string;
  /** How long the source has not been connected; null = it is. */
  readonly silentMs: number | null;
  /** The destination's own QEMU has ended: it, not the source, is what was lost. */
  readonly hasQemuEnded: boolean;
};

export function arrivalView(arrival: Arrival): MigrationView {
  const { id, vm, source, destination, elapsedMs, state, totalPages } = arrival;
  const missingPages = arrival.missingPages ?? 0;
  const isLost = state === 'lost';
  const left = arrival.leftPages ?? missingPages;
  return {
    ...{ id, vm, source, destination, elapsedMs },
    stage: isLost ? 'ended' : 'activation',
    outcome: isLost ? 'failed' : null,
    reason: isLost ? lostText(arrival) : pullingText(arrival),
    progress: left === 0 ? 1 : 1 - missingPages / left,
    timeToGoMs: null,
    predicted: null,
    round: 0,
    boundMs: null,
    pagesTotal: totalPages,
    pagesPending: missingPages,
    pagesUndecided: 0,
    dirtyPagesPerSecond: 0,
    wireBytes: 0,
    wireBytesPerSecond: 0,
    directory: isLost ? null : directoryOf(totalPages, missingPages),
  };
}

/** What is not missing is here; which of it is zero and never travelled only the source knows. */
function directoryOf(totalPages: number, missingPages: number): MigrationView['directory'] {
  const nothing = { unnamed: 0, pending: 0, withheld: 0, spared: 0, inFlight: 0, zero: 0 };
  return { ...nothing, missing: missingPages, placed: totalPages - missingPages };
}

export function lostReport(arrival: Arrival): MigrationReport {
  const { id, vm, source, destination, startedAt, elapsedMs, totalPages, leftPages, missingPages } = arrival;
  const nobody = { agent: null, qemu: null };
  return {
    ...{ id, vm, source, destination, startedAt },
    strategy: defaultMigrationOptions.strategy,
    options: { ...reportedOptions(defaultMigrationOptions), pull: true },
    outcome: 'failed',
    reason: lostText(arrival),
    code: 'FERRY_PAGES_LOST',
    guest: 'lost',
    totalMs: elapsedMs,
    downtimeMs: null,
    stagesMs: { ...noStages, activation: elapsedMs },
    rounds: [],
    pages: {
      ...noPages,
      total: totalPages,
      pulled: leftPages === null || missingPages === null ? null : leftPages - missingPages,
    },
    bytes: { wire: 0, resent: 0, raw: 0 },
    cpuMs: { source: nobody, destination: nobody },
    verified: false,
    notes: [
      `As host "${destination}" saw it, from when the guest ran there; strategy and options are known at ${source}`,
    ],
    switchover: null,
    pull: null,
    predicted: null,
  };
}

const noStages: Readonly<Record<StageName, number>> = {
  preMigration: 0,
  reservation: 0,
  preCopy: 0,
  stopAndCopy: 0,
  commitment: 0,
  activation: 0,
};
const noPages = { sent: 0, resent: 0, zero: 0, pruned: null, delta: null, unchanged: null };

function pullingText({ id, source, missingPages, whereMissing, silentMs }: Arrival): string {
  const count = `${missingPages} of its pages`;
  if (silentMs === null) return `The guest runs here and pulls ${count} from host "${source}"`;
  return (
    `The guest needs host "${source}", which has not been heard of for ${formatMs(silentMs)}: ${count} are there ` +
    `(${whereMissing()}), and it stands still as soon as it touches one. Bring that host and its agent back; if it is lost for ` +
    `good, give the guest up with "vmferry resolve ${id} discard"`
  );
}

function lostText({ id, vm, source, destination, missingPages, whereMissing, hasQemuEnded }: Arrival): string {
  if (missingPages === null)
    return (
      `VM "${vm}" had been handed over by host "${source}" to host "${destination}", and was lost there: its QEMU ended, or it was ` +
      `given up. Its disks are as the guest left them: start it again. Host "${source}" is told when it comes back; if it never ` +
      `will, have this migration forgotten with "vmferry resolve ${id} discard"`
    );
  if (hasQemuEnded)
    return (
      `The QEMU of VM "${vm}" at host "${destination}" ended while it still pulled pages from host "${source}": the guest is lost, ` +
      `${missingPages} of its pages had not come. Its disks are as the guest left them: start it again. Host "${source}" keeps ` +
      `what it had of its memory until "vmferry resolve ${id} discard" is said there`
    );
  return (
    `Host "${source}" was lost while host "${destination}" still pulled: ${missingPages} pages of VM "${vm}" never came ` +
    `(${whereMissing()}). Its disks are as the guest left them. End what is left of it with "vmferry vm stop ${vm} --force" at ` +
    `${destination} and start it again. Host "${source}" is told when it comes back; if it never will, have this migration ` +
    `forgotten with "vmferry resolve ${id} discard"`
  );
}
