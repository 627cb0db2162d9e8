import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { endProcesses, isRunning, processOf, signalProcess } from './host-processes.ts';

test('a process is known by its pid and its start time', () => {
  const own = processOf(process.pid);
  assert.ok(own !== null && own.startTicks > 0);
  assert.equal(isRunning(own), true);
  assert.equal(isRunning({ ...own, startTicks: own.startTicks + 1 }), false);
});

test('a process that took over the pid is not signalled', () => {
  const own = processOf(process.pid);
  assert.ok(own !== null);
  assert.equal(signalProcess({ ...own, startTicks: own.startTicks - 1 }, 'SIGKILL'), false);
});

test('processes are ended, those that ignore SIGTERM as well', async () => {
  const polite = spawn('sleep', ['60']);
  const deaf = spawn('sh', ['-c', 'trap "" TERM; echo; while :; do sleep 0.05; done'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await new Promise((resolve) => deaf.stdout.once('data', resolve));
  const both = [polite, deaf].map((child) => processOf(child.pid ?? 0)).filter((one) => one !== null);
  assert.equal(both.length, 2);
  await endProcesses(both, 200);
  assert.deepEqual(both.map(isRunning), [false, false]);
});
