/**
 * Layout of the journal file, and its scan.
 *
 *     file    magic "vmferry journal 1\n", then records without gaps
 *     record
 *     offset size field
 *          0    4 payloadBytes  big endian, 1 to RECORD_BYTES_MAX
 *          4    4 crc32         of payloadBytes as written and of the payload
 *          8    n payload       one JSON object and a newline (so that `strings` and `tail` show it)
 *
 * Torn or corrupt? Appends are serialised and each waits for its sync, so that after a crash at most the last record is
 * incomplete: the file ends too early, or the blocks at its end were never written and read as zero (JSON holds no zero
 * byte). Such a tail is cut off: its append never reported success. Anything else that is wrong is damage to what was
 * synced, possibly a COMMIT, and is an error: dropping it could make two owners.
 */
import { crc32 } from 'node:zlib';
import { JournalError } from './errors.ts';

export const MAGIC = Buffer.from('vmferry journal 1\n', 'latin1');
export const HEADER_BYTES = 8;
/** A record is a few hundred bytes; the bound is what a scan believes of a length field. */
export const RECORD_BYTES_MAX = 64 * 1024;
/** Thousands of times what open migrations need, since ended ones are dropped at open. */
export const JOURNAL_BYTES_MAX = 64 * 1024 * 1024;

/** One record as it stands in the file. Throws JournalError JOURNAL_RECORD_TOO_LONG. */
export function encodeRecord(record: object): Buffer {
  const payload = Buffer.from(`${JSON.stringify(record)}\n`, 'utf8');
  if (payload.length > RECORD_BYTES_MAX) {
    throw new JournalError(
      'JOURNAL_RECORD_TOO_LONG',
      `Journal record of ${payload.length} bytes exceeds ${RECORD_BYTES_MAX}`,
      { certain: true },
    );
  }
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  frame.writeUInt32BE(payload.length, 0);
  frame.writeUInt32BE(crc32(payload, crc32(frame.subarray(0, 4))), 4);
  payload.copy(frame, HEADER_BYTES);
  return frame;
}

export type Scan = {
  readonly records: readonly unknown[];
  /** Bytes at the end that belong to an append which never reported success. */
  readonly tornBytes: number;
};

/** All records of a journal file. Throws JournalError JOURNAL_CORRUPT with the offset of the damage. */
export function scanJournal(file: Buffer): Scan {
  if (!file.subarray(0, MAGIC.length).equals(MAGIC))
    throw corrupt(0, 'it does not begin like a journal of this version');
  const records: unknown[] = [];
  let at = MAGIC.length;
  while (at < file.length) {
    const payload = intactPayload(file, at);
    if (payload === null) {
      if (!isTorn(file, at)) throw corrupt(at, 'a record is damaged');
      break;
    }
    records.push(parse(payload, at));
    at += HEADER_BYTES + payload.length;
  }
  return { records, tornBytes: file.length - at };
}

/** The payload of the record at an offset, or null if there is no intact record. */
function intactPayload(file: Buffer, at: number): Buffer | null {
  if (at + HEADER_BYTES > file.length) return null;
  const payloadBytes = file.readUInt32BE(at);
  const end = at + HEADER_BYTES + payloadBytes;
  if (payloadBytes === 0 || payloadBytes > RECORD_BYTES_MAX || end > file.length) return null;
  const payload = file.subarray(at + HEADER_BYTES, end);
  const crc = crc32(payload, crc32(file.subarray(at, at + 4)));
  return crc === file.readUInt32BE(at + 4) ? payload : null;
}

/** Whether everything from here on can be the remains of one append that was cut short. */
function isTorn(file: Buffer, at: number): boolean {
  const rest = file.subarray(at);
  if (rest.length > HEADER_BYTES + RECORD_BYTES_MAX) return false;
  // An intact record behind the damage proves that the damaged one had been synced.
  for (let next = at + 1; next + HEADER_BYTES < file.length; next++) {
    if (intactPayload(file, next) !== null) return false;
  }
  if (rest.length < HEADER_BYTES || rest.subarray(0, HEADER_BYTES).every((byte) => byte === 0)) return true;
  const end = HEADER_BYTES + rest.readUInt32BE(0);
  return rest.length < end || rest.subarray(HEADER_BYTES).includes(0);
}

function parse(payload: Buffer, at: number): unknown {
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch (error) {
    throw corrupt(at, 'a record is not JSON', error);
  }
}

export function corrupt(offset: number, what: string, cause?: unknown): JournalError {
  return new JournalError(
    'JOURNAL_CORRUPT',
    `The journal is damaged at offset ${offset}: ${what}. Nothing was changed; docs/journal.md says what to do`,
    { offset },
    { cause },
  );
}
