import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { History } from './history.ts';
import { sampleReport } from '../../core/api/testing.ts';
import { sampleSpec } from './testing.ts';

test('reports come back as they were, newest first, and survive a restart', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-history-'));
  try {
    const first = new History(join(folder, 'history.db'));
    first.add(sampleReport({ id: 'old', startedAt: '2026-11-20T00:00:00.000Z' }));
    first.add(sampleReport({ id: 'new', vm: 'db', startedAt: '2026-11-21T00:00:00.000Z' }));
    first.close();
    const again = new History(join(folder, 'history.db'));
    assert.deepEqual(again.find('new'), sampleReport({ id: 'new', vm: 'db', startedAt: '2026-11-21T00:00:00.000Z' }));
    assert.deepEqual(
      again.list({ limit: 10 }).map(({ id }) => id),
      ['new', 'old'],
    );
    assert.deepEqual(
      again.list({ limit: 10, vm: 'web' }).map(({ id }) => id),
      ['old'],
    );
    assert.equal(again.list({ limit: 1 }).length, 1);
    assert.equal(again.find('none'), null);
    again.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a second report of the same migration replaces the first', () => {
  const history = new History(':memory:');
  history.add(sampleReport({ outcome: 'failed', guest: 'in doubt' }));
  history.add(sampleReport());
  assert.deepEqual(
    history.list({ limit: 10 }).map(({ outcome }) => outcome),
    ['completed'],
  );
  history.close();
});

test('it remembers where a machine went', () => {
  const history = new History(':memory:');
  assert.equal(history.whereTo('web'), null);
  history.addHandedOver(sampleSpec(), 'host-b', '2026-11-21T00:00:00.000Z');
  history.addHandedOver(sampleSpec(), 'host-c', '2026-11-22T00:00:00.000Z');
  assert.deepEqual(history.whereTo('web'), { destination: 'host-c', at: '2026-11-22T00:00:00.000Z' });
  history.close();
});

test('a file that is no database is an error with its name', () => {
  assert.throws(() => new History('/nowhere/history.db'), { code: 'HISTORY_UNREADABLE', message: /nowhere/ });
});
