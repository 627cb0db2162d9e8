import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { JournalError, surelyNotWritten } from './errors.ts';
import { encodeRecord, HEADER_BYTES, MAGIC, scanJournal } from './frame.ts';
import { Journal } from './journal.ts';
import type { JournalFile, JournalOptions } from './journal.ts';

type Note = { readonly type: string; readonly migrationId: string; readonly at: string; readonly data: object };

const folder = mkdtempSync(join(tmpdir(), 'vmferry-journal-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const newPath = () => join(folder, `${++files}.journal`);
const note = (type: string, migrationId = 'm1', data: object = {}): Note => ({
  type,
  migrationId,
  at: '2026-11-21',
  data,
});

function options(path: string, wrapFile?: (file: FileHandle) => JournalFile): JournalOptions<Note> {
  return {
    path,
    decode(value) {
      if (typeof value !== 'object' || value === null || !('type' in value)) throw new Error('not a note');
      return value as Note;
    },
    ended: (records) => new Set(records.filter((r) => r.type === 'done').map((r) => r.migrationId)),
    ...(wrapFile === undefined ? {} : { wrapFile }),
  };
}

const reopen = async (path: string) => {
  const opened = await Journal.open(options(path));
  await opened.journal.close();
  return opened;
};

const code = (expected: string) => (error: unknown) => error instanceof JournalError && error.code === expected;

test('records come back in order after reopening, and ended migrations are dropped', async () => {
  const path = newPath();
  const { journal, records } = await Journal.open(options(path));
  assert.deepEqual(records, []);
  const notes = [note('begin'), note('begin', 'm2', { vm: 'Zürich' }), note('commit'), note('done')];
  await Promise.all(notes.map(async (one) => await journal.append(one)));
  await journal.close();
  assert.deepEqual(scanJournal(readFileSync(path)).records, notes);
  const again = await reopen(path);
  assert.deepEqual(again.records, [notes[1]]);
  assert.equal(again.droppedRecords, 3);
  assert.ok(statSync(path).size < 200, 'the file was compacted');
  assert.equal(existsSync(join(folder, `.${files}.journal.new`)), false);
});

test('a file that ends at any byte keeps every whole record and nothing else', async () => {
  const notes = [note('begin'), note('commit', 'm1', { text: 'x'.repeat(9) })];
  const frames = notes.map(encodeRecord);
  const whole = Buffer.concat([MAGIC, ...frames]);
  const first = MAGIC.length + (frames[0]?.length ?? 0);
  const path = newPath();
  for (let cut = MAGIC.length; cut <= whole.length; cut++) {
    writeFileSync(path, whole.subarray(0, cut));
    const { records, tornBytes } = await reopen(path);
    const count = cut === whole.length ? 2 : cut >= first ? 1 : 0;
    assert.deepEqual(records, notes.slice(0, count), `cut at ${cut}`);
    assert.equal(tornBytes, cut - [MAGIC.length, first, whole.length][count]!);
    assert.deepEqual(scanJournal(readFileSync(path)), { records, tornBytes: 0 });
  }
});

test('a last record whose blocks were never written is torn', () => {
  const whole = Buffer.concat([MAGIC, encodeRecord(note('begin')), encodeRecord(note('commit'))]);
  const second = MAGIC.length + encodeRecord(note('begin')).length;
  for (let from = second; from < whole.length - 1; from++) {
    const torn = Buffer.from(whole);
    torn.fill(0, from);
    assert.equal(scanJournal(torn).records.length, 1, `zero from ${from}`);
    const head = Buffer.from(whole);
    head.fill(0, second, Math.max(from, second + HEADER_BYTES));
    assert.equal(scanJournal(head).records.length, 1, `zero up to ${from}`);
  }
});

test('a flipped byte anywhere in what was synced is an error, and the file is left alone', async () => {
  const path = newPath();
  const whole = Buffer.concat([
    MAGIC,
    encodeRecord(note('begin')),
    encodeRecord(note('commit')),
    encodeRecord(note('x', 'm2')),
  ]);
  const lastHeader = whole.length - encodeRecord(note('x', 'm2')).length;
  for (let at = 0; at < whole.length; at++) {
    // The length of the very last record cannot be told from a write that was cut short.
    if (at >= lastHeader && at < lastHeader + 4) continue;
    const bad = Buffer.from(whole);
    bad[at] = (bad[at] ?? 0) ^ 0x41;
    writeFileSync(path, bad);
    await assert.rejects(Journal.open(options(path)), code('JOURNAL_CORRUPT'), `flip at ${at}`);
    assert.ok(readFileSync(path).equals(bad));
  }
});

test('an empty file, a foreign file and a record of another shape are errors', async () => {
  const path = newPath();
  for (const bytes of [Buffer.alloc(0), Buffer.from('hello'), Buffer.concat([MAGIC, encodeRecord([1])])]) {
    writeFileSync(path, bytes);
    await assert.rejects(Journal.open(options(path)), code('JOURNAL_CORRUPT'));
  }
});

/** A file on which the nth call of a method fails; a failing write may have written some bytes before. */
function failing(plan: Partial<Record<'write' | 'datasync' | 'truncate', string>>, shortBytes = 0) {
  return (file: FileHandle): JournalFile => {
    const fail = (method: 'write' | 'datasync' | 'truncate') => {
      const errno = plan[method];
      if (errno !== undefined) throw Object.assign(new Error(errno), { code: errno });
    };
    let short = shortBytes;
    return {
      async write(bytes, offset, length, position) {
        if (short > 0) {
          const wrote = await file.write(bytes, offset, short, position);
          short = 0;
          return wrote;
        }
        fail('write');
        return await file.write(bytes, offset, length, position);
      },
      async datasync() {
        fail('datasync');
        await file.datasync();
      },
      async truncate(length) {
        fail('truncate');
        await file.truncate(length);
      },
      close: async () => await file.close(),
    };
  };
}

test('a short write without room is cut off again and surely not written', async () => {
  const path = newPath();
  const plan: { write?: string } = { write: 'ENOSPC' };
  const { journal } = await Journal.open(options(path, failing(plan, 7)));
  await assert.rejects(
    journal.append(note('commit')),
    (error) => code('JOURNAL_FULL')(error) && surelyNotWritten(error),
  );
  assert.equal(statSync(path).size, MAGIC.length);
  delete plan.write;
  await journal.append(note('begin'));
  await journal.close();
  assert.deepEqual((await reopen(path)).records, [note('begin')]);
});

test('an append whose sync fails is uncertain and closes the journal to all others', async () => {
  const path = newPath();
  const { journal } = await Journal.open(options(path, failing({ datasync: 'EIO' })));
  const [first, second] = await Promise.allSettled([journal.append(note('commit')), journal.append(note('late'))]);
  assert.ok(first.status === 'rejected' && code('JOURNAL_UNCERTAIN')(first.reason) && !surelyNotWritten(first.reason));
  assert.ok(second.status === 'rejected' && code('JOURNAL_UNUSABLE')(second.reason) && surelyNotWritten(second.reason));
  await journal.close();
  // Reopening settles it: what it reads, it makes durable.
  assert.deepEqual((await reopen(path)).records, [note('commit')]);
});

test('a failed write that cannot be undone is uncertain', async () => {
  const { journal } = await Journal.open(options(newPath(), failing({ write: 'EIO', truncate: 'EIO' })));
  await assert.rejects(journal.append(note('commit')), code('JOURNAL_UNCERTAIN'));
  await journal.close();
});

test('a closed journal and a record beyond the limit are refused for certain', async () => {
  const { journal } = await Journal.open(options(newPath()));
  await assert.rejects(journal.append(note('x', 'm', { text: 'x'.repeat(70_000) })), code('JOURNAL_RECORD_TOO_LONG'));
  await journal.close();
  await journal.close();
  await assert.rejects(
    journal.append(note('x')),
    (error) => code('JOURNAL_UNUSABLE')(error) && surelyNotWritten(error),
  );
});

test('on a file system that is really full the journal stays whole and goes on when there is room', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('needs root to mount a 64 KiB tmpfs');
  const mount = mkdtempSync(join(folder, 'tmpfs-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'vmferry-test', mount], { stdio: 'pipe' });
  } catch (error) {
    return t.skip(`a tmpfs cannot be mounted here: ${String(error).split('\n')[0]}`);
  }
  try {
    const path = join(mount, 'host.journal');
    const { journal } = await Journal.open(options(path));
    writeFileSync(join(mount, 'ballast'), Buffer.alloc(40 * 1024));
    let written = 0;
    const big = note('note', 'm1', { text: 'x'.repeat(3000) });
    await assert.rejects(
      async () => {
        for (; written < 100; written++) await journal.append(big);
      },
      (error) => code('JOURNAL_FULL')(error) && surelyNotWritten(error),
    );
    assert.ok(written > 0 && written < 100);
    assert.equal(statSync(path).size, MAGIC.length + written * encodeRecord(big).length);
    rmSync(join(mount, 'ballast'));
    await journal.append(note('commit'));
    await journal.close();
    const { records } = await reopen(path);
    assert.equal(records.length, written + 1);
    assert.deepEqual(records.at(-1), note('commit'));
  } finally {
    execFileSync('umount', [mount]);
  }
});
