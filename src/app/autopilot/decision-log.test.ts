import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { LoggedMove } from '../../core/model/autopilot.ts';
import { DecisionLog } from './decision-log.ts';

const entry = (sentence: string, atMs: number) => ({ kind: 'stay', dryRun: false, host: 'a', sentence, atMs }) as const;
const move: LoggedMove = {
  ...{ vm: 'web', from: 'a', to: 'b', predicted: { totalMs: 1000, downtimeMs: 20, wireBytes: 1e6 } },
  ...{ migration: null, outcome: null, endedAtMs: null, measured: null, error: null },
};

test('the same decision, round after round, is one entry with a count; another one is a new entry', () => {
  const log = new DecisionLog(':memory:');
  for (let round = 0; round < 5; round++) log.addOrCount('a', 'calm', entry(`a is at ${round} %.`, round));
  log.addOrCount('b', 'calm', { ...entry('b is calm.', 5), host: 'b' });
  log.addOrCount('a', 'calm', entry('a is at 6 %.', 6));
  log.addOrCount('a', 'busy', entry('a is busy.', 7));
  const said = log.list({ limit: 10 }).map(({ sentence, times, lastAtMs }) => [sentence, times, lastAtMs]);
  assert.deepEqual(said, [
    ['a is at 0 %.', 6, 6],
    ['b is calm.', 1, 5],
    ['a is busy.', 1, 7],
  ]);
  log.close();
});

test('all of it is there again after a restart, and counts begin anew', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-log-'));
  try {
    const file = join(folder, 'autopilot.db');
    const first = new DecisionLog(file);
    first.addOrCount('a', 'calm', entry('a is calm.', 1));
    first.addOrCount('a', 'calm', entry('a is calm.', 2));
    const sequence = first.add({ ...entry('web moves.', 3), kind: 'move', move });
    first.changeMove(sequence, { migration: 'm1', outcome: 'completed', endedAtMs: 9 });
    first.keep('autopilot', { dryRun: true });
    first.close();
    const second = new DecisionLog(file);
    second.addOrCount('a', 'calm', entry('a is calm.', 10));
    const [calm, moved, again] = second.list({ limit: 10 });
    assert.deepEqual([calm?.times, calm?.lastAtMs, again?.times], [2, 2, 1]);
    assert.deepEqual(moved?.move, { ...move, migration: 'm1', outcome: 'completed', endedAtMs: 9 });
    assert.deepEqual(second.recall('autopilot'), { dryRun: true });
    second.keep('autopilot', null);
    assert.equal(second.recall('autopilot'), null);
    second.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('who follows gets what is new, in order, and each entry once', () => {
  const log = new DecisionLog(':memory:');
  for (let i = 1; i <= 7; i++) log.add(entry(`${i}.`, i));
  assert.deepEqual(
    log.list({ limit: 3 }).map(({ sequence }) => sequence),
    [5, 6, 7],
  );
  assert.deepEqual(
    log.list({ after: 2, limit: 3 }).map(({ sequence }) => sequence),
    [3, 4, 5],
  );
  assert.deepEqual(log.list({ after: 7, limit: 3 }), []);
});

test('however much is written, the newest entries are kept, moves and others apart', () => {
  const bounds = { moves: 5, others: 8 };
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 400 }), (isMove) => {
      const log = new DecisionLog(':memory:', bounds);
      const written = isMove.map((is, i) =>
        log.add(is ? { ...entry(`${i}.`, i), kind: 'move', move } : entry(`${i}.`, i)),
      );
      const beforeTrim = log.list({ limit: 1000 }).length;
      assert.ok(beforeTrim <= bounds.moves + bounds.others + 100, `${beforeTrim} rows`);
      log.trim();
      const newest = (is: boolean, kept: number): number[] => written.filter((_, i) => isMove[i] === is).slice(-kept);
      assert.deepEqual(
        log.list({ limit: 1000 }).map(({ sequence }) => sequence),
        [...newest(true, bounds.moves), ...newest(false, bounds.others)].sort((a, b) => a - b),
      );
      log.close();
    }),
    { numRuns: 40 },
  );
});

test('a dry run has moved nothing', () => {
  const log = new DecisionLog(':memory:');
  log.add({ ...entry('web would move.', 1), kind: 'move', dryRun: true, move });
  log.add({ ...entry('web moves.', 2), kind: 'move', move });
  log.add({ ...entry('web moves.', 3), kind: 'move', move });
  assert.deepEqual(
    log.movesSince(3).map(({ atMs }) => atMs),
    [3],
  );
  assert.equal(log.movesSince(0).length, 2);
});

test('a file that is no database is an error with its name', () => {
  assert.throws(() => new DecisionLog('/nowhere/autopilot.db'), { code: 'LOG_UNREADABLE', message: /nowhere/ });
});
