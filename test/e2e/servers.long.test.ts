/**
 * Real programs in a Debian guest, moved under load: nginx loses no connection, Redis no acknowledged write, a compiler and
 * a decoder make no mistake. The image is built when it is first asked for, hence these run with `--long` only.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { GuestOptions } from '../../guests/spec.ts';
import { planLab } from '../../src/app/lab/plan.ts';
import { startRedisLoad, startWebLoad } from '../../src/app/load/load-process.ts';
import { WrkLoad } from '../../src/app/load/wrk.ts';
import type { MigrationReport } from '../../src/core/model/migration.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';
import { assertReport } from '../support/report-checks.ts';
import { assertWorkSound, workOn } from '../support/work-watch.ts';

const lab = useLab();
let guests = 0;
const MOVES = [
  ['a', 'b'],
  ['b', 'a'],
] as const;
/** The downtime target is 0.3 s; the client shares two cores with both QEMUs and both agents. */
const GAP_MS_MAX = 4000;

async function startServer(
  name: string,
  options: Partial<GuestOptions>,
): Promise<{ guest: LabGuest; address: string }> {
  // Each guest has an address of its own: host a remembers the network card that it last saw there.
  const address = (await lab.address('a')).replace(/\d+$/, String(10 + ++guests));
  const networks = [{ type: 'tap', bridge: 'br0' }] as const;
  const guest = await lab.startGuest('a', {
    ...{ name, image: 'debian', memory: '512M', address: `${address}/24`, networks: [...networks] },
    ...options,
  });
  return { guest, address };
}

/** There and back, with `load` looking from host a: near the guest at first, over the link then. */
async function moveBoth(
  t: TestContext,
  guest: LabGuest,
  load: { take(): Promise<{ longestGapMs: number }> },
): Promise<void> {
  await load.take();
  for (const [from, to] of MOVES) {
    const { report } = await lab.migrate(guest, from, to, '--verify');
    const seen = await load.take();
    assertMoved(report);
    t.diagnostic(`${from} to ${to}: downtime ${report.downtimeMs?.toFixed(0)} ms, seen ${JSON.stringify(seen)}`);
    assert.ok(seen.longestGapMs < GAP_MS_MAX, `an outage of ${seen.longestGapMs} ms`);
  }
}

function assertMoved(report: MigrationReport): void {
  assertReport(report);
  assert.equal(report.verified, true);
}

test('nginx answers every request, over the same connections, there and back', async (t) => {
  const { guest, address } = await startServer('web', { programs: ['nginx'] });
  const load = await startWebLoad(planLab(lab.name).hosts[0], { address });
  const seen = { requests: 0, failedRequests: 0, lostConnections: 0 };
  const take = async () => {
    const report = await load.take();
    for (const count of Object.keys(seen) as (keyof typeof seen)[]) seen[count] += report[count];
    return report;
  };
  await moveBoth(t, guest, { take });
  await workOn(guest, ['nginx']);
  await take();
  await load.finish();
  assertWorkSound(guest, ['nginx']);
  assert.deepEqual([seen.failedRequests, seen.lostConnections], [0, 0]);
  assert.ok(seen.requests > 500, `${seen.requests} requests`);
  await lab.ok('a', 'vm', 'stop', guest.name, '--force');
});

test('wrk, which takes all that nginx gives, loses no connection there and back', async (t) => {
  const { guest, address } = await startServer('wrk', { programs: ['nginx'] });
  await workOn(guest, ['nginx']);
  const load = new WrkLoad(planLab(lab.name).hosts[0], { url: `http://${address}/small-0`, connections: 8 });
  try {
    await moveBoth(t, guest, { take: async () => await Promise.resolve({ longestGapMs: 0 }) });
    await workOn(guest, ['nginx']);
  } finally {
    load.stop();
  }
  const { requests, failedRequests, lostConnections, longestLatencyMs } = await load.finish();
  assertWorkSound(guest, ['nginx']);
  assert.deepEqual([failedRequests, lostConnections], [0, 0]);
  assert.ok(requests > 500, `${requests} requests`);
  assert.ok(longestLatencyMs < GAP_MS_MAX, `an answer took ${longestLatencyMs} ms`);
  await lab.ok('a', 'vm', 'stop', guest.name, '--force');
});

test('Redis keeps every write that it acknowledged, there and back', async (t) => {
  const { guest, address } = await startServer('store', { programs: ['redis'] });
  const load = await startRedisLoad(planLab(lab.name).hosts[0], { address });
  const seen = { writes: 0, reads: 0, wrongAnswers: 0, lostConnections: 0 };
  const take = async () => {
    const report = await load.take();
    for (const count of Object.keys(seen) as (keyof typeof seen)[]) seen[count] += report[count];
    return report;
  };
  await moveBoth(t, guest, { take });
  await take();
  const { readBack } = await load.finish();
  assertWorkSound(guest, ['redis']);
  assert.deepEqual([seen.wrongAnswers, seen.lostConnections, readBack?.lostWrites], [0, 0, 0]);
  assert.ok((readBack?.keys ?? 0) > 100 && seen.writes > 500 && seen.reads > 500, JSON.stringify({ seen, readBack }));
  t.diagnostic(JSON.stringify({ seen, readBack }));
  await lab.ok('a', 'vm', 'stop', guest.name, '--force');
});

test('a compiler and a decoder make no mistake, there and back', async (t) => {
  const works = ['compile', 'video'];
  const { guest } = await startServer('tools', { programs: works, vcpus: 2, memory: '768M' });
  await workOn(guest, works, 120_000);
  await moveBoth(t, guest, { take: async () => await Promise.resolve({ longestGapMs: 0 }) });
  await workOn(guest, works, 120_000);
  assertWorkSound(guest, works);
  await lab.ok('a', 'vm', 'stop', guest.name, '--force');
});
