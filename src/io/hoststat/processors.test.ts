import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import {
  busyPart,
  confineTo,
  parseProcessorList,
  parseProcessorTimes,
  processorsOf,
  processorTimes,
} from './processors.ts';

const before = parseProcessorTimes(
  'cpu  9 9 9 9\ncpu0 100 0 50 800 50 0 0 0 0 0\ncpu1 0 0 0 1000 0 0 0 0 0 0\nintr 1\n',
);
const after = parseProcessorTimes('cpu  9 9 9 9\ncpu0 140 5 60 830 60 2 2 1 7 0\ncpu1 0 0 0 1100 0 0 0 0 0 0\n');

test('a processor is busy when it is neither idle nor waits', () => {
  assert.deepEqual(before.get(0), { busyMs: 1500, idleMs: 8500 });
  assert.deepEqual([...before.keys()], [0, 1]);
  assert.equal(busyPart(before, after, [0]), 0.6);
  assert.equal(busyPart(before, after, [0, 1]), 0.3);
  assert.equal(busyPart(before, before, [0]), null);
  assert.equal(busyPart(before, after, []), null);
});

test('lists of processors are those of the kernel', () => {
  assert.deepEqual(parseProcessorList('0-2,5,7-8'), [0, 1, 2, 5, 7, 8]);
  assert.deepEqual(parseProcessorList('3'), [3]);
  assert.deepEqual(parseProcessorList(''), []);
});

test('a process is confined, and one that is not there is an error', async () => {
  const all = processorsOf('self');
  assert.ok(all.length >= 1 && all.every((one) => processorTimes().has(one)));
  const child = spawn('sleep', ['30'], { stdio: 'ignore' });
  try {
    await once(child, 'spawn');
    await confineTo(child.pid!, all.slice(-1));
    assert.deepEqual(processorsOf(child.pid!), all.slice(-1));
  } finally {
    child.kill();
  }
  await once(child, 'exit');
  await assert.rejects(confineTo(child.pid!, all), { code: 'CPU_AFFINITY' });
});
