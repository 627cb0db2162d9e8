import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { autopilotConfig, goals } from './config.ts';
import type { AutopilotConfig } from './config.ts';
import { decide } from './decide.ts';
import type { Predict } from './decision.ts';
import { drain, planDrain, undrain } from './drain.ts';
import { sentenceOfLine } from './drain-sentence.ts';
import { Fleet, HostState } from './fleet.ts';
import type { FleetFigures } from './fleet.ts';
import { PolicyHistory } from './history.ts';
import { sentenceOf } from './sentence.ts';
import { GB, World, host, sumAt, vm } from './testing.ts';

const MINUTE = 60_000;

const hostArbitrary = fc.record({
  cores: fc.integer({ min: 4, max: 32 }),
  memory: fc.integer({ min: 20, max: 120 }),
  state: fc.constantFrom(...Object.values(HostState), HostState.Active, HostState.Active, HostState.Active),
});
const vmArbitrary = fc.record({
  host: fc.nat(),
  cores: fc.double({ min: 0, max: 8, noNaN: true }),
  memory: fc.integer({ min: 1, max: 16 }),
  isPinned: fc.integer({ min: 0, max: 7 }),
  rivals: fc.integer({ min: 0, max: 9 }),
  kin: fc.integer({ min: 0, max: 20 }),
});
const costArbitrary = fc.record({
  seconds: fc.double({ min: 0.2, max: 400, noNaN: true }),
  downtimeMs: fc.integer({ min: 10, max: 900 }),
});

type FleetChoice = {
  readonly hosts: readonly { cores: number; memory: number; state: HostState }[];
  readonly vms: readonly {
    host: number;
    cores: number;
    memory: number;
    isPinned: number;
    rivals: number;
    kin: number;
  }[];
};
const fleetArbitrary: fc.Arbitrary<FleetChoice> = fc.record({
  hosts: fc.array(hostArbitrary, { minLength: 2, maxLength: 8 }),
  vms: fc.array(vmArbitrary, { minLength: 1, maxLength: 30 }),
});

function figuresOf({ hosts, vms }: FleetChoice): FleetFigures {
  return {
    atMs: 0,
    hosts: hosts.map(({ cores, memory, state }, i) => host(`h${i}`, { cores, memoryBytes: memory * GB, state })),
    vms: vms.map((each, i) =>
      vm(`v${i}`, `h${each.host % hosts.length}`, each.cores, {
        ...{ memoryBytes: each.memory * GB, isPinned: each.isPinned === 0 },
        ...(each.rivals < 3 && { antiAffinity: `r${each.rivals}` }),
        ...(each.kin < 3 && { affinity: `k${each.kin}` }),
      }),
    ),
  };
}

const costsArbitrary = fc.array(costArbitrary, { minLength: 30, maxLength: 30 });
type Costs = readonly { readonly seconds: number; readonly downtimeMs: number }[];
const predictOf =
  (costs: Costs): Predict =>
  (vm, from, to) => {
    const factor = 1 + ((from + to) % 3) / 4;
    const { seconds, downtimeMs } = costs[vm % costs.length]!;
    return { totalMs: seconds * 1000 * factor, downtimeMs, wireBytes: seconds * 0.2e9 };
  };

const configArbitrary: fc.Arbitrary<AutopilotConfig> = fc
  .record({
    goal: fc.constantFrom(...goals),
    movesAtATime: fc.integer({ min: 1, max: 3 }),
    sustainMs: fc.constantFrom(0, MINUTE, 3 * MINUTE),
    vmCooldownMs: fc.constantFrom(0, 10 * MINUTE),
    returnMs: fc.constantFrom(0, 40 * MINUTE),
    hostCooldownMs: fc.constantFrom(0, 2 * MINUTE),
    downtimeMsPerHour: fc.constantFrom(0, 900, 3_000),
    bytesPerHour: fc.constantFrom(20e9, 100e9),
    reliefMsMax: fc.constantFrom(5 * MINUTE, 60 * MINUTE),
    figuresAgeMsMax: fc.constant(MINUTE + MINUTE / 2),
  })
  .map((given) => autopilotConfig(given));

