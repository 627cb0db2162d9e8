/** What a source session tells whoever reads its host's log, beyond its stages. */
import type { SourceNotice } from '../../core/machine/source-states.ts';
import type { Logger } from '../../io/log/logger.ts';

export type NoticeFacts = {
  readonly migration: string;
  readonly vm: string;
  readonly notice: SourceNotice;
  /** The file that says what was decided. */
  readonly journal: string;
};

export function logNotice(log: Logger, notice: SourceNotice, facts: NoticeFacts): void {
  switch (notice) {
    case 'ownershipConflict':
      return log.error('migration.inDoubt', 'Somebody started a guest that was given away', facts);
    case 'stranded':
      return log.error(
        'migration.inDoubt',
        'Host lost the guest after the commit; decide with "vmferry resolve"',
        facts,
      );
    case 'outcomeUncertain':
      return log.error('migration.inDoubt', 'The outcome of the commit is not known yet', facts);
    default:
      return log.info('migration.stage', notice, facts);
  }
}
