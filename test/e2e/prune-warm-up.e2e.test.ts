/** --warm-up: a guest that dropped its file cache for a migration reads it again, wherever it goes on. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';
import { until } from '../support/outside-view.ts';
import { assertReport } from '../support/report-checks.ts';

const CACHE_MIB = 128;
/** What the kernel keeps for itself, and files of which too little was there to be read again. */
const SLACK_MIB = 24;

describe('QEMU 10', () => {
  const lab = useLab();

  async function guestWithCache(name: string): Promise<LabGuest> {
    const kernelWords = ['vmferry.meminfo=1'];
    const guest = await lab.startGuest('a', { name, memory: '384M', cache: `${CACHE_MIB}M`, kernelWords });
    await guest.waitFor(/^M cached=/m);
    assert.ok((await cachedMib(guest)) >= CACHE_MIB, 'the guest has filled its cache');
    return guest;
  }

  /** As the guest says from now on. */
  async function cachedMib(guest: LabGuest): Promise<number> {
    const said = guest.text().length;
    const news = (): string[] =>
      Array.from(
        guest
          .text()
          .slice(said)
          .matchAll(/^M cached=(\d+)\r?$/gm),
        ([, kib]) => kib!,
      );
    // The first line may have been on its way.
    await until('the guest says how much it caches', () => news().length >= 2);
    return Number(news().at(-1)) / 1024;
  }

  async function untilWarm(guest: LabGuest): Promise<void> {
    let cached = 0;
    await until('the cache is warm again', async () => {
      cached = await cachedMib(guest);
      return cached >= CACHE_MIB - SLACK_MIB;
    });
  }

  test('at the destination, with memory verified, and there and back', async (t) => {
    const guest = await guestWithCache('warm');
    for (const [from, to] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const { report } = await lab.migrate(guest, from, to, '--warm-up', '--verify');
      assertReport(report);
      assert.equal(report.verified, true);
      assert.equal(report.options.warmUp, true);
      assert.match(
        report.notes.join('; '),
        /^VM "warm" reads \d+ files of its former cache \(1\d\d(\.\d+)? MiB\) again, in the background$/,
      );
      assert.ok((report.pages.pruned ?? 0) > (CACHE_MIB - SLACK_MIB) * 256, 'the cache was left out');
      const { totalMs, pages } = report;
      t.diagnostic(
        `${from} to ${to}: ${totalMs.toFixed(0)} ms, ${pages.pruned} pages left out; ${report.notes.join()}`,
      );
      await untilWarm(guest);
    }
    await lab.ok('a', 'vm', 'stop', 'warm', '--force');
  });

  test('without it the cache stays cold, and a cancelled move with it gives the cache back at the source', async () => {
    const guest = await guestWithCache('cold');
    const drops = (): number => lab.agentLog('a').split('The guest dropped its file cache').length;
    const before = drops();
    const { child, done } = lab.startMigrate(guest, 'a', 'b', '--warm-up', '--max-bandwidth', '2MB/s');
    await until('the cache is dropped', () => drops() > before);
    child.kill('SIGINT');
    assert.equal((await done).code, 130);
    await untilWarm(guest);
    const { report } = await lab.migrate(guest, 'a', 'b');
    assertReport(report);
    assert.deepEqual([report.options.warmUp, report.notes], [false, []]);
    assert.ok((await cachedMib(guest)) < SLACK_MIB, 'nobody reads it again');
    await lab.ok('b', 'vm', 'stop', 'cold', '--force');
  });
});
