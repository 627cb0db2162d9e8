/** Errors of the journal. `fields.certain` says whether the record is surely not on disk. */
import { AppError } from '../../core/base/errors.ts';

export type JournalCode =
  | 'JOURNAL_CORRUPT' // damage that no torn write explains, or a record of a shape we do not know
  | 'JOURNAL_FULL' // no room; the record is surely not on disk
  | 'JOURNAL_WRITE' // not written for another reason; surely not on disk
  | 'JOURNAL_UNCERTAIN' // the record may be on disk or not: reopen before deciding anything
  | 'JOURNAL_UNUSABLE' // closed, or an earlier append was uncertain; surely not on disk
  | 'JOURNAL_OPEN' // could not be read, rewritten or synced at open
  | 'JOURNAL_RECORD_TOO_LONG';

export class JournalError extends AppError<JournalCode> {}

/** Whether a failed append surely left nothing on disk. Anything that is not a JournalError is uncertain. */
export function surelyNotWritten(error: unknown): boolean {
  return error instanceof JournalError && error.fields['certain'] === true;
}