test('no move breaks a rule, whatever the loads do', () => {
  fc.assert(
    fc.property(
      ...([fleetArbitrary, configArbitrary, costsArbitrary, fc.infiniteStream(fc.nat({ max: 1000 }))] as const),
      (choice, config, costs, dice) => {
        const world = new World(figuresOf(choice), config, predictOf(costs));
        const base = world.fleet.guestCores.slice();
        const roll = (): number => dice.next().value!;
        for (let round = 0; round < 60 && world.faults.length === 0; round++) {
          for (let i = 0; i < base.length; i++) if (roll() < 100) world.fleet.guestCores[i] = (base[i]! * roll()) / 400;
          const stale = new Set(choice.hosts.flatMap((_, h) => (roll() < 300 ? [h] : [])));
          for (const decision of world.step(round * MINUTE, stale)) {
            const sentence = sentenceOf(decision);
            assert.match(sentence, /^[^\n]+\.$/);
            assert.doesNotMatch(sentence, /NaN|undefined|Infinity|null/);
          }
        }
        assert.deepEqual(world.faults, []);
      },
    ),
    { numRuns: 150 },
  );
});

test('under constant loads every goal comes to rest, without any cooldown or budget to force it', () => {
  fc.assert(
    fc.property(fleetArbitrary, fc.constantFrom(...goals), costsArbitrary, (choice, goal, costs) => {
      const free = { sustainMs: 0, vmCooldownMs: 0, hostCooldownMs: 0, returnMs: 0 };
      const config = autopilotConfig({ ...free, goal, downtimeMsPerHour: 3_600_000, bytesPerHour: 1e15 });
      const world = new World(figuresOf(choice), config, predictOf(costs));
      const isAtRest = world.comesToRest(3_000 * MINUTE, MINUTE, 60 * MINUTE);
      assert.deepEqual(world.faults, []);
      assert.ok(isAtRest, `${world.moveCount} moves and no end`);
    }),
    { numRuns: 100 },
  );
});

test('the same input has the same answer, and nothing given is changed', () => {
  fc.assert(
    fc.property(fleetArbitrary, configArbitrary, costsArbitrary, (choice, config, costs) => {
      const given = (): [Fleet, PolicyHistory] => {
        const fleet = new Fleet(figuresOf(choice));
        const history = new PolicyHistory();
        history.observe(fleet, config);
        fleet.figuresAtMs.fill(config.sustainMs);
        fleet.refresh(config.sustainMs);
        history.observe(fleet, config);
        return [fleet, history];
      };
      const [[fleet, history], [twin, twinHistory]] = [given(), given()];
      const first = decide(fleet, config, history, predictOf(costs));
      assert.deepEqual(decide(fleet, config, history, predictOf(costs)), first);
      assert.deepEqual(decide(twin, config, twinHistory, predictOf(costs)), first);
      assert.deepEqual(fleet, twin);
    }),
    { numRuns: 50 },
  );
});

test('old figures move nothing', () => {
  fc.assert(
    fc.property(fleetArbitrary, configArbitrary, costsArbitrary, (choice, config, costs) => {
      const world = new World(figuresOf(choice), { ...config, sustainMs: 0 }, predictOf(costs));
      const all = new Set(choice.hosts.keys());
      for (let atMs = 2 * MINUTE; atMs < 10 * MINUTE; atMs += MINUTE) world.step(atMs, all);
      assert.equal(world.moveCount, 0);
    }),
    { numRuns: 30 },
  );
});

/** Carries a plan out at once. Says how many went. */
function carryOut(fleet: Fleet, lines: ReturnType<typeof planDrain>): number {
  const going = lines.filter((line) => line.kind === 'goes');
  for (const { vm, to } of going) fleet.beginMove(vm, to);
  for (const { vm } of going) fleet.endMove(vm, true);
  return going.length;
}

