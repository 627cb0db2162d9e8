import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { KeepAlive } from './keep-alive.ts';

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function start(t: TestContext, isPaused = false): { keepAlive: KeepAlive; pings: number[] } {
  const pings: number[] = [];
  const keepAlive = new KeepAlive({ ping: (id) => pings.push(id), isPaused: () => isPaused, intervalMs: 20 });
  keepAlive.start();
  t.after(() => keepAlive.stop());
  return { keepAlive, pings };
}

test('the round-trip time is smoothed, and strange answers are ignored', async (t) => {
  const { keepAlive, pings } = start(t);
  assert.deepEqual(pings, [1], 'the first ping goes out at once');
  keepAlive.pong(99);
  assert.equal(keepAlive.rttMs, null);
  keepAlive.pong(1);
  const first = keepAlive.rttMs;
  assert.ok(first !== null && first < 50);
  keepAlive.pong(1);
  assert.equal(keepAlive.rttMs, first, 'an answer counts once');
  while (pings.length < 2) await sleep(5);
  await sleep(80);
  keepAlive.pong(2);
  const second = Number(keepAlive.rttMs);
  assert.ok(second > first && second < first + 40, String(second));
});

test('time in which this process did not run is not silence of the peer', async (t) => {
  const { keepAlive } = start(t);
  const reports: number[] = [];
  keepAlive.onStalled(200, (silentMs) => reports.push(silentMs));
  for (const end = performance.now() + 400; performance.now() < end;);
  await sleep(30);
  assert.deepEqual(reports, []);
  keepAlive.heard();
});

test('silence while we do not read is not counted', async (t) => {
  const { keepAlive } = start(t, true);
  const reports: number[] = [];
  keepAlive.onStalled(50, (silentMs) => reports.push(silentMs));
  await sleep(150);
  assert.deepEqual(reports, []);
});
