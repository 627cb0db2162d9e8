/** `vmferry plan` against a real guest: what it sees of the guest is true, what it predicts is near, and nothing is moved by it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MigrationReport, MigrationView } from '../../src/core/model/migration.ts';
import type { MovePlan } from '../../src/core/model/plan.ts';
import { predictedFigures } from '../../src/core/model/prediction.ts';
import { useLab } from '../support/lab-hosts.ts';

const MIB = 2 ** 20;
const lab = useLab({ link: '100mbit' });

test('a plan sees what the guest writes and holds, and predicts its migration within a factor of two', async (t) => {
  const writer = { set: '32M', rate: '4M', pattern: 'random' as const };
  const guest = await lab.startGuest('a', { name: 'planned', memory: '256M', random: '64M', writer });
  await guest.moreWriterLines(5);
  const plan = await lab.ok<MovePlan>('a', 'plan', 'planned', 'b', '--measure', '3s');
  t.diagnostic(JSON.stringify(plan));
  assert.deepEqual(await lab.vmStates('a'), ['planned running']);
  assert.deepEqual(await lab.vmStates('b'), []);
  assert.deepEqual(plan.problems, []);
  assert.equal(plan.guest.memoryBytes >= 256 * MIB, true);
  // Incompressible memory, the writer's set, the kernel.
  assert.ok(plan.guest.contentBytes > 96 * MIB && plan.guest.contentBytes < 230 * MIB, `${plan.guest.contentBytes}`);
  const rate = plan.guest.writtenBytesPerS / MIB;
  assert.ok(rate > 1.5 && rate < 10, `${rate} MiB/s for a writer of 4 MiB/s and what else the guest does`);
  const linkRate = plan.link.bytesPerS ?? 0;
  assert.ok(linkRate > 2e6 && linkRate < 18e6, `${linkRate} bytes/s on a link of 12.5e6`);
  assert.deepEqual(
    plan.predictions.map(({ strategy }) => strategy),
    ['auto', 'precopy', 'mplm'],
  );
  const { report } = await lab.migrate(guest, 'a', 'b');
  const predicted = plan.predictions.find(({ strategy }) => strategy === report.strategy);
  assert.ok(predicted !== undefined);
  const ratio = {
    total: report.totalMs / predicted.totalMs.expected,
    bytes: report.bytes.wire / predicted.wireBytes.expected,
  };
  t.diagnostic(`measured / predicted: ${JSON.stringify(ratio)}`);
  assert.ok(ratio.bytes > 0.5 && ratio.bytes < 2, `bytes: ${ratio.bytes}`);
  assert.ok(ratio.total > 0.4 && ratio.total < 2.5, `total time: ${ratio.total}`);
  await guest.moreWriterLines(5);
  guest.assertSound();
});

/** Of a report with a prediction: ranges that are ranges, and how far off the values are. */
function assertForetold(report: MigrationReport): Record<string, number> {
  const { predicted } = report;
  assert.ok(predicted !== null, 'the report says what was expected');
  assert.equal(predicted.strategy, report.strategy);
  for (const figure of predictedFigures) {
    const { low, expected, high } = predicted[figure];
    assert.ok(
      low > 0 && low <= expected && expected <= high && high < 20 * low,
      `${figure}: ${low} ${expected} ${high}`,
    );
  }
  return {
    totalMs: report.totalMs / predicted.totalMs.expected,
    downtimeMs: (report.downtimeMs ?? NaN) / predicted.downtimeMs.expected,
    wireBytes: report.bytes.wire / predicted.wireBytes.expected,
  };
}

function assertCountsDown(views: readonly MigrationView[]): void {
  const known = views.flatMap(({ timeToGoMs }) => timeToGoMs ?? []);
  assert.ok(known.length > 3, `${known.length} views with a time to go`);
  for (const [i, ms] of known.entries()) assert.ok(i === 0 || ms <= known[i - 1]!, `time to go: ${known.join(' ')}`);
  assert.ok(views.every(({ progress }) => progress >= 0 && progress <= 1));
  assert.ok(views.every(({ predicted }) => predicted !== null));
}

