/** Soft pages of guests of different build: memory above 4 GiB, ballooned memory, QEMU 7.2; cancelled moves. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertChurnSound, churnOn } from '../support/churn-watch.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';
import { askQemu, secondMonitor, until } from '../support/outside-view.ts';
import { assertReport } from '../support/report-checks.ts';

const MIB = 2 ** 20;

describe('QEMU 10', () => {
  const lab = useLab();

  test('memory above 4 GiB and in a balloon, also after cancelled moves: what is free is left out, and the rest arrives', async (t) => {
    const guest = await lab.startGuest('a', {
      ...{ name: 'shape', memory: '3G', vcpus: 2, churn: { set: '64M' }, cache: '128M' },
      qemuArguments: [...secondMonitor, '-device', 'virtio-balloon-pci,id=balloon0'],
    });
    await churnOn(guest, 20);
    await cancelMoves(guest);
    await askQemu(lab, 'a', 'shape', 'balloon', { value: 2560 * MIB });
    const actual = async (): Promise<number> =>
      ((await askQemu(lab, 'a', 'shape', 'query-balloon')) as { actual: number }).actual;
    await until('the balloon grows', async () => (await actual()) <= 2560 * MIB);
    const there = await lab.migrate(guest, 'a', 'b', '--verify');
    assertReport(there.report);
    assert.deepEqual([there.report.verified, there.report.notes], [true, []]);
    const { pages, totalMs, downtimeMs } = there.report;
    t.diagnostic(`${totalMs.toFixed(0)} ms, downtime ${downtimeMs?.toFixed(0)} ms, ${JSON.stringify(pages)}`);
    assert.ok(pages.total >= 3 * 1024 * 256);
    assert.ok((pages.pruned ?? 0) > 20_000, 'most of 128 MiB of file cache');
    await churnOn(guest, 20);
    await askQemu(lab, 'b', 'shape', 'balloon', { value: 3072 * MIB });
    await churnOn(guest, 20);
    const back = await lab.migrate(guest, 'b', 'a', '--verify');
    assert.deepEqual([back.report.verified, back.report.notes], [true, []]);
    await churnOn(guest, 20);
    assertChurnSound(guest);
    await lab.ok('a', 'vm', 'stop', 'shape', '--force');
  });

  /** While it is being asked, early and late: it goes on. */
  async function cancelMoves(guest: LabGuest): Promise<void> {
    const copies = (): number => lab.agentLog('a').split('Source is copying').length;
    for (const delayMs of [0, 500]) {
      const before = copies();
      const { child, done } = lab.startMigrate(guest, 'a', 'b', '--keep-cache', '--max-bandwidth', '10MB/s');
      await until('the pre-copy begins', () => copies() > before);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      child.kill('SIGINT');
      assert.equal((await done).code, 130);
      await churnOn(guest, 10);
      assertChurnSound(guest);
    }
  }

  test('--keep-cache sends what was used lately, and the guest still has it at the destination', async (t) => {
    const moved = async (name: string, ...options: string[]): Promise<{ cachedMib: number; sent: number }> => {
      const kernelWords = ['vmferry.hot=6', 'vmferry.meminfo=1'];
      const guest = await lab.startGuest('a', { name, memory: '320M', cache: '128M', kernelWords });
      await guest.waitFor(/^M cached=/m);
      const { report } = await lab.migrate(guest, 'a', 'b', '--verify', ...options);
      assertReport(report);
      assert.deepEqual([report.verified, report.notes], [true, []]);
      const said = guest.text().length;
      await until('the guest goes on', () => /^M cached=\d+\r?\n.*^M cached=\d+\r?$/ms.test(guest.text().slice(said)));
      const cachedMib = Number(/(\d+)\D*$/.exec(guest.text())?.[1]) / 1024;
      const { bytes, pages, totalMs, downtimeMs } = report;
      const times = `${totalMs.toFixed(0)} ms, downtime ${downtimeMs?.toFixed(0)} ms`;
      t.diagnostic(
        `${name}: ${times}, ${bytes.wire} bytes, ${pages.sent} sent, ${pages.pruned} left out, cache ${cachedMib.toFixed(0)} MiB`,
      );
      await lab.ok('b', 'vm', 'stop', name, '--force');
      return { cachedMib, sent: pages.sent };
    };
    const [dropped, kept] = await Promise.all([moved('dropped'), moved('kept', '--keep-cache')]);
    // 48 MiB of files were read twice; the kernel takes most of them for hot.
    assert.ok(kept.cachedMib > dropped.cachedMib + 20, `${kept.cachedMib} and ${dropped.cachedMib} MiB`);
    assert.ok(kept.sent > dropped.sent + 20 * 256, `${kept.sent} and ${dropped.sent} pages`);
  });
});

describe('QEMU 7.2', () => {
  const lab = useLab({ qemu: { a: '7.2' } });

  test('under software emulation nothing is left out, because QEMU loses writes, and a note says so', async () => {
    const machine = 'pc-q35-7.2';
    const guest = await lab.startGuest('a', {
      name: 'old',
      machine,
      memory: '160M',
      writer: { set: '64K', rate: '4K' },
    });
    const { report } = await lab.migrate(guest, 'a', 'b');
    assertReport(report);
    assert.equal(report.pages.pruned, 0);
    assert.match(report.notes.join(), /^Nothing of VM "old".*7\.2.* may miss writes/);
  });
});
