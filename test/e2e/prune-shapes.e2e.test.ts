/** Soft pages of guests of different build: memory above 4 GiB and in a DIMM, ballooned memory, QEMU 7.2; and a cancelled pass. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertChurnSound, churnOn } from '../support/churn-watch.ts';
import { useLab } from '../support/lab-hosts.ts';
import { askQemu, secondMonitor, until } from '../support/outside-view.ts';
import { assertReport } from '../support/report-checks.ts';

const MIB = 2 ** 20;

describe('QEMU 10', () => {
  const lab = useLab();

  test('memory above 4 GiB, in a DIMM and in a balloon: what is free is left out, and the rest arrives', async (t) => {
    const guest = await lab.startGuest('a', {
      ...{ name: 'shape', memory: '5G', vcpus: 2, churn: { set: '64M' }, cache: '128M' },
      kernelWords: ['memhp_default_state=online_movable'],
      qemuArguments: [
        ...secondMonitor,
        ...['-m', 'slots=2,maxmem=8G', '-object', 'memory-backend-ram,id=dimm0,size=1G'],
        ...['-device', 'pc-dimm,id=d0,memdev=dimm0', '-device', 'virtio-balloon-pci,id=balloon0'],
      ],
    });
    await churnOn(guest, 40);
    await askQemu(lab, 'a', 'shape', 'balloon', { value: 5000 * MIB });
    const actual = async (): Promise<number> =>
      ((await askQemu(lab, 'a', 'shape', 'query-balloon')) as { actual: number }).actual;
    await until('the balloon grows', async () => (await actual()) < 5500 * MIB);
    const there = await lab.migrate(guest, 'a', 'b', '--verify');
    assertReport(there.report);
    assert.deepEqual([there.report.verified, there.report.notes], [true, []]);
    const { pages, totalMs, downtimeMs } = there.report;
    t.diagnostic(`${totalMs.toFixed(0)} ms, downtime ${downtimeMs?.toFixed(0)} ms, ${JSON.stringify(pages)}`);
    assert.ok(pages.total >= 6 * 1024 * 256);
    assert.ok((pages.pruned ?? 0) > 20_000, 'most of 128 MiB of file cache, which lies above 4 GiB');
    await churnOn(guest, 40);
    await askQemu(lab, 'b', 'shape', 'balloon', { value: 6144 * MIB });
    await churnOn(guest, 40);
    const back = await lab.migrate(guest, 'b', 'a', '--verify');
    assert.deepEqual([back.report.verified, back.report.notes], [true, []]);
    await churnOn(guest, 20);
    assertChurnSound(guest);
    await lab.ok('a', 'vm', 'stop', 'shape', '--force');
  });

  test('a move cancelled while the guest is being asked leaves it as it was, and the next one completes', async () => {
    const guest = await lab.startGuest('a', { name: 'cancelled', memory: '512M', churn: { set: '32M' }, cache: '64M' });
    await churnOn(guest, 20);
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
    const { report } = await lab.migrate(guest, 'a', 'b', '--verify');
    assert.deepEqual([report.verified, report.notes], [true, []]);
    await churnOn(guest, 10);
    assertChurnSound(guest);
  });

  test('--keep-cache sends what was used lately, and the guest has it at the destination', async (t) => {
    for (const options of [[], ['--keep-cache']]) {
      const name = `cache${options.length}`;
      // The writer's line comes every 100 ms; its files are in the cache, but only read once.
      const guest = await lab.startGuest('a', { name, memory: '320M', cache: '96M', churn: { set: '16M' } });
      await churnOn(guest, 20);
      const { report } = await lab.migrate(guest, 'a', 'b', '--verify', ...options);
      assert.deepEqual([report.verified, report.notes], [true, []]);
      t.diagnostic(`${options.join('')}: ${report.bytes.wire} bytes, ${JSON.stringify(report.pages)}`);
      await churnOn(guest, 10);
      assertChurnSound(guest);
      await lab.ok('b', 'vm', 'stop', name, '--force');
    }
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
