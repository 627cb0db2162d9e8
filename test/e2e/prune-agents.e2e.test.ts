/**
 * Guest agents that are absent, hung, forbidden, broken or lying, and kernels that look at free pages: the move completes in
 * good time, says what was not left out and why, and only a guest that lies about itself can be hurt by it (rule R5).
 *
 * The kernel of the test guest is built without CONFIG_PAGE_POISONING: that its command line is refused is shown here, not
 * that poison would have been missed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MigrationReport } from '../../src/core/model/migration.ts';
import { FakeAgent } from '../support/agent-fake.ts';
import type { AgentTrick } from '../support/agent-fake.ts';
import { assertChurnSound, churnOn } from '../support/churn-watch.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';
import type { HostName } from '../support/lab-hosts.ts';
import { assertReport } from '../support/report-checks.ts';

const lab = useLab();
const churn = { set: '16M' };
/** Nothing that an agent does or does not do may cost a small guest more. */
const TOTAL_MS_MAX = 12_000;

async function moveNoted(guest: LabGuest, from: HostName, to: HostName, note: RegExp): Promise<MigrationReport> {
  const { report } = await lab.migrate(guest, from, to, '--verify');
  assertReport(report);
  assert.equal(report.verified, true);
  assert.equal(report.notes.length, 1, JSON.stringify(report.notes));
  assert.match(report.notes[0] ?? '', note);
  assert.ok(report.totalMs < TOTAL_MS_MAX, `${report.totalMs} ms`);
  await churnOn(guest, 10);
  assertChurnSound(guest);
  return report;
}

test('agents that are hung or forbidden, and a kernel told to poison free pages: all is sent, and a note says why', async (t) => {
  const guests = [
    { name: 'hung', agent: 'stopped', note: /^Nothing of VM "hung".*(answer)/ },
    { name: 'forbidden', agent: 'forbidden', note: /^Nothing of VM "forbidden".*guest-file-open.*disabled/ },
    { name: 'poisoned', kernelWords: ['page_poison=1'], note: /^Nothing of VM "poisoned".*page_poison/ },
  ] as const;
  const started = guests.map(async ({ note, ...options }) => {
    const guest = await lab.startGuest('a', { memory: '160M', churn, ...options });
    await churnOn(guest, 10);
    return { guest, note };
  });
  for (const { guest, note } of await Promise.all(started)) {
    const { pages, totalMs, downtimeMs } = await moveNoted(guest, 'a', 'b', note);
    assert.equal(pages.pruned, 0);
    t.diagnostic(`${guest.name}: ${totalMs.toFixed(0)} ms, downtime ${downtimeMs?.toFixed(0)} ms`);
    await lab.ok('b', 'vm', 'stop', guest.name, '--force');
  }
});

const broken: readonly (readonly [trick: AgentTrick, note: RegExp])[] = [
  ['dies', /channel of VM "broken" is closed/],
  ['garbage', /guest-file-read: its answer is not JSON/],
  ['endless', /channel of VM "broken" is closed|did not answer/],
  ['byte by byte', /did not answer guest-file-read in time/],
];

test('agents that break off, send garbage, lines without end or byte by byte are given up; one that lies hurts its own guest alone', async (t) => {
  const [guest, other] = await Promise.all([
    lab.startGuest('a', { name: 'broken', memory: '160M', churn }),
    lab.startGuest('a', { name: 'other', memory: '160M', churn }),
  ]);
  await churnOn(guest, 10);
  for (const [move, [trick, note]] of broken.entries()) {
    const [from, to] = move % 2 === 0 ? (['a', 'b'] as const) : (['b', 'a'] as const);
    const fake = await FakeAgent.inPlaceOf(lab, from, guest.name, trick);
    const { totalMs, downtimeMs } = await moveNoted(guest, from, to, note).finally(() => fake.close());
    t.diagnostic(`${trick}: ${totalMs.toFixed(0)} ms, downtime ${downtimeMs?.toFixed(0)} ms`);
  }

  // Now it calls all of its memory free, and is believed.
  const fake = await FakeAgent.inPlaceOf(lab, 'a', guest.name, 'all free');
  const result = await lab.tryMigrate(guest, 'a', 'b').finally(() => fake.close());
  assert.ok([0, 6].includes(result.code), `${result.code} ${result.stderr}`);
  if (result.code === 0) assert.ok((result.report.pages.pruned ?? 0) > result.report.pages.sent, 'it was believed');
  await churnOn(other, 10);
  const { report } = await lab.migrate(other, 'a', 'b', '--verify');
  assert.deepEqual([report.verified, report.notes], [true, []]);
  await churnOn(other, 10);
  assertChurnSound(other);
});
