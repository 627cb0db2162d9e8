/**
 * The autopilot on real guests: the right VM leaves the busy host, the log says why, a dry run moves nothing, and of two
 * autopilots one acts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { labSignalAgent, labStartAgent } from '../../src/app/lab/lab.ts';
import type { AutopilotRound, AutopilotStatus } from '../../src/core/model/autopilot.ts';
import { lastSequence, logOf, sceneConfig, statusOf, untilSaid, untilState } from '../support/autopilot-scene.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';
import { assertWorkSound, workOn } from '../support/work-watch.ts';

// 180 MB that cannot be compressed take fifteen seconds over this link: more than a look in a hurry is wrong by.
const lab = useLab({ link: '100mbit', config: { a: sceneConfig(['b']), b: sceneConfig(['a']) } });
let light: LabGuest;
let heavy: LabGuest;

test('two guests that compute make their host busy', async () => {
  [light, heavy] = await Promise.all([
    lab.startGuest('a', { name: 'light', memory: '192M', programs: ['dhrystone'] }),
    lab.startGuest('a', { name: 'heavy', memory: '384M', programs: ['linpack'], random: '180M' }),
  ]);
});

const here = async (): Promise<string[][]> => [await lab.vmStates('a'), await lab.vmStates('b')];
const both = [['heavy running', 'light running'], []];

test('a round by itself, and a dry run, name the VM that would go, and move nothing', async () => {
  await sleep(3_000);
  const round = await lab.ok<AutopilotRound>('a', 'autopilot', '--dry-run');
  const [move, ...others] = round.decisions.filter(({ kind }) => kind === 'move');
  assert.deepEqual(others, []);
  assert.match(move?.sentence ?? JSON.stringify(round), /^light moves from a to b, because a has been above 58\.0 %/);
  assert.match(move?.sentence ?? '', /of 2 VMs that can go it has the least predicted total time/);
  assert.match(round.notes.join(' '), /Taken for granted/);
  assert.equal((await lab.ok<AutopilotStatus>('a', 'autopilot')).state, 'off');
  await lab.ok('a', 'autopilot', 'on', '--dry-run');
  const said = await untilSaid(lab, 'a', /^light moves from a to b/);
  assert.equal(said.dryRun, true);
  await sleep(2_000);
  assert.deepEqual(await here(), both);
  await lab.ok('a', 'autopilot', 'off');
});

test('the VM with the least predicted time leaves, its host falls below the mark, the log says why, one autopilot acts', async (t) => {
  const after = lastSequence(await logOf(lab, 'a'));
  await lab.ok('a', 'autopilot', 'on', '--sustain', '6s');
  await untilState(lab, 'a', 'acting');
  await lab.ok('b', 'autopilot', 'on');
  const standing = await untilState(lab, 'b', 'standby');
  assert.match(standing.because, /stands by: host b obeys the autopilot of host a/);
  const move = await untilSaid(lab, 'a', /^light moves from a to b/, { after });
  t.diagnostic(move.sentence);
  const ended = await untilSaid(lab, 'a', /^light has moved from a to b in /, { after });
  t.diagnostic(ended.sentence);
  light.follow(lab.consoleFile('b', 'light'));
  assert.deepEqual(await here(), [['heavy running'], ['light running']]);
  const calm = await untilSaid(lab, 'a', /Nothing is moved from a: it is at [1-5]\d\.\d % of its CPU, and its mark/, {
    after: move.sequence,
  });
  t.diagnostic(calm.sentence);
  await workOn(light, ['dhrystone']);
  await sleep(8_000);
  assert.deepEqual(await here(), [['heavy running'], ['light running']], 'nothing goes back and forth');
  const logged = (await logOf(lab, 'a')).filter(({ sequence, kind }) => sequence > after && kind === 'move');
  assert.deepEqual(
    logged.map(({ move }) => [move?.vm, move?.outcome, move?.error]),
    [['light', 'completed', null]],
  );
  assert.ok((logged[0]?.move?.measured?.wireBytes ?? 0) > 1e6, 'with its real figures');
  const ofB = await logOf(lab, 'b');
  assert.ok(ofB.some(({ sentence }) => /obeys the autopilot of host a/.test(sentence)));
  assert.ok(!ofB.some(({ kind }) => kind === 'move'), 'the second has moved nothing');
});

test('the second takes over when the first is gone, and makes way for nobody who comes back', async () => {
  labSignalAgent('a', 'SIGKILL', lab.name);
  const acting = await untilState(lab, 'b', 'acting');
  assert.match(acting.because, /acts for b\./);
  await labStartAgent('a', lab.name);
  // On, as it was before: the state of the autopilot survives its agent.
  const first = await untilState(lab, 'a', 'acting');
  assert.deepEqual(first.settings['sustainMs'], 6_000);
  const deadline = performance.now() + 20_000;
  let states: string[] = [];
  do {
    states = await Promise.all((['a', 'b'] as const).map(async (host) => (await statusOf(lab, host)).state));
  } while (states.filter((state) => state === 'acting').length !== 1 && performance.now() < deadline);
  assert.equal(states.filter((state) => state === 'acting').length, 1, states.join());
  for (const host of ['a', 'b'] as const) await lab.ok(host, 'autopilot', 'off');
  await workOn(heavy, ['linpack']);
  assertWorkSound(heavy, ['linpack']);
  assertWorkSound(light, ['dhrystone']);
});
