/** The autopilot when something is wrong: settings, hosts without room, VMs that may not go, old figures, a host that vanishes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { guestSpec } from '../../guests/spec.ts';
import { labSignalAgent, labStartAgent } from '../../src/app/lab/lab.ts';
import type { AutopilotRound, AutopilotStatus } from '../../src/core/model/autopilot.ts';
import { lastSequence, logOf, sceneConfig, untilSaid } from '../support/autopilot-scene.ts';
import { useLab } from '../support/lab-hosts.ts';

const lab = useLab({ config: { a: sceneConfig(['b']), b: sceneConfig([]) } });

test('two guests that compute make their host busy, one of them is never to be moved', async () => {
  const fixed = guestSpec({ name: 'fixed', memory: '192M', accelerator: 'tcg', programs: ['livermore'] });
  await Promise.all([
    lab.startGuest('a', { name: 'loose', memory: '192M', programs: ['dhrystone'] }),
    lab.startSpec('a', { ...fixed, placement: { pinned: true } }),
  ]);
});

const both = ['fixed running', 'loose running'];

test('settings out of their range are refused with the field and the range, and nothing is turned on', async () => {
  for (const [words, expected] of [
    [['on', '--threshold', '99'], /thresholdShare is 0\.99; expected: a number from 0\.05 to 0\.95/],
    [['on', '--low', '80'], /lowShare is 0\.8; expected: less than thresholdShare/],
    [['on', '--at-a-time', '0'], /movesAtATime is 0; expected: a number from 1 to 64/],
    [['on', '--lease', '1h'], /leaseMs is 3600000; expected: a number from 1000 to 600000/],
    [['--dry-run', '--round', '0'], /roundMs is 0/],
  ] as const) {
    const { code, message } = await lab.refused(2, 'a', 'autopilot', ...words);
    assert.deepEqual([code, expected.test(message)], ['POLICY_CONFIG', true], message);
  }
  for (const words of [
    ['--threshold', 'much'],
    ['--goal', 'peace'],
    ['--sustain', 'soon'],
  ]) {
    assert.equal((await lab.cli('a', 'autopilot', 'on', ...words)).code, 2);
  }
  assert.equal((await lab.ok<AutopilotStatus>('a', 'autopilot')).state, 'off');
});

test('where no host has room, and where a VM may not be moved, the reason says so', async () => {
  await sleep(3_000);
  const round = await lab.ok<AutopilotRound>('a', 'autopilot', '--dry-run', '--memory', '10');
  const said = round.decisions.find(({ host }) => host === 'a')?.sentence ?? '';
  assert.match(
    said,
    /Nothing is moved from a: it is at .* above 58\.0 %, but none of its 2 VMs can go: 1 never to be moved, 1 without a host that has room/,
  );
});

test('old figures decide nothing: a host that has fallen silent neither gives nor takes', async () => {
  const after = lastSequence(await logOf(lab, 'a'));
  await lab.ok('a', 'autopilot', 'on', '--lease', '60s', '--max-age', '4s', '--sustain', '8s');
  // A host that was never heard has no figures that could be old.
  await untilSaid(lab, 'a', /Nothing is moved from b: it is at/, { after });
  labSignalAgent('b', 'SIGSTOP', lab.name);
  try {
    await untilSaid(
      lab,
      'a',
      /Nothing is moved from b: its figures are .* old, and decisions need figures of the last 4\.00 s/,
      { after },
    );
    await untilSaid(lab, 'a', /none of its 2 VMs can go: 1 never to be moved, 1 without a host/, { after });
    assert.deepEqual(await lab.vmStates('a'), both);
  } finally {
    labSignalAgent('b', 'SIGCONT', lab.name);
    await lab.ok('a', 'autopilot', 'off');
  }
});

test('a destination that vanishes between decision and move: told, not tried again and again, and the VM runs on', async (t) => {
  const after = lastSequence(await logOf(lab, 'a'));
  const cooling = ['--vm-cooldown', '60s', '--host-cooldown', '60s'];
  await lab.ok('a', 'autopilot', 'on', '--lease', '60s', '--max-age', '60s', ...cooling);
  // While a guest is looked at it is in the hands of the look; the move is ordered some moments after.
  const client = lab.client('a');
  const isTaken = async (): Promise<boolean> =>
    (await client.call('listVms', {})).vms.some(({ name, migration }) => name === 'loose' && migration !== null);
  const deadline = performance.now() + 60_000;
  while (!(await isTaken()) && performance.now() < deadline) await sleep(20);
  while ((await isTaken()) && performance.now() < deadline) await sleep(20);
  labSignalAgent('b', 'SIGKILL', lab.name);
  await client.close();
  const ended = await untilSaid(
    lab,
    'a',
    /^(loose is still at a: its move to b did not begin|loose did not move from a to b)/,
    { after },
  );
  t.diagnostic(ended.sentence);
  assert.deepEqual(await lab.vmStates('a'), both);
  await untilSaid(lab, 'a', /Nothing is moved from a: .* its last move is so recent/, { after: ended.sequence });
  await sleep(3_000);
  const moves = (await logOf(lab, 'a')).filter(({ kind, sequence }) => kind === 'move' && sequence > after);
  assert.equal(moves.length, 1, 'it does not try again at once');
  assert.ok(moves[0]?.move?.error !== null && moves[0]?.move?.outcome !== 'completed');
  await lab.ok('a', 'autopilot', 'off');
  await labStartAgent('b', lab.name);
});

test('a host that does not obey is only a destination, and its people alone drain it', async () => {
  const after = lastSequence(await logOf(lab, 'a'));
  await lab.ok('a', 'autopilot', 'on', '--dry-run');
  await untilSaid(lab, 'a', /^loose moves from a to b/, { after });
  const { hosts } = await lab.ok<AutopilotStatus>('a', 'autopilot');
  assert.deepEqual(
    hosts.map(({ name, obeys }) => `${name} ${obeys}`),
    ['a true', 'b false'],
  );
  await lab.ok('a', 'autopilot', 'off');
  const refused = await lab.refused(4, 'a', 'drain', 'b');
  assert.equal(refused.code, 'NOT_OBEYED');
  assert.match(refused.message, /Host "b" takes no orders from host "a"; nothing was done/);
});
