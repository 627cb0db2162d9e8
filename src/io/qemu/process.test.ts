import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { identify, isAlive, startQemu, terminate } from './process.ts';
import { runPaths } from './run-paths.ts';

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'proc-'));
  try {
    await run(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const shell = (folder: string, script: string) => ({
  binary: '/bin/sh',
  args: ['-c', script],
  paths: runPaths(folder),
  taps: [],
});

test('a process is known by pid and start time, and another start time is another process', async () => {
  const child = spawn('sleep', ['30'], { stdio: 'ignore' });
  const found = identify(child.pid ?? 0);
  assert.ok(found !== null && isAlive(found));
  assert.ok(!isAlive({ ...found, startTicks: found.startTicks - 1 }));
  await terminate({ ...found, startTicks: found.startTicks - 1 });
  assert.ok(isAlive(found), 'the wrong process is not touched');
  await terminate(found);
  assert.ok(!isAlive(found));
});

test('a process that ignores SIGTERM is killed', async () => {
  const child = spawn('/bin/sh', ['-c', 'trap "" TERM; echo; while :; do sleep 0.05; done'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const found = identify(child.pid ?? 0);
  assert.ok(found !== null);
  await terminate(found, { graceMs: 50 });
  assert.ok(!isAlive(found));
});

test('a QEMU that ends at once fails with its own words', async () => {
  await withFolder(async (folder) => {
    const commandLine = shell(folder, `echo "qemu-system-x86_64: -blockdev x: Could not open '/d'" >&2; exit 1`);
    await assert.rejects(startQemu({ vm: 'a', commandLine }), {
      code: 'QEMU_START',
      message: `QEMU of VM "a" did not start: Could not open '/d' (-blockdev)`,
    });
  });
});

test('a QEMU without monitor is ended after the time allowed', async () => {
  await withFolder(async (folder) => {
    const commandLine = shell(folder, 'echo $$; exec sleep 30');
    await assert.rejects(startQemu({ vm: 'a', commandLine, timeoutMs: 60 }), (error: unknown) => {
      const { code, fields } = error as { code: string; fields: { log: string } };
      assert.equal(code, 'QEMU_START');
      assert.equal(identify(Number(fields.log)), null, 'nothing is left running');
      return true;
    });
  });
});

test('a binary that cannot be run is named', async () => {
  await withFolder(async (folder) => {
    const commandLine = { ...shell(folder, ''), binary: '/nonexistent/qemu' };
    await assert.rejects(startQemu({ vm: 'a', commandLine }), { code: 'QEMU_BINARY', message: /\/nonexistent\/qemu/ });
  });
});
