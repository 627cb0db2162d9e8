import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { silentLogger } from '../../io/log/logger.ts';
import { Autopilot } from './autopilot.ts';
import { DecisionLog } from './decision-log.ts';
import { FakeFleet, sampleVm, until } from './testing.ts';

/** Everything in seconds that are minutes otherwise. */
const quick = {
  ...{ roundMs: 200, leaseMs: 1_000, sustainMs: 300, halfLifeMs: 1, hostCooldownMs: 300, vmCooldownMs: 60_000 },
  ...{ figuresAgeMsMax: 1_000, measureMs: 200 },
};

const opened: Autopilot[] = [];
after(async () => {
  for (const each of opened) await each.close();
});

function autopilotOf(fleet: FakeFleet, own: string, log = new DecisionLog(':memory:')) {
  const hosts = fleet.seenFrom(own);
  const autopilot = new Autopilot({
    ...{ own, hosts, log, logger: silentLogger, clockMs: fleet.clockMs },
    defaults: quick,
  });
  opened.push(autopilot);
  const said = (): string[] => log.list({ limit: 1000 }).map(({ sentence }) => sentence);
  return { autopilot, log, said };
}

/** Host a is too busy; of its VMs web-1 is predicted to stand still for 10 ms, db-2 for 20 ms. */
function busyFleet(): FakeFleet {
  const fleet = new FakeFleet(['a', 'b']);
  fleet.host('a').vms = [sampleVm('db-2', 0.45), sampleVm('web-1', 0.4)];
  return fleet;
}

test('the VM with the least predicted total time leaves the busy host, and the log says why and what came of it', async () => {
  const fleet = busyFleet();
  const { autopilot, said, log } = autopilotOf(fleet, 'a');
  await autopilot.turnOn({}, false);
  await until(() => fleet.orders.length > 0, 'a move');
  await until(() => said().some((each) => each.startsWith('web-1 has moved from a to b')), 'its end is told');
  assert.deepEqual(fleet.orders, ['web-1 from a to b by a']);
  const move = log.list({ limit: 100 }).find(({ kind }) => kind === 'move');
  assert.match(
    move?.sentence ?? '',
    /^web-1 moves from a to b, because a has been above 65\.0 % of its CPU for .* of 2 VMs/,
  );
  assert.deepEqual([move?.move?.outcome, move?.move?.migration], ['completed', 'm1-a']);
  assert.equal(fleet.host('a').plans, 2, 'each VM was looked at once');
  await until(() => said().some((each) => /Nothing is moved from a: it is at 45\.0 %/.test(each)), 'it is calm then');
  assert.equal(autopilot.status().state, 'acting');
});

test('a dry run says the same and moves nothing', async () => {
  const fleet = busyFleet();
  const { autopilot, log } = autopilotOf(fleet, 'a');
  await autopilot.turnOn({}, true);
  const moves = () => log.list({ limit: 100 }).filter(({ kind }) => kind === 'move');
  await until(() => (moves()[0]?.times ?? 0) > 1, 'it is decided again and again');
  assert.deepEqual([moves().length, moves()[0]?.dryRun, fleet.orders], [1, true, []]);
  assert.match(moves()[0]?.sentence ?? '', /^web-1 moves from a to b/);
  assert.equal(fleet.host('a').lease.holder, null, 'it asks nobody to obey');
});

test('one round by itself says what would be done now', async () => {
  const fleet = busyFleet();
  const { autopilot } = autopilotOf(fleet, 'a');
  const round = await autopilot.consider({});
  assert.match(round.notes.join(' '), /Taken for granted: the loads of this moment have lasted for 10 min/);
  assert.match(round.decisions.find(({ kind }) => kind === 'move')?.sentence ?? '', /^web-1 moves from a to b/);
  assert.deepEqual([fleet.orders, autopilot.status().state], [[], 'off']);
});

test('of two autopilots one acts, the other says whom the hosts obey, and takes over when the first is gone', async () => {
  const fleet = busyFleet();
  fleet.host('a').vms = [];
  const [first, second] = [autopilotOf(fleet, 'b'), autopilotOf(fleet, 'a')];
  await first.autopilot.turnOn({}, false);
  await until(() => first.autopilot.status().state === 'acting', 'the first acts');
  await second.autopilot.turnOn({}, false);
  await until(() => second.said().some((each) => each.includes('obeys the autopilot of host b')), 'it says so');
  assert.equal(second.autopilot.status().state, 'standby');
  fleet.host('a').vms = busyFleet().host('a').vms;
  await until(() => fleet.orders.length > 0, 'a move');
  assert.deepEqual(fleet.orders, ['web-1 from a to b by b']);
  // Gone without a word: its leases run out.
  fleet.host('b').isUp = false;
  await until(() => second.autopilot.status().state === 'acting', 'the second acts');
  assert.match(second.said().at(-1) ?? second.autopilot.status().because, /./);
});

test('a move that fails is told, begins a cooldown, and is not tried again and again', async () => {
  const fleet = busyFleet();
  fleet.host('a').moveProblem = 'The disk is not there';
  const { autopilot, said } = autopilotOf(fleet, 'a');
  await autopilot.turnOn({ hostCooldownMs: 60_000 }, false);
  await until(() => said().some((each) => /did not begin: The disk is not there/.test(each)), 'the failure is told');
  await until(() => said().some((each) => /its last move is so recent/.test(each)), 'it waits');
  assert.equal(fleet.orders.length, 1);
  assert.deepEqual(
    fleet.host('a').vms.map(({ name }) => name),
    ['db-2', 'web-1'],
  );
});

