/**
 * The host's journal as the transaction machines use it: entries in, histories out.
 *
 * After an append whose outcome is uncertain the journal takes nothing more until it was reopened, which rewrites and
 * syncs it; then what it says is on disk. Reopening is done here, so that one migration's trouble does not stop others.
 */
import { join } from 'node:path';
import { endedMigrations, historiesOf, type History } from '../../core/machine/recovery.ts';
import {
  journalRecordSchema,
  type DestinationEntry,
  type JournalRecord,
  type SourceEntry,
} from '../../core/machine/records.ts';
import { surelyNotWritten } from '../../io/journal/errors.ts';
import { Journal } from '../../io/journal/journal.ts';

export type AppendResult =
  | { readonly ok: true }
  /** `certain`: the entry is surely not on disk. */
  | { readonly ok: false; readonly certain: boolean; readonly reason: string };

export class MigrationJournal {
  readonly path: string;
  #journal: Journal<JournalRecord>;
  #records: JournalRecord[];
  #uncertain = false;

  private constructor(path: string, journal: Journal<JournalRecord>, records: readonly JournalRecord[]) {
    this.path = path;
    this.#journal = journal;
    this.#records = [...records];
  }

  /** Opens or creates the journal in a host's state folder. Throws JournalError. */
  static async open(stateFolder: string): Promise<MigrationJournal> {
    const path = join(stateFolder, 'migrations.journal');
    const { journal, records } = await openFile(path);
    return new MigrationJournal(path, journal, records);
  }

  /** Migrations that have not ended, with their records. Throws MachineError when they contradict each other. */
  histories(): History[] {
    return historiesOf(this.#records);
  }

  /** Records of one migration, oldest first; empty when nothing is known of it. */
  recordsOf(migrationId: string): JournalRecord[] {
    return this.#records.filter((record) => record.migrationId === migrationId);
  }

  /** Makes an entry durable. Never throws. */
  async append(migrationId: string, entry: SourceEntry | DestinationEntry): Promise<AppendResult> {
    const record = journalRecordSchema.parse({ ...entry, migrationId, at: new Date().toISOString() });
    try {
      if (this.#uncertain) await this.reread();
      await this.#journal.append(record);
      this.#records.push(record);
      return { ok: true };
    } catch (error) {
      const certain = surelyNotWritten(error);
      if (!certain) this.#uncertain = true;
      return { ok: false, certain, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Reopens the file; afterwards `recordsOf` tells what is on disk. Throws JournalError. */
  async reread(): Promise<void> {
    await this.#journal.close();
    const { journal, records } = await openFile(this.path);
    this.#journal = journal;
    this.#records = [...records];
    this.#uncertain = false;
  }

  async close(): Promise<void> {
    await this.#journal.close();
  }
}

async function openFile(path: string): Promise<Awaited<ReturnType<typeof Journal.open<JournalRecord>>>> {
  return await Journal.open<JournalRecord>({
    path,
    decode: (value) => journalRecordSchema.parse(value),
    ended: (records) => endedMigrations(records),
  });
}
