/** What both machines ask of the journal, and the events that tell them what came of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../core/base/errors.ts';
import type { DestinationEntry, SourceEntry } from '../../core/machine/records.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { MigrationJournal } from './migration-journal.ts';

const RETRY_MS = 1_000;

export type JournalParts = { readonly journal: MigrationJournal; readonly log: Logger };

export type JournalSaid<Type> =
  | { readonly type: 'journalled'; readonly entry: Type }
  | { readonly type: 'journalFailed'; readonly entry: Type; readonly certain: boolean; readonly reason: string };

/** Makes an entry durable. `mayGiveUp`: a failure is told at once, because the migration can still be aborted. */
export async function writeEntry<Entry extends SourceEntry | DestinationEntry>(
  { journal, log }: JournalParts,
  migrationId: string,
  entry: Entry,
  mayGiveUp: () => boolean,
): Promise<JournalSaid<Entry['type']>> {
  const result = await journal.append(migrationId, entry);
  if (result.ok) return { type: 'journalled', entry: entry.type };
  const { certain, reason } = result;
  log.error('journal.failed', reason, { migration: migrationId, entry: entry.type, certain });
  if (!mayGiveUp()) await sleep(RETRY_MS);
  return { type: 'journalFailed', entry: entry.type, certain, reason };
}

/** Reads the journal again, as often as it takes; returns whether COMMIT of this migration is on disk. */
export async function findCommit({ journal, log }: JournalParts, migrationId: string): Promise<boolean> {
  for (;;) {
    try {
      await journal.reread();
      return journal.recordsOf(migrationId).some((record) => record.type === 'commit');
    } catch (error) {
      log.error('journal.failed', describeError(error), { migration: migrationId });
      await sleep(RETRY_MS);
    }
  }
}
