/** Guests of different build, and the options of a migration that show on the wire. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import type { GuestOptions, VmSpecInput } from '../../guests/spec.ts';
import { guestSpec } from '../../guests/spec.ts';
import { assertReport } from '../support/report-checks.ts';
import { useLab } from '../support/lab-hosts.ts';
import type { MigrateResult } from '../support/lab-hosts.ts';

const lab = useLab();
const MIB = 1024 ** 2;
const writer = { set: '32M', rate: '5M' };

/** Starts a guest at a, moves it to b with --verify, and lets it go on there. */
async function moveVerified(
  options: GuestOptions,
  change: Partial<VmSpecInput> = {},
  args: readonly string[] = [],
): Promise<MigrateResult> {
  const spec: VmSpecInput = { ...guestSpec({ accelerator: 'tcg', memory: '256M', writer, ...options }), ...change };
  const guest = await lab.startSpec('a', spec);
  const result = await lab.migrate(guest, 'a', 'b', '--verify', ...args);
  assertReport(result.report);
  assert.equal(result.report.verified, true);
  await guest.moreWriterLines(15);
  guest.assertSound();
  assert.deepEqual([await lab.vmStates('a'), await lab.vmStates('b')], [[], [`${options.name} running`]]);
  await lab.ok('b', 'vm', 'stop', options.name, '--force');
  return result;
}

test('a guest with 5 GiB, so with a hole below 4 GiB, moves', async (t) => {
  const { report } = await moveVerified({ name: 'hole', memory: '5G', writer: { set: '64M', rate: '5M' } });
  t.diagnostic(
    `${report.totalMs.toFixed(0)} ms, downtime ${report.downtimeMs?.toFixed(0)} ms, ${report.bytes.wire} bytes`,
  );
  assert.ok(report.pages.total >= (5 * 1024 * MIB) / 4096);
  assert.ok(report.pages.zero > report.pages.total * 0.9, 'mostly zero');
  assert.ok(report.pages.sent >= (64 * MIB) / 4096);
});

test('a guest with two vCPUs moves', async () => {
  await moveVerified({ name: 'two', vcpus: 2 });
});

test('a guest in shared memory moves', async () => {
  await moveVerified({ name: 'shared' }, { sharedMemory: true });
});

test('a guest with neither guest agent nor network nor disk moves', async () => {
  await moveVerified({ name: 'bare' }, { guestAgent: false });
});

test('a guest with a disk, a file cache and two networks moves', async () => {
  const networks = [{ type: 'user' as const }, { type: 'tap' as const, bridge: 'br0' }];
  await moveVerified({ name: 'rich', networks, cache: '64M' });
});

test('without compression a page costs a page', async () => {
  const { report } = await moveVerified({ name: 'plain' }, {}, ['--compress', 'none', '--delta', 'off']);
  const { raw, wire } = report.bytes;
  assert.equal(report.options.compress, 'none');
  assert.deepEqual([report.options.delta, report.pages.delta, report.pages.unchanged], ['off', null, null]);
  assert.ok(wire > raw && wire < raw * 1.02, `${wire} bytes for ${raw}`);
});

test('one lane carries all, four lanes carry as much', async () => {
  for (const lanes of ['1', '4']) {
    const { report } = await moveVerified({ name: `lanes${lanes}` }, {}, ['--lanes', lanes, '--compress', 'lz']);
    assert.equal(report.options.lanes, Number(lanes));
    assert.ok(report.bytes.wire < report.bytes.raw * 0.7, 'compressed');
  }
});

test('--max-bandwidth bounds what is on the wire', async (t) => {
  const capBytesPerS = 20e6;
  const guest = await lab.startGuest('a', { name: 'capped', memory: '256M', writer: { set: '64M', rate: '2M' } });
  const { done } = lab.startMigrate(guest, 'a', 'b', '--verify', '--max-bandwidth', '20MB/s', '--compress', 'none');
  const ended = { yet: false };
  void done.finally(() => (ended.yet = true));
  const samples: { atMs: number; bytes: number }[] = [];
  while (!ended.yet) {
    samples.push({ atMs: performance.now(), bytes: (await lab.sentBytes()).a });
    await sleep(200);
  }
  const { report, code, stderr } = await done;
  assert.equal(code, 0, stderr);
  assertReport(report);
  assert.equal(report.options.maxBandwidth, capBytesPerS);
  const busiest = Math.max(...samples.map((from) => rateOver(from, samples)));
  const { preCopy, stopAndCopy } = report.stagesMs;
  const meanBytesPerS = (report.bytes.wire / (preCopy + stopAndCopy)) * 1000;
  const rates = `busiest second ${(busiest / 1e6).toFixed(1)} MB/s, mean ${(meanBytesPerS / 1e6).toFixed(1)} MB/s`;
  t.diagnostic(`${rates}, ${report.totalMs.toFixed(0)} ms, downtime ${report.downtimeMs?.toFixed(0)} ms`);
  assert.ok(busiest < capBytesPerS * 1.15, rates);
  assert.ok(meanBytesPerS < capBytesPerS * 1.15 && meanBytesPerS > capBytesPerS * 0.6, rates);
  await guest.moreWriterLines(10);
  guest.assertSound();
});

type Sample = { readonly atMs: number; readonly bytes: number };

/** Bytes per second from a sample to the first one at least a second later; 0 where there is none. */
function rateOver(from: Sample, samples: readonly Sample[]): number {
  const to = samples.find(({ atMs }) => atMs >= from.atMs + 1000);
  return to === undefined ? 0 : ((to.bytes - from.bytes) / (to.atMs - from.atMs)) * 1000;
}
