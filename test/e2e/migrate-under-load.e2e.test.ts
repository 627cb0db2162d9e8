/** QEMU 10 to 10 under load: memory equal on every page, a report that adds up, and there and back five times. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MigrationReport, MigrationView } from '../../src/core/model/migration.ts';
import type { HostView } from '../../src/core/model/vm.ts';
import { assertReport } from '../support/report-checks.ts';
import { useLab } from '../support/lab-hosts.ts';

const lab = useLab();
const MIB = 1024 ** 2;

type Status = { readonly host: HostView; readonly migrations: readonly MigrationView[] };

test('a guest under load moves with all of its memory, and the report says what happened', async (t) => {
  const guest = await lab.startGuest('a', { name: 'load', memory: '256M', writer: { set: '48M', rate: '10M' } });
  const before = (await guest.moreWriterLines(5)).at(-1);
  const sentBefore = await lab.sentBytes();
  const startedAtMs = performance.now();
  const { report, views, json } = await lab.migrate(guest, 'a', 'b', '--verify', '--prune', 'none');
  const wallMs = performance.now() - startedAtMs;
  const linkBytes = (await lab.sentBytes()).a - sentBefore.a;
  const after = (await guest.moreWriterLines(20)).at(-1);
  const guestWallMs = performance.now() - startedAtMs;
  t.diagnostic(`${wallMs.toFixed(0)} ms of CLI, ${linkBytes} bytes on the link, report ${JSON.stringify(report)}`);

  assertReport(report);
  assert.equal(report.outcome, 'completed');
  assert.equal(report.verified, true);
  assert.equal(report.pages.pruned, null, 'every page was sent and compared, none left out');
  assert.deepEqual(
    [report.vm, report.source, report.destination, report.guest, report.code],
    ['load', 'a', 'b', 'running at destination', null],
  );
  assert.ok(report.totalMs < wallMs, `${report.totalMs} ms of ${wallMs} ms`);
  assert.ok(report.pages.total >= (256 * MIB) / 4096 && report.pages.total < (257 * MIB) / 4096);
  // 48 MiB of the writer at least, and what Linux has; compressed 16 to 1 at most.
  assert.ok(report.pages.sent >= (48 * MIB) / 4096, `${report.pages.sent} pages sent`);
  assert.ok(report.bytes.wire < linkBytes * 1.01 && report.bytes.wire > linkBytes * 0.9, `${report.bytes.wire} bytes`);
  assert.ok(report.pages.resent > 0, 'a guest under load writes pages again');

  const last = views.at(-1);
  assert.deepEqual([last?.stage, last?.progress, last?.outcome], ['ended', 1, 'completed']);
  assert.ok(before !== undefined && after !== undefined && after.sequence > before.sequence);
  const guestMs = after.guestMs - before.guestMs;
  assert.ok(guestMs >= 2000 && guestMs <= guestWallMs + 500, `guest's clock: ${guestMs} ms of ${guestWallMs} ms`);
  guest.assertSound();

  assert.deepEqual(await lab.vmStates('a'), []);
  assert.deepEqual(await lab.vmStates('b'), ['load running']);
  assert.deepEqual(await lab.ok('a', 'show', report.id), json);
  assert.deepEqual(await lab.history('a', 'load'), [json]);
  assert.deepEqual((await lab.ok<Status>('a', 'status')).migrations, []);
  assert.equal((await lab.ok<Status>('a', 'status')).host.vms, 0);
  assert.equal((await lab.ok<Status>('b', 'status')).host.memoryBytes.used, 256 * MIB);
  const { message } = await lab.refused(3, 'a', 'migrate', 'load', 'b');
  assert.match(message, /moved to host "b"/);
  await lab.ok('b', 'vm', 'stop', 'load', '--force');
  assert.deepEqual(await lab.vmStates('b'), []);
});

test('a guest under load moves there and back five times', async (t) => {
  const guest = await lab.startGuest('a', { name: 'rounds', memory: '256M', writer: { set: '32M', rate: '10M' } });
  const reports: MigrationReport[] = [];
  let sequence = (await guest.moreWriterLines(2)).at(-1)?.sequence ?? 0;
  for (let move = 0; move < 10; move++) {
    const [from, to] = move % 2 === 0 ? (['a', 'b'] as const) : (['b', 'a'] as const);
    // There with every page, back without those that the guest can do without.
    const options = move % 2 === 0 ? ['--prune', 'none'] : [];
    const { report } = await lab.migrate(guest, from, to, '--verify', ...options);
    assertReport(report);
    assert.equal(report.verified, true, `move ${move}`);
    const now = (await guest.moreWriterLines(5)).at(-1)?.sequence ?? 0;
    assert.ok(now > sequence, `move ${move}: the writer goes on after ${sequence}`);
    sequence = now;
    reports.push(report);
  }
  await guest.moreWriterLines(20);
  guest.assertSound();
  const numbers = reports.map(({ totalMs, downtimeMs }) => `${totalMs.toFixed(0)}/${downtimeMs?.toFixed(0)}`);
  t.diagnostic(`total/downtime in ms: ${numbers.join(' ')}`);

  assert.deepEqual(await lab.vmStates('a'), ['rounds running']);
  assert.deepEqual(await lab.vmStates('b'), []);
  assert.equal(new Set(reports.map(({ id }) => id)).size, 10);
  for (const host of ['a', 'b'] as const) {
    const own = reports.filter(({ source }) => source === host).reverse();
    assert.deepEqual(await lab.history(host, 'rounds'), own, `history of ${host}, newest first`);
    assert.deepEqual((await lab.ok<Status>(host, 'status')).migrations, []);
  }
});
