import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { processOf } from './host-processes.ts';
import { ResidentMemory } from './resident-memory.ts';

const MIB = 2 ** 20;

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) * 1024;
}

const hugePages = readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'latin1');

function hugeBytes(pid: number): number {
  return (
    Number(/^AnonHugePages:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0) * 1024
  );
}

test('memory that is ready is resident, and released with the process that held it', async () => {
  await using memory = new ResidentMemory(96 * MIB);
  await memory.ready(new AbortController().signal);
  const pid = memory.pid!;
  assert.ok(residentBytes(pid) >= 96 * MIB);
  if (!hugePages.includes('[never]')) assert.ok(hugeBytes(pid) >= 64 * MIB, 'most of it in huge pages');
  await memory.release();
  assert.equal(processOf(pid), null);
  await memory.release();
});

test('memory that is not waited for is released as well, and an abort ends the waiting', async () => {
  const memory = new ResidentMemory(256 * MIB);
  const pid = memory.pid!;
  const aborted = new AbortController();
  const waiting = memory.ready(aborted.signal);
  aborted.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
  await memory[Symbol.asyncDispose]();
  assert.equal(processOf(pid), null);
});

test('a process that ended before its memory was ready is an error', async () => {
  await using memory = new ResidentMemory(256 * MIB);
  process.kill(memory.pid!, 'SIGKILL');
  await assert.rejects(memory.ready(new AbortController().signal), { code: 'LAB_COMMAND' });
});
