/** What a source session tells people beyond its stages: in its host's log, and when their word is not asked for. */
import type { SourceNotice, SourceState } from '../../core/machine/source-states.ts';
import type { Logger } from '../../io/log/logger.ts';
import { FerryError } from './errors.ts';
import type { SourceFacts } from './source-vm.ts';

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

/** A person decides about a stranded migration only. Throws FerryError FERRY_UNDECIDABLE. */
export function assertDecidable(vm: string, state: SourceState, word: 'run' | 'discard'): void {
  const why = ((): string | null => {
    if (state.name !== 'stranded') return `nothing is to be decided here, its migration is ${state.name}`;
    if (word === 'discard' || !state.mayHaveRun) return null;
    return 'it may have run at the destination, its disks have moved on; "discard" is the only word left';
  })();
  if (why !== null) throw new FerryError('FERRY_UNDECIDABLE', `VM "${vm}": ${why}`, { vm, state: state.name });
}

/** Rule R1 rests on QEMU's dirty log, which older ones do not keep well in software emulation (qemu-stream.md). */
export function warnOfMissedWrites(log: Logger, facts: SourceFacts, migration: string): void {
  if (facts.accelerator !== 'tcg' || facts.features.reliableTcgDirtyLog) return;
  const text = `QEMU ${facts.qemuVersion} under software emulation may miss writes of the guest; use --verify`;
  log.warn('migration.feed', text, { migration });
}
