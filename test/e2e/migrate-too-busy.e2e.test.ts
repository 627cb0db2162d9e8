/** Pre-copy of a guest that writes faster than the link: the stop rules end the migration, and the report says which one did. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import type { MigrationView } from '../../src/core/model/migration.ts';
import { assertReport } from '../support/report-checks.ts';
import { useLab } from '../support/lab-hosts.ts';
import type { LabGuest } from '../support/lab-guest.ts';

const lab = useLab({ link: '100mbit' });

async function startBusyGuest(name: string): Promise<LabGuest> {
  return await lab.startGuest('a', { name, memory: '256M', writer: { set: '64M', rate: '40M', pattern: 'random' } });
}

test('rounds that stop shrinking end the pre-copy', async (t) => {
  const guest = await startBusyGuest('endless');
  const { done } = lab.startMigrate(guest, 'a', 'b', '--verify', '--strategy', 'precopy');
  const ended = { yet: false };
  void done.finally(() => (ended.yet = true));
  const seen = new Set<string>();
  while (!ended.yet) {
    const { migrations } = await lab.ok<{ migrations: readonly MigrationView[] }>('a', 'status');
    const states = [...(await lab.vmStates('a')), ...(await lab.vmStates('b'))].join(', ');
    for (const { vm, stage } of migrations) seen.add(`${vm} ${stage}: ${states}`);
    await sleep(500);
  }
  const { report, code, stderr } = await done;
  assert.equal(code, 0, stderr);
  assertReport(report);
  t.diagnostic(`${report.reason} after ${report.totalMs.toFixed(0)} ms, downtime ${report.downtimeMs?.toFixed(0)} ms`);
  t.diagnostic(report.rounds.map(({ ms, pagesSent }) => `${pagesSent} pages in ${ms.toFixed(0)} ms`).join(', '));
  t.diagnostic([...seen].join('; '));
  assert.equal(report.reason, 'rounds stopped shrinking');
  assert.ok((report.downtimeMs ?? 0) > report.options.downtimeTargetMs, 'the target could not be met');
  // Three rounds that bring nothing, after at least one that did, and the one in which the guest is stopped.
  assert.ok(report.rounds.length >= 4 && report.rounds.length <= 12, `${report.rounds.length} rounds`);
  assert.ok(seen.has('endless preCopy: endless migrating, endless incoming'), [...seen].join('; '));
  await guest.moreWriterLines(20);
  guest.assertSound();
  await lab.ok('b', 'vm', 'stop', 'endless', '--force');
});

test('the maximum of rounds ends the pre-copy', async (t) => {
  const guest = await startBusyGuest('bounded');
  const { report } = await lab.migrate(guest, 'a', 'b', '--strategy', 'precopy', '--max-rounds', '2');
  assertReport(report);
  t.diagnostic(`${report.reason} after ${report.totalMs.toFixed(0)} ms, downtime ${report.downtimeMs?.toFixed(0)} ms`);
  assert.equal(report.reason, 'maximum rounds');
  assert.ok(report.rounds.length <= 3, `${report.rounds.length} rounds`);
  // However long threads wait for a processor: that is not in it.
  const [, mbitPerS] = /"by":"kernel","mbitPerS":(\d+)/.exec(lab.agentLog('a')) ?? [];
  assert.ok(Number(mbitPerS) > 80 && Number(mbitPerS) < 130, `the kernel saw ${mbitPerS} Mbit/s on a link of 100`);
  await guest.moreWriterLines(20);
  guest.assertSound();
});
