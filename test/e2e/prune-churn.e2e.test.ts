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
  formatDisk(disk, 48 * 2 ** 20);
  const churn = { set: '40M', disk: { source: disk } };
  const guest = await lab.startGuest('a', { memory: '256M', cache: '64M', churn, ...options });
  await churnOn(guest, 60);
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
    await churnOn(guest, 40);
    assertChurnSound(guest);
  }
  const figures = reports.map(
    ({ pages, totalMs, downtimeMs }) =>
      `${totalMs.toFixed(0)}/${downtimeMs?.toFixed(0)} ms ${pages.sent}/${pages.pruned} pages`,
  );
  t.diagnostic(`total/downtime, sent/pruned: ${figures.join('; ')}`);
  t.diagnostic(JSON.stringify(assertChurnSound(guest)));
  return reports;
}

test('ten moves back and forth with soft pages left out show a guest that checks every byte no difference', async (t) => {
  const guest = await start({ name: 'churn', vcpus: 2 });
  const moves = [[], ['--prune', 'free'], ['--drop-slabs'], ['--lanes', '2'], [], [], ['--keep-cache'], [], [], []];
  const reports = await moveOn(t, guest, moves);
  // Free pages of a guest that has been moved once are zero and need nothing; what is left out then is dropped cache.
  const pruned = reports.map(({ pages }) => pages.pruned ?? 0);
  assert.ok(pruned.filter((pages) => pages > 1000).length >= 4, `pages left out: ${pruned.join(' ')}`);
});

test('a guest whose kernel trusts free pages to be zero finds them zero', async (t) => {
  const guest = await start({ name: 'zeroed', kernelWords: ['init_on_free=1'] });
  assert.match(guest.text(), /mem auto-init:.*heap free:on/, 'the kernel really does');
  const sent = (await moveOn(t, guest, [[], [], [], []])).map(({ pages }) => pages.sent);
  // Its 64 MiB of file cache were not sent.
  assert.ok(Math.max(...sent) < 40_000, `pages sent: ${sent.join(' ')}`);
});
