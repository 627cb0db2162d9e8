/**
 * The journal of one host: the only thing that outlives its agent. One append-only file for all migrations of the host
 * (docs/journal.md says why), layout in frame.ts.
 *
 * Invariants:
 *  - `append` resolves only when the record is on disk (fdatasync). Records are on disk in the order of the calls.
 *  - What `open` returns is on disk: it rewrites the file, syncs it, renames it into place and syncs the folder. So a
 *    record whose sync had failed, and which only the page cache shows, is not believed without being made durable.
 *  - After an append whose outcome is uncertain nothing can be appended until the journal was opened anew.
 */
import { open as openFile, readFile, rename } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { corrupt, encodeRecord, JOURNAL_BYTES_MAX, MAGIC, scanJournal } from './frame.ts';
import { JournalError } from './errors.ts';

/** What the journal does with its file after it was opened: node's FileHandle, or a double that fails on purpose. */
export type JournalFile = Pick<FileHandle, 'datasync' | 'truncate' | 'close'> & {
  write(bytes: Buffer, offset: number, length: number, position: number): Promise<{ bytesWritten: number }>;
};

export type JournalOptions<R extends { readonly migrationId: string }> = {
  readonly path: string;
  /** Types one record that was read; throws on a shape it does not know. */
  readonly decode: (value: unknown) => R;
  /** Which migrations have ended, so that their records may be dropped at open. */
  readonly ended: (records: readonly R[]) => ReadonlySet<string>;
  /** For tests: what the journal writes to. */
  readonly wrapFile?: (file: FileHandle) => JournalFile;
};

export type OpenedJournal<R extends { readonly migrationId: string }> = {
  readonly journal: Journal<R>;
  /** The records of migrations that have not ended, oldest first. */
  readonly records: readonly R[];
  /** Bytes of an append that never reported success, which were cut off. */
  readonly tornBytes: number;
  readonly droppedRecords: number;
};

export class Journal<R extends { readonly migrationId: string }> {
  readonly #file: JournalFile;
  #bytes: number;
  #state: 'open' | 'uncertain' | 'closed' = 'open';
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(file: JournalFile, bytes: number) {
    this.#file = file;
    this.#bytes = bytes;
  }

  /**
   * Opens or creates the journal: scans it, cuts a torn tail, drops ended migrations, rewrites and syncs the rest. One
   * process may have it open. Throws JournalError JOURNAL_CORRUPT (the file is left as it was) or JOURNAL_OPEN.
   */
  static async open<R extends { readonly migrationId: string }>(options: JournalOptions<R>): Promise<OpenedJournal<R>> {
    const { path } = options;
    const scan = scanJournal((await readIfThere(path)) ?? MAGIC);
    const all = scan.records.map((value, index) => decodeOne(options, value, index));
    const ended = options.ended(all);
    const records = all.filter((record) => !ended.has(record.migrationId));
    const bytes = Buffer.concat([MAGIC, ...records.map(encodeRecord)]);
    try {
      const file = await replaceFile(path, bytes);
      const journal = new Journal<R>(options.wrapFile?.(file) ?? file, bytes.length);
      return { journal, records, tornBytes: scan.tornBytes, droppedRecords: all.length - records.length };
    } catch (error) {
      throw new JournalError('JOURNAL_OPEN', `The journal ${path} could not be rewritten`, { path }, { cause: error });
    }
  }

  /**
   * Makes one record durable. Throws JournalError; `surelyNotWritten(error)` tells whether the record is surely not on
   * disk (no room, a write error that could be undone) or whether that is open until the next `open`.
   */
  async append(record: R): Promise<void> {
    const frame = encodeRecord(record);
    const turn = this.#tail.then(async () => await this.#append(frame));
    this.#tail = turn.catch(() => undefined);
    await turn;
  }

  /** Waits for appends under way, then closes. Idempotent. */
  async close(): Promise<void> {
    const turn = this.#tail.then(async () => {
      if (this.#state === 'closed') return;
      this.#state = 'closed';
      await this.#file.close();
    });
    this.#tail = turn.catch(() => undefined);
    await turn;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #append(frame: Buffer): Promise<void> {
    if (this.#state !== 'open') {
      const why = this.#state === 'closed' ? 'is closed' : 'had an append whose outcome is uncertain';
      throw new JournalError('JOURNAL_UNUSABLE', `The journal ${why}`, { certain: true });
    }
    if (this.#bytes + frame.length > JOURNAL_BYTES_MAX) {
      throw new JournalError('JOURNAL_FULL', `The journal exceeds ${JOURNAL_BYTES_MAX} bytes`, { certain: true });
    }
    try {
      await this.#writeAll(frame);
    } catch (error) {
      throw await this.#undoWrite(error);
    }
    try {
      await this.#file.datasync();
    } catch (error) {
      // The kernel may have written it or not, and marks the page clean either way: a second sync would prove nothing.
      throw this.#uncertain(error);
    }
    this.#bytes += frame.length;
  }

  async #writeAll(frame: Buffer): Promise<void> {
    for (let done = 0; done < frame.length;) {
      // A full disk first gives a short write, and an error only for the rest.
      const { bytesWritten } = await this.#file.write(frame, done, frame.length - done, this.#bytes + done);
      if (bytesWritten === 0) throw new Error('The file accepts no more bytes');
      done += bytesWritten;
    }
  }

  /** Cuts off what a failed write left, durably; the error to throw. */
  async #undoWrite(cause: unknown): Promise<JournalError> {
    try {
      await this.#file.truncate(this.#bytes);
      await this.#file.datasync();
    } catch (error) {
      return this.#uncertain(error);
    }
    const full = noRoom.has((cause as NodeJS.ErrnoException).code ?? '');
    const code = full ? 'JOURNAL_FULL' : 'JOURNAL_WRITE';
    const text = full ? 'No room for a journal record' : 'A journal record could not be written';
    return new JournalError(code, text, { certain: true }, { cause });
  }

  #uncertain(cause: unknown): JournalError {
    this.#state = 'uncertain';
    return new JournalError(
      'JOURNAL_UNCERTAIN',
      'A journal record may be on disk or not; the journal must be reopened',
      { certain: false },
      { cause },
    );
  }
}

const noRoom: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

function decodeOne<R extends { readonly migrationId: string }>(
  options: JournalOptions<R>,
  value: unknown,
  index: number,
): R {
  try {
    return options.decode(value);
  } catch (error) {
    throw new JournalError(
      'JOURNAL_CORRUPT',
      `Record ${index} of the journal is of no known shape`,
      { index },
      { cause: error },
    );
  }
}

async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    const bytes = await readFile(path);
    if (bytes.length <= JOURNAL_BYTES_MAX) return bytes;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new JournalError('JOURNAL_OPEN', `The journal ${path} could not be read`, { path }, { cause: error });
  }
  throw corrupt(JOURNAL_BYTES_MAX, 'it is longer than a journal can be');
}

/** Puts a synced file in the place of another one (or of none) and gives its handle. The old file stays whole on failure. */
async function replaceFile(path: string, bytes: Buffer): Promise<FileHandle> {
  const temporary = join(dirname(path), `.${basename(path)}.new`);
  const file = await openFile(temporary, 'w', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
    await rename(temporary, path);
    await syncFolder(dirname(path));
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await openFile(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
