import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../io/log/logger.ts';
import { DecisionLog } from './decision-log.ts';
import { DrainJob } from './drain-job.ts';
import { FakeFleet, sampleVm, until } from './testing.ts';

function drainOf(fleet: FakeFleet, log = new DecisionLog(':memory:')) {
  const closed: boolean[] = [];
  const job = new DrainJob({
    ...{ own: 'a', hosts: fleet.seenFrom('a'), defaults: {}, log, logger: silentLogger, clockMs: fleet.clockMs },
    vmsHere: () => fleet.host('a').vms.map(({ name }) => name),
    close: (isClosed) => {
      closed.push(isClosed);
      fleet.host('a').draining = isClosed;
    },
  });
  const ended = async () => {
    await until(() => !job.view().running, 'the drain ends');
    return job.view();
  };
  return { job, closed, ended, log };
}

function fleetOf(...cores: readonly number[]): FakeFleet {
  const fleet = new FakeFleet(['a', 'b', 'c']);
  fleet.host('a').vms = cores.map((each, i) => sampleVm(`v${i}`, each));
  return fleet;
}

test('every VM goes to a host with room, and the host takes no others', async () => {
  const fleet = fleetOf(0.4, 0.3, 0.2);
  const { job, closed, ended } = drainOf(fleet);
  job.begin({});
  const view = await ended();
  assert.deepEqual([view.empty, view.draining, closed], [true, true, [true]]);
  assert.deepEqual(
    view.lines.map(({ state }) => state),
    ['moved', 'moved', 'moved'],
  );
  for (const name of ['b', 'c']) {
    const used = fleet.host(name).vms.reduce((sum, vm) => sum + vm.guestCores!, 0);
    assert.ok(used <= 0.65, `${name} is at ${used}`);
  }
});

test('who cannot go is named with the reason, and the others go', async () => {
  const fleet = fleetOf(0.4, 0.9);
  fleet.host('a').vms.push(sampleVm('fixed', 0.1, { placement: { pinned: true } }));
  const { job, ended } = drainOf(fleet);
  job.begin({});
  const view = await ended();
  assert.equal(view.empty, false);
  const sentences = Object.fromEntries(view.lines.map(({ vm, sentence }) => [vm, sentence]));
  assert.match(sentences['v0'] ?? '', /^v0 is at [bc] now/);
  assert.match(sentences['v1'] ?? '', /^v1 stays, because no host that it may go to has room/);
  assert.match(sentences['fixed'] ?? '', /^fixed stays, because it is never to be moved/);
  assert.equal(view.plans, 1, 'no further plan would change that');
});

test('a move that fails is planned again to another host, and no way is tried twice', async () => {
  const fleet = fleetOf(0.4);
  fleet.host('a').moveProblem = 'The disk is not there';
  const { job, ended } = drainOf(fleet);
  job.begin({});
  const view = await ended();
  assert.deepEqual(fleet.orders.toSorted(), ['v0 from a to b by a', 'v0 from a to c by a']);
  assert.match(view.lines[0]?.sentence ?? '', /^v0 stays, because its move to [bc] failed: The disk is not there\.$/);
  assert.deepEqual([view.empty, view.plans], [false, 3], 'b, then c, then there is no way left');
});

test('a destination that is gone when the move begins is left out of the next plan', async () => {
  const fleet = fleetOf(0.4);
  const { job, ended } = drainOf(fleet);
  // It answers the look, and is gone then.
  const b = fleet.host('b');
  const telemetry = b.telemetry.bind(b);
  b.telemetry = () => {
    b.isUp = false;
    return telemetry();
  };
  fleet.host('c').cores = 0.8;
  job.begin({});
  const view = await ended();
  assert.deepEqual([view.empty, fleet.host('c').vms.map(({ name }) => name)], [true, ['v0']]);
});

test('moves use as many slots as they may, and no more', async () => {
  const fleet = fleetOf(0.2, 0.2, 0.2);
  fleet.host('a').isSlow = true;
  const { job } = drainOf(fleet);
  job.begin({ movesAtATime: 2 });
  await until(() => fleet.orders.length === 2, 'two begin');
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(fleet.orders.length, 2);
  assert.deepEqual(
    job
      .view()
      .lines.map(({ state }) => state)
      .toSorted(),
    ['moving', 'moving', 'waiting'],
  );
  fleet.host('a').endMoves('completed');
  await until(() => fleet.orders.length === 3, 'the third follows');
  fleet.host('a').endMoves('completed');
  await until(() => !job.view().running, 'the end');
  assert.equal(job.view().empty, true);
});

test('a VM that another host still tells of, or that is gone here already, is no riddle', async () => {
  const fleet = fleetOf(0.2);
  // It came from b a moment ago, and "gone" has ended a moment ago.
  const stale = [...fleet.host('a').vms, sampleVm('other', 0.1)];
  const b = fleet.host('b');
  const telemetry = b.telemetry.bind(b);
  b.telemetry = () => ({ ...telemetry(), vms: stale });
  const a = fleet.host('a');
  const own = a.telemetry.bind(a);
  a.telemetry = () => ({ ...own(), vms: [...own().vms, sampleVm('gone', 0.1)] });
  const { job, ended } = drainOf(fleet);
  job.begin({});
  const view = await ended();
  assert.deepEqual(
    view.lines.map(({ vm, state }) => [vm, state]),
    [['v0', 'moved']],
  );
});

test('undrain lets what is under way end, and begins nothing more', async () => {
  const fleet = fleetOf(0.2, 0.2);
  fleet.host('a').isSlow = true;
  const { job, closed } = drainOf(fleet);
  job.begin({});
  await until(() => fleet.orders.length === 1, 'one begins');
  job.undrain();
  fleet.host('a').endMoves('completed');
  await until(() => !job.view().running, 'the end');
  assert.deepEqual([fleet.orders.length, closed, job.view().draining], [1, [true, false], false]);
  assert.equal(fleet.host('a').vms.length, 1);
});

test('the state outlives the agent, the moves do not go on by themselves', async () => {
  const fleet = fleetOf(0.2);
  const log = new DecisionLog(':memory:');
  const first = drainOf(fleet, log);
  first.job.begin({});
  await first.job.close();
  const second = drainOf(fleet, log);
  assert.deepEqual([second.closed, second.job.draining, second.job.view().running], [[true], true, false]);
  second.job.undrain();
  assert.equal(drainOf(fleet, log).job.draining, false);
});

test('a plan says where each VM would go, and changes nothing', async () => {
  const fleet = fleetOf(0.4, 0.3);
  const { job, closed } = drainOf(fleet);
  const view = await job.plan({});
  assert.deepEqual([view.draining, closed, fleet.orders], [false, [], []]);
  assert.match(view.lines[0]?.sentence ?? '', /goes to [bc], from .* after the start/);
  await assert.rejects(job.plan({ thresholdShare: 7 }), { code: 'POLICY_CONFIG' });
  assert.throws(() => job.begin({ movesAtATime: 0 }), { code: 'POLICY_CONFIG' });
  assert.equal(job.draining, false, 'wrong settings begin nothing');
});
