import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MachineError } from './errors.ts';
import { journalRecordSchema } from './records.ts';
import type { DestinationRecord, JournalRecord, SourceRecord } from './records.ts';
import { answerFromRecords, endedMigrations, historiesOf, recoverDestination, recoverSource } from './recovery.ts';

const data: Readonly<Record<JournalRecord['type'], object>> = {
  begin: { vm: 'v', peer: 'd', qemu: '1:1' },
  commit: {},
  aborted: { code: 'C', reason: 'r' },
  done: {},
  returned: {},
  reserved: { vm: 'v', peer: 's' },
  prepared: { qemu: '2:2' },
  committed: { by: 'source' },
  active: {},
  pulled: {},
  released: {},
  discarded: { code: 'C', reason: 'r' },
  lost: { mayHaveRun: true },
};

/** `prepared+pull` is a PREPARED of a migration with a pull phase. */
function records(types: string, migrationId = 'm'): JournalRecord[] {
  const all = types.split(' ').filter((type) => type !== '');
  return all.map((word) => {
    const [type = '', pull] = word.split('+');
    const more = pull === undefined ? {} : { pull: true };
    return journalRecordSchema.parse({ type, migrationId, at: 'now', data: { ...data[type as 'begin'], ...more } });
  });
}

const source = (types: string, qemu: Parameters<typeof recoverSource>[1]['qemu']) => {
  const step = recoverSource(records(types) as SourceRecord[], { qemu });
  return [step.state.name, ...step.effects.map((effect) => effect.type)].join(' ');
};

const destination = (types: string, qemu: Parameters<typeof recoverDestination>[1]['qemu']) => {
  const step = recoverDestination(records(types) as DestinationRecord[], { qemu });
  return [step.state.name, ...step.effects.map((effect) => effect.type)].join(' ');
};

test('a source without COMMIT makes sure that its guest runs, whatever its QEMU does', () => {
  for (const qemu of ['running', 'finish-migrate', 'postmigrate', 'paused', 'unreachable', 'gone'] as const) {
    assert.equal(source('begin', qemu), 'aborting resumeSource tellAbort');
    assert.equal(source('begin commit returned', qemu), 'aborting resumeSource tellAbort');
  }
});

test('a source with COMMIT goes on telling it and never resumes', () => {
  for (const qemu of ['finish-migrate', 'postmigrate', 'paused', 'unreachable', 'gone'] as const) {
    assert.equal(source('begin commit', qemu), 'handedOver tellCommit');
  }
  assert.equal(source('begin commit', 'running'), 'handedOver haltSource report tellCommit');
});

test('an ended source stays ended', () => {
  assert.equal(source('begin aborted', 'running'), 'aborted');
  assert.equal(source('begin commit returned aborted', 'running'), 'aborted');
  assert.equal(source('begin commit done', 'gone'), 'done');
});

test('a destination recovers by what it promised', () => {
  assert.equal(destination('reserved', 'paused'), 'discarding discardIncoming');
  assert.equal(destination('reserved prepared', 'paused'), 'inDoubt querySource report');
  assert.equal(destination('reserved prepared', 'running'), 'inDoubt querySource report');
  assert.equal(destination('reserved prepared', 'gone'), 'discarding discardIncoming');
  assert.equal(destination('reserved prepared committed', 'paused'), 'committed runGuest');
  assert.equal(destination('reserved prepared committed', 'running'), 'activating journal report');
  assert.equal(destination('reserved prepared committed', 'gone'), 'losing journal');
  assert.equal(destination('reserved prepared committed active', 'gone'), 'active tellActive report');
  assert.equal(destination('reserved prepared committed lost', 'gone'), 'lost tellGone');
  assert.equal(destination('reserved prepared committed active released', 'running'), 'released');
  assert.equal(destination('reserved discarded', 'gone'), 'discarded');
});

test('a destination that pulled goes on pulling until PULLED is on disk', () => {
  assert.equal(destination('reserved prepared+pull', 'paused'), 'inDoubt querySource report');
  assert.equal(destination('reserved prepared+pull committed', 'running'), 'activating journal report');
  const activating = recoverDestination(records('reserved prepared+pull committed') as DestinationRecord[], {
    qemu: 'running',
  });
  assert.deepEqual(activating.state, { name: 'activating', pulling: true });
  assert.equal(
    destination('reserved prepared+pull committed active', 'running'),
    'pulling pullPages tellActive report',
  );
  assert.equal(destination('reserved prepared+pull committed active', 'gone'), 'losing journal');
  assert.equal(destination('reserved prepared+pull committed active pulled', 'running'), 'active tellActive report');
});

test('a destination whose agent died after cont tells its host again that the guest is there', () => {
  for (const types of ['reserved prepared committed', 'reserved prepared committed active']) {
    const { effects } = recoverDestination(records(types) as DestinationRecord[], { qemu: 'running' });
    assert.deepEqual(effects.at(-1), { type: 'report', notice: 'runningHere' });
  }
});

test('queries are answered from the journal by presumed abort', () => {
  const answer = (types: string) => answerFromRecords(records(types) as SourceRecord[]);
  assert.equal(answer(''), 'unknown');
  assert.equal(answer('begin'), 'aborted');
  assert.equal(answer('begin commit'), 'committed');
  assert.equal(answer('begin commit done'), 'committed');
  assert.equal(answer('begin commit returned'), 'aborted');
  assert.equal(answer('begin aborted'), 'aborted');
});

test('a journal is sorted by migration, and what has ended may be dropped', () => {
  const all = [...records('begin aborted', 'a'), ...records('begin commit', 'b'), ...records('aborted', 'c')];
  assert.deepEqual(
    historiesOf(all).map(({ migrationId, records: own }) => [migrationId, own.length]),
    [
      ['a', 2],
      ['b', 2],
      ['c', 1],
    ],
  );
  assert.deepEqual([...endedMigrations(all)], ['a', 'c']);
});

test('a journal that no run can have written is refused', () => {
  const refused = (all: JournalRecord[]) =>
    assert.throws(
      () => historiesOf(all),
      (error) => error instanceof MachineError && error.code === 'MACHINE_RECORDS',
    );
  refused([...records('begin', 'a'), ...records('begin commit', 'b')]);
  refused([...records('begin', 'a'), ...records('reserved', 'a')]);
  refused(records('commit'));
  assert.throws(() => recoverSource([], { qemu: 'running' }), MachineError);
  assert.throws(() => recoverDestination([], { qemu: 'gone' }), MachineError);
});

test('records of another shape are refused', () => {
  for (const bad of [{}, { type: 'commit' }, { type: 'commit', migrationId: 'm', at: '', data: { x: 1 } }, null]) {
    assert.equal(journalRecordSchema.safeParse(bad).success, false);
  }
});
