/** `vmferry drain` and `undrain` on real guests: who can goes, who cannot is named, nobody comes, and all of it can be undone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { guestSpec } from '../../guests/spec.ts';
import { labStartAgent } from '../../src/app/lab/lab.ts';
import type { AutopilotLogEntry, DrainView } from '../../src/core/model/autopilot.ts';
import { logOf } from '../support/autopilot-scene.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';

const settings = { capacity: { cores: 8, memory: '2GiB' } };
const lab = useLab({
  config: { a: { ...settings, autopilot: { obey: ['b'] } }, b: { ...settings, autopilot: { obey: [] } } },
});
let guests: LabGuest[];

test('three guests at one host, one of them never to be moved', async () => {
  const writer = { set: '16M', rate: '1M' };
  const fixed = guestSpec({ name: 'fixed', memory: '160M', accelerator: 'tcg' });
  guests = await Promise.all([
    lab.startGuest('a', { name: 'one', memory: '192M', writer }),
    lab.startGuest('a', { name: 'two', memory: '160M', writer }),
    lab.startSpec('a', { ...fixed, placement: { pinned: true } }),
  ]);
});

const sentencesOf = ({ lines }: DrainView): Record<string, string> =>
  Object.fromEntries(lines.map(({ vm, sentence }) => [vm, sentence]));

test('hosts that are not known, or do not obey, are refused', async () => {
  assert.equal((await lab.refused(3, 'a', 'drain', 'nowhere')).code, 'PEER_UNKNOWN');
  assert.equal((await lab.refused(3, 'a', 'undrain', 'nowhere')).code, 'PEER_UNKNOWN');
  assert.equal((await lab.refused(4, 'a', 'drain', 'b')).code, 'NOT_OBEYED');
  assert.equal((await lab.refused(4, 'a', 'undrain', 'b')).code, 'NOT_OBEYED');
  assert.equal((await lab.refused(2, 'a', 'drain', 'a', '--threshold', '200')).code, 'POLICY_CONFIG');
});

test('a plan says where each VM would go, or why it would stay, and changes nothing', async () => {
  const { code, json } = await lab.cli('b', 'drain', 'a', '--dry-run');
  const said = sentencesOf(json as DrainView);
  assert.equal(code, 4, 'it would not be empty');
  assert.match(said['one'] ?? '', /^one goes to b, from .* after the start\.$/);
  assert.match(said['two'] ?? '', /^two goes to b/);
  assert.equal(said['fixed'], 'fixed stays, because it is never to be moved.');
  assert.deepEqual(await lab.vmStates('a'), ['fixed running', 'one running', 'two running']);
  assert.equal((json as DrainView).draining, false);
});

test('a host that obeys is drained from the other one: two VMs go, the third is named, and the exit code says so', async (t) => {
  const { code, json, stderr } = await lab.cli('b', 'drain', 'a');
  const view = json as DrainView;
  t.diagnostic(JSON.stringify(sentencesOf(view)));
  assert.deepEqual([code, view.empty, view.draining, view.running, view.plans], [4, false, true, false, 1], stderr);
  assert.deepEqual(Object.fromEntries(view.lines.map(({ vm, state, to }) => [vm, `${state} ${to}`])), {
    one: 'moved b',
    two: 'moved b',
    fixed: 'stays null',
  });
  assert.match(sentencesOf(view)['fixed'] ?? '', /never to be moved/);
  assert.match(stderr, /one is moving to b/);
  assert.deepEqual(await lab.vmStates('a'), ['fixed running']);
  assert.deepEqual(await lab.vmStates('b'), ['one running', 'two running']);
  for (const guest of guests.slice(0, 2)) {
    guest.follow(lab.consoleFile('b', guest.name));
    await guest.moreWriterLines(3);
    guest.assertSound();
  }
  assert.ok((await logOf(lab, 'a')).some(({ sentence }: AutopilotLogEntry) => /drained but for fixed/.test(sentence)));
});

test('a drained host takes no VM, also after a restart of its agent', async () => {
  const isRefused = async (): Promise<void> => {
    const moved = await lab.refused(4, 'b', 'migrate', 'one', 'a');
    assert.deepEqual(
      moved.problems?.map(({ code }) => code),
      ['HOST_DRAINING'],
    );
    assert.match(moved.problems?.[0]?.message ?? '', /end that with "vmferry undrain a"/);
  };
  await isRefused();
  const started = await lab.refused(4, 'a', 'vm', 'start', lab.writeSpec(guestSpec({ name: 'new', memory: '160M' })));
  assert.deepEqual(
    started.problems?.map(({ code }) => code),
    ['HOST_DRAINING'],
  );
  await labStartAgent('a', lab.name);
  await isRefused();
});

test('undrain: the host takes VMs again, and what has moved stays', async () => {
  const view = await lab.ok<DrainView>('b', 'undrain', 'a');
  assert.equal(view.draining, false);
  await sleep(1_000);
  assert.deepEqual(await lab.vmStates('b'), ['one running', 'two running']);
  await lab.migrate(guests[0]!, 'b', 'a');
});

test('Ctrl-C leaves the host draining and says so; what has begun goes on', async () => {
  const { child, done } = lab.startCli('a', 'drain', 'a');
  let said = '';
  child.stderr?.on('data', (text: string) => (said += text));
  while (!/one is moving/.test(said) && child.exitCode === null) await sleep(20);
  child.kill('SIGINT');
  const { code, stderr } = await done;
  assert.equal(code, 130, stderr);
  assert.match(stderr, /Host a goes on being drained; see "vmferry drain a" for it, end it with "vmferry undrain a"/);
  const deadline = performance.now() + 30_000;
  while (!(await lab.vmStates('b')).includes('one running') && performance.now() < deadline) await sleep(200);
  assert.deepEqual(await lab.vmStates('a'), ['fixed running']);
});

test('a host without VMs is empty, which is exit code 0', async () => {
  await lab.ok('a', 'vm', 'stop', 'fixed', '--force');
  const view = await lab.ok<DrainView>('a', 'drain', 'a');
  assert.deepEqual([view.empty, view.draining, view.lines], [true, true, []]);
  await lab.ok('a', 'undrain', 'a');
});
