import assert from 'node:assert/strict';
import { test } from 'node:test';
import { autopilotConfig } from './config.ts';
import type { AutopilotConfig } from './config.ts';
import { planDrain } from './drain.ts';
import { sentenceOfLine } from './drain-sentence.ts';
import { Fleet, HostState } from './fleet.ts';
import type { HostFigures, VmFigures } from './fleet.ts';
import { foldSample, HALF_LIFE_MS } from './load-average.ts';
import { sentenceOf } from './sentence.ts';
import { GB, World, host, predictSeconds, vm } from './testing.ts';

const MINUTE = 60_000;

function worldOf(
  hosts: HostFigures[],
  vms: VmFigures[],
  more: Partial<AutopilotConfig> = {},
  seconds = [63, 64, 64],
): World {
  const config = autopilotConfig({ sustainMs: 2 * MINUTE, ...more });
  return new World({ atMs: 0, hosts, vms }, config, predictSeconds(seconds, [18, 28, 19]));
}

/** What is decided for each host at the last of so many minutes. */
function sentencesAfter(world: World, minutes: number): string[] {
  for (let minute = 0; minute < minutes; minute++) world.step(minute * MINUTE);
  return world.step(minutes * MINUTE).map(sentenceOf);
}

const hot = [vm('loops', 'a', 3), vm('dhrystone', 'a', 3), vm('linpack', 'a', 3)];

test("the paper's table 5: Livermore loops first, then Linpack, then Dhrystone", () => {
  const preference: string[] = [];
  for (let left = hot; left.length > 0; left = left.filter(({ name }) => !preference.includes(name))) {
    const indices = left.map(({ name }) => hot.findIndex((each) => each.name === name));
    const config = autopilotConfig({
      thresholdShare: 0.2,
      lowShare: 0.19,
      emptyBelowShare: 0.1,
      sustainMs: 2 * MINUTE,
    });
    const predict = predictSeconds(
      indices.map((i) => [63, 64, 64][i]!),
      indices.map((i) => [18, 28, 19][i]!),
    );
    const world = new World({ atMs: 0, hosts: [host('a'), host('b', { cores: 100 })], vms: left }, config, predict);
    for (let minute = 0; minute < 4; minute++) {
      const move = world.step(minute * MINUTE).find((each) => each.kind === 'move');
      if (move?.kind === 'move') preference.push(move.vmName);
    }
  }
  assert.deepEqual(preference, ['loops', 'linpack', 'dhrystone']);
});

test('a move says who, where to, and why with figures', () => {
  const [first] = sentencesAfter(worldOf([host('a'), host('b', { cores: 20 })], hot), 2).slice(-1);
  assert.equal(
    first,
    'loops moves from a to b, because a has been above 65.0 % of its CPU for 2 min 00 s and is at 90.0 %; of 3 VMs that can ' +
      'go it has the least predicted total time (1 min 03 s, downtime 18 ms, 1.00 GiB), and leaves a at 60.0 % and b at 15.0 %.',
  );
});

test('every way of not moving has its sentence', () => {
  const a = (world: World, minutes: number): string =>
    sentencesAfter(world, minutes).find((text) => text.includes(' a:'))!;
  const b = host('b', { cores: 20 });
  const cases: [string, RegExp][] = [
    [a(worldOf([host('a'), b], [vm('x', 'a', 2)]), 5), /it is at 20.0 % of its CPU, and its mark is 65.0 %/],
    [a(worldOf([host('a'), b], hot), 1), /above 65.0 %, but for 1 min 00 s only, and it acts after 2 min 00 s/],
    [a(worldOf([host('a'), b], hot), 3), /but a move is under way there/],
    [a(worldOf([host('a'), b], hot), 4), /its last move is so recent that it waits another 1 min 00 s/],
    [
      a(worldOf([host('a'), host('b', { cores: 4 })], hot), 3),
      /3 without a host that has room and stays below its mark/,
    ],
    [
      a(
        worldOf(
          [host('a'), b],
          hot.map((each) => ({ ...each, isPinned: true })),
        ),
        3,
      ),
      /3 never to be moved/,
    ],
    [
      a(
        worldOf(
          [host('a'), b],
          hot.map((each) => ({ ...each, affinity: 'x' })),
        ),
        3,
      ),
      /3 kept together with others/,
    ],
    [a(worldOf([host('a'), b], hot, { downtimeMsPerHour: 10 }), 3), /3 beyond the budget of this hour/],
    [a(worldOf([host('a'), b], hot, {}, [900, 900, 900]), 3), /3 longer to move than the overload is expected to last/],
    [a(worldOf([host('a', { state: HostState.Silent }), b], hot), 3), /nothing has been heard from it/],
    [a(worldOf([host('a', { state: HostState.Draining }), b], hot), 3), /it is being drained/],
  ];
  for (const [sentence, expected] of cases) assert.match(sentence, expected);
});

