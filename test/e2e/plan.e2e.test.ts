/** `vmferry plan` against a real guest: what it sees of the guest is true, what it predicts is near, and nothing is moved by it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MovePlan } from '../../src/core/model/plan.ts';
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
