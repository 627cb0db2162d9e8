import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLogger, logEvents } from './logger.ts';

test('entries are JSON lines with event, level, time and the facts of the child', () => {
  const folder = mkdtempSync(join(tmpdir(), 'log-'));
  const file = join(folder, 'deep/agent.log');
  const logger = createLogger({ level: 'info', destination: { file } });
  logger
    .child({ vm: 'web-1' })
    .warn('vm.failed', 'It ended', { error: new Error('boom', { cause: new Error('why') }) });
  logger.debug('qemu.command', 'not shown');
  logger.flush();
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  assert.equal(lines.length, 1);
  const entry = JSON.parse(lines[0] ?? '');
  assert.partialDeepStrictEqual(entry, { level: 'warn', event: 'vm.failed', vm: 'web-1', msg: 'It ended' });
  assert.match(entry.time, /^\d{4}-/);
  assert.match(entry.error.message, /boom/);
  rmSync(folder, { recursive: true });
});

test('event names are unique and of one form', () => {
  assert.equal(new Set(logEvents).size, logEvents.length);
  for (const event of logEvents) assert.match(event, /^[a-z][A-Za-z]*\.[a-z][A-Za-z]*$/);
});