test('a move that is too long today is made when the overload has lasted as long', () => {
  const world = worldOf([host('a'), host('b', { cores: 20 })], hot, {}, [900, 900, 900]);
  sentencesAfter(world, 14);
  assert.equal(world.moveCount, 0);
  world.step(15 * MINUTE);
  assert.equal(world.moveCount, 1);
});

test('between the marks a host goes on that has begun, and none begins', () => {
  const vms = [vm('x', 'a', 3), vm('y', 'a', 3)];
  assert.equal(worldOf([host('a'), host('b')], vms).comesToRest(30 * MINUTE, MINUTE, 20 * MINUTE), true);
  const calm = worldOf([host('a'), host('b')], vms);
  sentencesAfter(calm, 30);
  assert.equal(calm.moveCount, 0, 'at 60 % nothing begins');
  // 90 % -> 60 %, which is below the threshold and above the low mark.
  const acting = worldOf([host('a'), host('b')], [...vms, vm('z', 'a', 3, { isPinned: true })], {}, [1, 1]);
  sentencesAfter(acting, 30);
  assert.equal(acting.moveCount, 1, 'and the second has no place that stays below the low mark');
  const roomy = worldOf([host('a'), host('b', { cores: 20 })], [...vms, vm('z', 'a', 3)], {}, [1, 1, 1]);
  sentencesAfter(roomy, 30);
  assert.equal(roomy.moveCount, 2, 'at 60 % it goes on');
});

test('the VM that cures the host alone goes before a cheaper one that does not', () => {
  const vms = [vm('small', 'a', 0.5), vm('large', 'a', 3.5), vm('rest', 'a', 3, { isPinned: true })];
  const world = worldOf([host('a'), host('b', { cores: 20 })], vms, {}, [1, 9]);
  assert.match(sentencesAfter(world, 2).at(-1)!, /^large moves from a to b/);
});

test('a VM returns to a host that it has left only when its time is over, however the loads swing', () => {
  const vms = [vm('x', 'a', 3), vm('fa', 'a', 5, { isPinned: true }), vm('fb', 'b', 1, { isPinned: true })];
  const free = { vmCooldownMs: 0, hostCooldownMs: 0, returnMs: 40 * MINUTE };
  const world = worldOf([host('a'), host('b')], vms, free, [1]);
  const movesAt = new Map<number, number>();
  for (let minute = 0; minute <= 60; minute++) {
    const isLate = minute >= 5;
    world.fleet.guestCores.set([3, isLate ? 1 : 5, isLate ? 5 : 1]);
    world.step(minute * MINUTE);
    movesAt.set(minute, world.moveCount);
  }
  assert.deepEqual(world.faults, []);
  assert.equal(movesAt.get(40), 1, 'left a at minute 2, landed by minute 3');
  assert.equal(movesAt.get(60), 2);
});

test('a destination pays for moves, too: two sources cannot spend its budget twice', () => {
  const vms = ['a', 'b'].flatMap((on) => [vm(`x${on}`, on, 3), vm(`f${on}`, on, 5, { isPinned: true })]);
  const hosts = [host('a'), host('b'), host('c', { cores: 40 })];
  const budget = { downtimeMsPerHour: 60, movesAtATime: 2, hostCooldownMs: 0 };
  const world = new World({ atMs: 0, hosts, vms }, autopilotConfig(budget), predictSeconds([1, 1, 1, 1]));
  for (let minute = 0; minute <= 59; minute++) world.step(minute * MINUTE);
  assert.equal(world.moveCount, 1);
  for (let minute = 60; minute <= 62; minute++) world.step(minute * MINUTE);
  assert.equal(world.moveCount, 2);
  assert.deepEqual(world.faults, []);
});