test('a VM that cannot be planned stays, with the reason', async () => {
  const fleet = busyFleet();
  fleet.host('a').planProblem = 'The guest agent is mute';
  const { autopilot, log } = autopilotOf(fleet, 'a');
  await autopilot.turnOn({}, false);
  const stays = () => log.list({ limit: 100 }).filter(({ sentence }) => /without a prediction/.test(sentence));
  await until(() => stays().length > 0, 'it is told');
  assert.match(stays()[0]?.details.join(' ') ?? '', /db-2 cannot be moved to b: The guest agent is mute\./);
  assert.deepEqual(fleet.orders, []);
});

test('old figures decide nothing', async () => {
  const fleet = busyFleet();
  fleet.host('b').isStuck = true;
  fleet.host('b').telemetry();
  const { autopilot, said } = autopilotOf(fleet, 'a');
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await autopilot.turnOn({}, false);
  await until(() => said().some((each) => /Nothing is moved from b: its figures are .* old/.test(each)), 'it is told');
  await until(() => said().some((each) => /without a host that has room/.test(each)), 'and nothing goes there');
  assert.deepEqual(fleet.orders, []);
});

test('a host that does not obey keeps its VMs, and receives others', async () => {
  const fleet = busyFleet();
  fleet.host('a').obeys = false;
  const { autopilot, said } = autopilotOf(fleet, 'b');
  await autopilot.turnOn({}, false);
  await until(() => said().some((each) => /but it does not obey the autopilot of b/.test(each)), 'it is told');
  assert.deepEqual(fleet.orders, []);
});

test('a restarted agent goes on: it is on, remembers what moved, and follows what was under way', async () => {
  const fleet = busyFleet();
  fleet.host('a').isSlow = true;
  const log = new DecisionLog(':memory:');
  const first = autopilotOf(fleet, 'a', log);
  await first.autopilot.turnOn({ hostCooldownMs: 60_000 }, false);
  await until(() => first.autopilot.status().moves[0]?.migration != null, 'a move');
  await first.autopilot.close();
  const second = autopilotOf(fleet, 'a', log);
  second.autopilot.restore();
  assert.equal(second.autopilot.status().moves.length, 1, 'it is still under way');
  fleet.host('a').endMoves('completed');
  await until(() => second.said().some((each) => each.startsWith('web-1 has moved from a to b')), 'its end is told');
  await until(() => second.autopilot.status().state === 'acting', 'it acts');
  // The host that was relieved gets busy again: its cooldown began with the move of the run before.
  fleet.host('a').vms = [sampleVm('db-2', 0.45), sampleVm('mail-3', 0.4)];
  await until(() => second.said().some((each) => /its last move is so recent/.test(each)), 'it waits');
  assert.equal(fleet.orders.length, 1);
});

test('settings out of their range are refused by name, and change nothing', async () => {
  const { autopilot } = autopilotOf(busyFleet(), 'a');
  for (const [given, message] of [
    [{ thresholdShare: 3 }, /thresholdShare is 3; expected: a number from 0.05 to 0.95/],
    [{ roundMs: 1 }, /roundMs is 1; expected: a number from 200 to 600000/],
    [{ lowShare: 0.9 }, /lowShare is 0.9; expected: less than thresholdShare/],
    [{ colour: 1 }, /colour is not a setting/],
    [{ goal: 'peace' }, /goal is "peace"; expected: threshold, balance, consolidate/],
    [{ leaseMs: 'long' }, /leaseMs is long/],
  ] as const) {
    await assert.rejects(autopilot.turnOn(given, false), { code: 'POLICY_CONFIG', message });
    await assert.rejects(autopilot.consider(given), { code: 'POLICY_CONFIG', message });
  }
  assert.equal(autopilot.status().state, 'off');
});

test('turned off it moves nothing, and nobody is held', async () => {
  const fleet = busyFleet();
  const { autopilot, said } = autopilotOf(fleet, 'a');
  await autopilot.turnOn({ sustainMs: 60_000 }, false);
  await until(() => autopilot.status().rounds > 1, 'rounds');
  await autopilot.turnOff();
  assert.deepEqual([fleet.host('a').lease.holder, fleet.host('b').lease.holder], [null, null]);
  assert.match(said().at(-1) ?? '', /was turned off/);
  const { autopilot: again } = autopilotOf(fleet, 'a');
  again.restore();
  assert.equal(again.status().state, 'off');
});

test('a host that takes requests and never answers keeps nobody waiting: the others go on', async () => {
  const fleet = new FakeFleet(['a', 'b', 'c']);
  fleet.host('a').vms = busyFleet().host('a').vms;
  fleet.host('c').isMute = true;
  const { autopilot, said } = autopilotOf(fleet, 'a');
  await autopilot.turnOn({}, false);
  await until(() => fleet.orders.length > 0, 'a move');
  assert.deepEqual(fleet.orders, ['web-1 from a to b by a']);
  await until(
    () => said().some((each) => /from c: nothing has been heard .* does not answer within/.test(each)),
    'it is told',
  );
  assert.equal(said().filter((each) => each.includes('acts for')).length, 1, 'no lease lapsed meanwhile');
});