test('a drain leaves nothing that could go, passes no mark, and ends', () => {
  fc.assert(
    fc.property(fleetArbitrary, configArbitrary, costsArbitrary, (choice, config, costs) => {
      const fleet = new Fleet(figuresOf(choice));
      fleet.hostState[0] = HostState.Active;
      drain(fleet, 0);
      const vms = fleet.vmsAt(0);
      const lines = planDrain(fleet, 0, config, predictOf(costs));
      assert.deepEqual(new Set(lines.map((line) => line.vm)), new Set(vms));
      assert.equal(lines.length, vms.length);
      for (const line of lines) assert.match(sentenceOfLine(fleet, line), /^[^\n]+\.$/);
      checkSlots(lines, config.movesAtATime);
      carryOut(fleet, lines);
      for (const line of lines) {
        if (line.kind === 'goes') checkDestination(fleet, line.vm, config);
        if (line.kind === 'stays' && line.why === 'no place') {
          const kin = fleet.kinOf(line.vm).length === 0 ? [line.vm] : fleet.kinOf(line.vm);
          const unit = vms.filter((other) => kin.includes(other));
          for (let h = 1; h < fleet.hostCount; h++) assert.ok(!hasRoom(fleet, h, unit, config), `h${h} has room`);
        }
      }
      assert.equal(carryOut(fleet, planDrain(fleet, 0, config, predictOf(costs))), 0);
      undrain(fleet, 0);
      assert.equal(fleet.hostState[0], HostState.Active);
    }),
    { numRuns: 200 },
  );
});

function checkSlots(lines: ReturnType<typeof planDrain>, slots: number): void {
  const going = lines.filter((line) => line.kind === 'goes');
  for (const { startMs } of going) {
    const during = going.filter((other) => other.startMs <= startMs && other.endMs > startMs);
    assert.ok(during.length <= slots, 'too many at a time');
    for (const { to } of during) assert.ok(during.filter((other) => other.to === to).length <= slots);
  }
}

function checkDestination(fleet: Fleet, vm: number, config: AutopilotConfig): void {
  const to = fleet.vmHost[vm]!;
  assert.equal(fleet.hostState[to], HostState.Active);
  assert.equal(fleet.isPinned[vm], 0);
  assert.ok(sumAt(fleet, to, (each) => fleet.vmCores(each)) <= config.thresholdShare * fleet.cores[to]! + 1e-9);
  assert.ok(sumAt(fleet, to, (each) => fleet.vmMemoryBytes[each]!) <= config.memoryShare * fleet.memoryBytes[to]!);
  assert.ok(fleet.rivalsOf(vm).every((other) => other === vm || fleet.vmHost[other] !== to));
}

/** The slow way: adds everything up. */
function hasRoom(fleet: Fleet, to: number, unit: readonly number[], config: AutopilotConfig): boolean {
  if (fleet.hostState[to] !== HostState.Active) return false;
  if (unit.some((each) => fleet.rivalsOf(each).some((other) => other !== each && unit.includes(other)))) return false;
  const cores = unit.reduce(
    (sum, each) => sum + fleet.vmCores(each),
    sumAt(fleet, to, (each) => fleet.vmCores(each)),
  );
  const bytesOf = (each: number): number => fleet.vmMemoryBytes[each]!;
  const bytes = unit.reduce((sum, each) => sum + bytesOf(each), sumAt(fleet, to, bytesOf));
  const kinElsewhere = fleet.kinOf(unit[0]!).filter((other) => fleet.vmHost[other] !== 0);
  return (
    cores <= config.thresholdShare * fleet.cores[to]! - 1e-9 &&
    bytes <= config.memoryShare * fleet.memoryBytes[to]! &&
    unit.every((each) => fleet.rivalsOf(each).every((other) => other === each || fleet.vmHost[other] !== to)) &&
    (kinElsewhere.length === 0 || kinElsewhere.some((other) => fleet.vmHost[other] === to))
  );
}