test('consolidate empties the least used host and leaves none half-empty', () => {
  const vms = [vm('x', 'a', 1), vm('y', 'b', 2), vm('z', 'c', 3)];
  const world = worldOf([host('a'), host('b'), host('c')], vms, { goal: 'consolidate' }, [1, 1, 1]);
  assert.match(sentencesAfter(world, 0).at(-1)!, /^x moves from a to c, because a uses only 10.0 % of its CPU/);
  const pinned = worldOf(
    [host('a'), host('b')],
    [vm('x', 'a', 1), vm('p', 'a', 0.1, { isPinned: true }), vm('y', 'b', 3)],
    {
      goal: 'consolidate',
    },
  );
  sentencesAfter(pinned, 20);
  assert.equal(pinned.moveCount, 0);
});

test('balance also evens out memory', () => {
  const vms = Array.from({ length: 6 }, (_, i) => vm(`v${i}`, 'a', 0.1, { memoryBytes: 12 * GB }));
  const world = worldOf([host('a'), host('b')], vms, { goal: 'balance' }, [1, 1, 1, 1, 1, 1]);
  const sentences = sentencesAfter(world, 2);
  assert.match(sentences.at(-1)!, /above 48.0 % of its memory for 2 min 00 s and is at 72.0 %/);
  sentencesAfter(world, 60);
  assert.ok(world.fleet.vmsAt(world.fleet.hostNamed('b')).length >= 2);
});

test('a setting out of its range is refused by name', () => {
  const wrong: [Partial<AutopilotConfig>, RegExp][] = [
    [{ thresholdShare: 65 }, /thresholdShare is 65; expected: a number from 0.05 to 0.95/],
    [{ thresholdShare: NaN }, /thresholdShare is NaN/],
    [{ lowShare: 0.7 }, /lowShare is 0.7; expected: less than thresholdShare, which is 0.65/],
    [{ emptyBelowShare: 0.6 }, /emptyBelowShare is 0.6; expected: less than lowShare/],
    [{ movesAtATime: 1.5 }, /movesAtATime is 1.5; expected: a whole number/],
    [{ goal: 'faster' as 'balance' }, /goal is "faster"; expected: threshold, balance, consolidate/],
    [{ treshold: 1 } as Partial<AutopilotConfig>, /treshold is not a setting/],
  ];
  for (const [given, message] of wrong) assert.throws(() => autopilotConfig(given), { code: 'POLICY_CONFIG', message });
});

test('a fleet that contradicts itself is refused', () => {
  const build = (hosts: HostFigures[], vms: VmFigures[]) => () => new Fleet({ atMs: 0, hosts, vms });
  assert.throws(build([host('a')], [vm('x', 'b', 1)]), { code: 'POLICY_UNKNOWN_HOST' });
  assert.throws(build([host('a'), host('a')], []), { code: 'POLICY_FLEET', message: 'Two entries for the host "a"' });
  assert.throws(build([host('a', { cores: 0 })], []), { code: 'POLICY_FLEET' });
  assert.throws(build([host('a')], [vm('x', 'a', NaN)]), { code: 'POLICY_FLEET' });
  assert.throws(() => new Fleet({ atMs: 0, hosts: [host('a')], vms: [vm('x', 'a', 1)] }).beginMove(0, 0), {
    code: 'POLICY_MOVE',
  });
});

test('a drain begins with the longest move and uses all slots', () => {
  const vms = [vm('s', 'a', 1), vm('m', 'a', 1), vm('l', 'a', 1), vm('p', 'a', 1, { isPinned: true })];
  const fleet = new Fleet({ atMs: 0, hosts: [host('a'), host('b'), host('c')], vms });
  const lines = planDrain(fleet, 0, autopilotConfig({ movesAtATime: 2 }), predictSeconds([10, 20, 30]));
  const end = Math.max(...lines.map((line) => (line.kind === 'goes' ? line.endMs : 0)));
  assert.equal(end, 30_000);
  assert.match(sentenceOfLine(fleet, lines[0]!), /^m goes|^l goes/);
  assert.equal(sentenceOfLine(fleet, lines.at(-1)!), 'p stays, because it is never to be moved.');
});

test('an average forgets half in a half-life', () => {
  assert.equal(foldSample(null, 4, 0), 4);
  assert.equal(foldSample(4, 0, HALF_LIFE_MS), 2);
  assert.equal(foldSample(foldSample(4, 0, HALF_LIFE_MS / 2), 0, HALF_LIFE_MS / 2).toFixed(9), '2.000000000');
});
