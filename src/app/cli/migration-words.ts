/** How stages and outcomes are called in texts for people. Pure. */
import type { MigrationReport, MigrationView, StageName } from '../../core/model/migration.ts';
import { formatMs } from '../../core/model/units.ts';

export const stageWords: Readonly<Record<StageName | 'ended', string>> = {
  preMigration: 'initialisation',
  reservation: 'reservation',
  preCopy: 'pre-copy',
  stopAndCopy: 'stop-and-copy',
  commitment: 'commitment',
  activation: 'activation',
  ended: 'ended',
};

/** "pre-copy of at most 8.13 s, round 2". */
export function stageText(view: MigrationView): string {
  if (view.stage === 'ended') return view.outcome ?? stageWords.ended;
  const word = stageWords[view.stage];
  if (view.stage !== 'preCopy') return word;
  const promised = view.boundMs === null ? '' : ` of at most ${formatMs(view.boundMs)}`;
  return view.round > 0 ? `${word}${promised}, round ${view.round}` : `${word}${promised}`;
}

/** Whole percents; 100 only when it has completed, and never beyond. One that ended otherwise got nowhere: 0. */
export function percentOf(view: MigrationView): number {
  if (view.stage === 'ended') return view.outcome === 'completed' ? 100 : 0;
  return Math.min(99, Math.max(0, Math.floor(view.progress * 100)));
}

/** One sentence: what happened, where the guest is. */
export function outcomeText(report: MigrationReport): string {
  const vm = `VM "${report.vm}"`;
  if (report.outcome === 'completed') return `${vm} now runs at host ${report.destination}.`;
  const reason = report.reason.replace(/\.$/, '');
  const what = report.outcome === 'aborted' ? 'was not moved' : 'could not be moved';
  return `${vm} ${what}: ${reason}. ${whereaboutsText(report)}`;
}

function whereaboutsText({ guest, source, destination, id }: MigrationReport): string {
  switch (guest) {
    case 'running at source':
      return `The guest runs at host ${source}.`;
    case 'running at destination':
      return `The guest runs at host ${destination}.`;
    case 'paused at source':
      return `The guest is paused at host ${source}; continue it there.`;
    case 'in doubt':
      return (
        `The guest is in doubt: ${destination} was to take it over and does not answer. Let the agents of ${source} and ` +
        `${destination} reach each other and it is settled; if one is lost for good, decide with "vmferry resolve ${id}".`
      );
    case 'lost':
      return 'The guest is lost: neither host has it; start it again.';
    default:
      return guest satisfies never;
  }
}
