import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { lockStateFolder } from './state-lock.ts';

function inFolder(run: (folder: string, file: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-lock-'));
  try {
    run(folder, join(folder, 'agent.lock'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a lock is held by one and given back', () => {
  inFolder((folder, file) => {
    const unlock = lockStateFolder(folder);
    assert.throws(() => lockStateFolder(folder), { code: 'STATE_LOCKED' });
    unlock();
    assert.equal(existsSync(file), false);
    lockStateFolder(folder)();
  });
});

test('the lock of an agent that died, of another boot, or cut short is replaced', () => {
  inFolder((folder, file) => {
    const unlock = lockStateFolder(folder);
    const mine = JSON.parse(readFileSync(file, 'utf8')) as { startTicks: number };
    unlock();
    // The same pid with another start time is another process; a boot id from before means that all are gone.
    for (const stale of [{ ...mine, startTicks: mine.startTicks + 1 }, { ...mine, bootId: 'before' }, null]) {
      writeFileSync(file, stale === null ? '{"pid"' : JSON.stringify(stale));
      lockStateFolder(folder)();
    }
  });
});
