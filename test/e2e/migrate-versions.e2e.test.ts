/**
 * QEMU 7.2 as source and as destination. Under software emulation 7.2 loses dirty pages by itself (the source does not know that
 * they changed), so what a busy guest wrote is not compared here: the moves complete, and the guest and its console go on.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertReport } from '../support/report-checks.ts';
import { useLab } from '../support/lab-hosts.ts';
import type { HostName, LabHosts } from '../support/lab-hosts.ts';
import type { LabGuest } from '../support/lab-guest.ts';

const machine = 'pc-q35-7.2';

/** The writer says a line every 100 ms and writes next to nothing. */
const quiet = { set: '64K', rate: '4K' };

async function assertGoesOn(lab: LabHosts, guest: LabGuest, host: HostName): Promise<void> {
  const before = guest.writerLines().at(-1);
  const after = (await guest.moreWriterLines(20)).at(-1);
  assert.ok(before !== undefined && after !== undefined && after.guestMs >= before.guestMs + 1500, 'the guest goes on');
  assert.deepEqual(await lab.vmStates(host), [`${guest.name} running`]);
  assert.doesNotMatch(guest.text(), /Oops|Kernel panic|BUG:|segfault/);
}

describe('QEMU 7.2 to QEMU 7.2', () => {
  const lab = useLab({ qemu: { a: '7.2', b: '7.2' } });

  test('a quiet guest moves there and back', async (t) => {
    const guest = await lab.startGuest('a', { name: 'quiet', machine, memory: '256M', writer: quiet });
    for (const [from, to] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const { report } = await lab.migrate(guest, from, to);
      assertReport(report);
      t.diagnostic(`${report.totalMs.toFixed(0)} ms, downtime ${report.downtimeMs?.toFixed(0)} ms, ${report.reason}`);
      await assertGoesOn(lab, guest, to);
    }
    assert.equal((await lab.vms('a'))[0]?.qemuVersion?.slice(0, 3), '7.2');
    await lab.ok('a', 'vm', 'stop', 'quiet', '--force');
  });

  test('a guest that writes moves', async (t) => {
    const writer = { set: '32M', rate: '8M' };
    const guest = await lab.startGuest('a', { name: 'writes', machine, memory: '256M', writer });
    const { report } = await lab.migrate(guest, 'a', 'b');
    assertReport(report);
    t.diagnostic(`${report.totalMs.toFixed(0)} ms, downtime ${report.downtimeMs?.toFixed(0)} ms, ${report.reason}`);
    assert.ok(report.pages.sent >= 32 * 256, `${report.pages.sent} pages`);
    await assertGoesOn(lab, guest, 'b');
  });
});

describe('QEMU 7.2 to QEMU 10', () => {
  const lab = useLab({ qemu: { a: '7.2', b: '10' } });

  test('a guest of machine type 7.2 moves to 10 and back to 7.2', async (t) => {
    const writer = { set: '32M', rate: '8M' };
    const guest = await lab.startGuest('a', { name: 'mixed', machine, memory: '256M', writer });
    const there = await lab.migrate(guest, 'a', 'b');
    assertReport(there.report);
    const [moved] = await lab.vms('b');
    assert.deepEqual([moved?.machine, moved?.qemuVersion?.split('.')[0]], [machine, '10']);
    await assertGoesOn(lab, guest, 'b');

    const back = await lab.migrate(guest, 'b', 'a', '--verify');
    assertReport(back.report);
    assert.equal(back.report.verified, true, 'QEMU 10 as source loses nothing');
    await assertGoesOn(lab, guest, 'a');
    for (const { report } of [there, back]) {
      t.diagnostic(`${report.totalMs.toFixed(0)} ms, downtime ${report.downtimeMs?.toFixed(0)} ms, ${report.reason}`);
    }
    await lab.ok('a', 'vm', 'stop', 'mixed', '--force');
  });

  test('a machine type that the destination does not know is refused, and the guest is not touched', async () => {
    const options = { name: 'newer', machine: 'pc-q35-10.0', memory: '128M', writer: quiet };
    const guest = await lab.startGuest('b', options);
    const { message, problems } = await lab.refused(4, 'b', 'migrate', 'newer', 'a');
    assert.match(JSON.stringify([message, problems]), /QEMU_TOO_OLD.*older than machine type pc-q35-10\.0/);
    await guest.moreWriterLines(5);
    guest.assertSound();
    assert.deepEqual([await lab.vmStates('a'), await lab.vmStates('b')], [[], ['newer running']]);
  });
});
