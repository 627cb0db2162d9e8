/**
 * A guest that uses memory in every way and checks each byte of it and of its files moves back and forth with soft pages
 * left out (rule R4), and never sees a difference. With init_on_free its kernel trusts that free pages are zero.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { formatDisk } from '../../guests/images.ts';
import type { GuestOptions } from '../../guests/spec.ts';
import type { MigrationReport } from '../../src/core/model/migration.ts';
import { assertChurnSound, churnOn } from '../support/churn-watch.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';
import { assertReport } from '../support/report-checks.ts';

const lab = useLab();

async function start(options: GuestOptions): Promise<LabGuest> {
  const disk = join(lab.folder, `${options.name}.ext4`);
  formatDisk(disk, 40 * 2 ** 20);
  const churn = { set: '32M', disk: { source: disk } };
  const guest = await lab.startGuest('a', { memory: '224M', cache: '48M', churn, ...options });
  await churnOn(guest, 40);
  return guest;
}

/** Moves it so many times, starting at a, and lets it look around after each move. */
async function moveOn(
  t: TestContext,
  guest: LabGuest,
  moves: readonly (readonly string[])[],
): Promise<MigrationReport[]> {
  const reports: MigrationReport[] = [];
  for (const [move, options] of moves.entries()) {
    const [from, to] = move % 2 === 0 ? (['a', 'b'] as const) : (['b', 'a'] as const);
    const { report } = await lab.migrate(guest, from, to, '--verify', ...options);
    assertReport(report);
    assert.deepEqual([report.verified, report.notes], [true, []], `move ${move}`);
    reports.push(report);
    await churnOn(guest, 15);
    assertChurnSound(guest);
  }
  await churnOn(guest, 20);
  const figures = reports.map(
    ({ pages, totalMs, downtimeMs }) =>
      `${totalMs.toFixed(0)}/${downtimeMs?.toFixed(0)} ms ${pages.sent}/${pages.pruned} pages`,
  );
  t.diagnostic(`total/downtime, sent/pruned: ${figures.join('; ')}`);
  t.diagnostic(JSON.stringify(assertChurnSound(guest)));
  return reports;
}

/** Slow enough that the guest is asked more than once, and that pages which were sent become free meanwhile. */
const slowly = ['--keep-cache', '--max-bandwidth', '40MB/s'];

test('a guest that checks every byte sees no difference in ten moves back and forth with soft pages left out', async (t) => {
  const guest = await start({ name: 'churn' });
  const moves = [[], ['--prune', 'free'], ['--drop-slabs'], ['--lanes', '2'], slowly, [], ['--keep-cache'], [], [], []];
  const reports = await moveOn(t, guest, moves);
  // Free pages of a guest that has been moved once are zero and need nothing; what is left out then is dropped cache.
  const pruned = reports.map(({ pages }) => pages.pruned ?? 0);
  assert.equal(pruned.length, 10);
  assert.ok((pruned[0] ?? 0) > 5000, `pages left out: ${pruned.join(' ')}`);
  await lab.ok('a', 'vm', 'stop', guest.name, '--force');
});

test('a guest whose kernel trusts free pages to be zero finds them zero', async (t) => {
  const guest = await start({ name: 'zeroed', kernelWords: ['init_on_free=1'] });
  assert.match(guest.text(), /mem auto-init:.*heap free:on/, 'the kernel really does');
  await moveOn(t, guest, [[], slowly, slowly]);
});