test('a guest that writes faster than the link: said before, and so it comes', async (t) => {
  const writer = { set: '64M', rate: '40M', pattern: 'random' as const };
  const guest = await lab.startGuest('a', { name: 'endless', memory: '256M', writer });
  await guest.moreWriterLines(5);
  const plan = await lab.ok<MovePlan>('a', 'plan', 'endless', 'b', '--strategy', 'precopy');
  const [precopy] = plan.predictions;
  t.diagnostic(JSON.stringify(plan));
  assert.equal(precopy?.limitedBy, 'writes');
  assert.ok(precopy.downtimeMs.expected > 300, `${precopy.downtimeMs.expected} ms: the target cannot be met`);
  assert.match(plan.why, /none keeps the downtime target/);

  const { report, views } = await lab.migrate(guest, 'a', 'b', '--strategy', 'precopy', '--plan');
  assert.equal(report.outcome, 'completed');
  assert.ok((report.downtimeMs ?? 0) > report.options.downtimeTargetMs);
  const ratios = assertForetold(report);
  t.diagnostic(`measured / predicted: ${JSON.stringify(ratios)}`);
  assert.ok(ratios['downtimeMs']! > 0.2 && ratios['downtimeMs']! < 5);
  assertCountsDown(views);
  await guest.moreWriterLines(5);
  guest.assertSound();
});

test('a migration says nothing of what it expects unless it is asked to, and learns from the ones that did', async (t) => {
  const guest = await lab.startGuest('a', { name: 'learning', memory: '256M' });
  const { report: unasked } = await lab.migrate(guest, 'a', 'b');
  assert.equal(unasked.predicted, null);
  await lab.migrate(guest, 'b', 'a');
  const { report } = await lab.migrate(guest, 'a', 'b', '--plan');
  t.diagnostic(`measured / predicted: ${JSON.stringify(assertForetold(report))}`);
  await lab.migrate(guest, 'b', 'a');
  const plan = await lab.ok<MovePlan>('a', 'plan', 'learning', 'b', '--measure', '500ms');
  assert.ok((plan.predictions[0]?.correction?.moves ?? 0) >= 1, 'the move before it counts');
  assert.ok(plan.idle.destination !== null, 'the destination says how busy it is');
});

test('all strategies that are allowed, or the one that is asked for', async () => {
  await lab.startGuest('a', { name: 'shown', memory: '256M' });
  const predicted = async (...words: string[]): Promise<string[]> => {
    const plan = await lab.ok<MovePlan>('a', 'plan', 'shown', 'b', '--measure', '500ms', ...words);
    return plan.predictions.map(({ strategy }) => strategy);
  };
  assert.deepEqual(await predicted('--pull'), ['auto', 'precopy', 'mplm', 'dsm', 'postcopy']);
  assert.deepEqual(await predicted('--strategy', 'mplm'), ['mplm']);
});

test('a plan says what it cannot know, and refuses nonsense', async () => {
  await lab.startGuest('a', { name: 'mute', memory: '256M', agent: 'off' });
  const plan = await lab.ok<MovePlan>('a', 'plan', 'mute', 'b', '--measure', '300ms');
  assert.match(plan.notes.join(' '), /What VM "mute" can do without is not known and would be sent: .*agent/);
  for (const [words, expected] of [
    [['plan', 'nobody', 'b'], /no VM "nobody"|VM "nobody"/],
    [['plan', 'mute', 'nowhere'], /knows no host "nowhere"/],
    [['plan', 'mute', 'a'], /this host itself/],
    [['plan', 'mute', 'b', '--measure', '1h'], /measureMs|60/],
  ] as const) {
    const { stderr, code } = await lab.cli('a', ...words);
    assert.notEqual(code, 0);
    assert.match(stderr, expected);
    assert.doesNotMatch(stderr, /\n +at /, 'no stack trace');
  }
  assert.ok((await lab.vmStates('a')).includes('mute running'));
});
