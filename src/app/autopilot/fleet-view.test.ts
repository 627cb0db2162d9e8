import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { VmTelemetry } from '../../core/model/telemetry.ts';
import { vmStates } from '../../core/model/vm.ts';
import { HostState, NOWHERE } from '../../core/policy/fleet.ts';
import type { Fleet } from '../../core/policy/fleet.ts';
import { FleetView } from './fleet-view.ts';
import type { Ordered } from './fleet-view.ts';
import { sampleTelemetry, sampleVm } from './testing.ts';

const NOW = 10_000_000;
const none: Ordered = new Map();
const report = (name: string, change = {}) =>
  ({ ...{ name, state: HostState.Active, capacityBytes: null, keepsVms: false }, ...change }) as const;

function viewOf(hosts: Readonly<Record<string, readonly VmTelemetry[]>>, ordered: Ordered = none): Fleet {
  const view = new FleetView(60_000);
  for (const [name, vms] of Object.entries(hosts)) view.hear(sampleTelemetry(name, vms), NOW);
  return view.fleet(
    Object.keys(hosts).map((name) => report(name)),
    ordered,
    NOW,
  );
}

const placeOf = (fleet: Fleet, vm: string): [string, string | null, boolean] => {
  const index = fleet.vmNames.indexOf(vm);
  const to = fleet.vmTarget[index]!;
  return [
    fleet.hostNames[fleet.vmHost[index]!]!,
    to === NOWHERE ? null : fleet.hostNames[to]!,
    fleet.isBusy[index] === 1,
  ];
};

test('a migration is one VM on its way, though both hosts tell of it', () => {
  const leaving = sampleVm('web', 1, { state: 'migrating', migration: 'm1' });
  const coming = sampleVm('web', 0, { state: 'incoming', migration: 'm1' });
  const fleet = viewOf({ a: [leaving], b: [coming] });
  assert.deepEqual(placeOf(fleet, 'web'), ['a', 'b', false]);
  assert.deepEqual([fleet.usedCores[1], fleet.leavingCores[0]], [1, 1], 'what it uses counts at both ends');
});

test('a VM in hands whose other end is not in sight stays where it is', () => {
  const taken = sampleVm('web', 1, { state: 'migrating', migration: 'm1' });
  assert.deepEqual(placeOf(viewOf({ a: [taken], b: [] }), 'web'), ['a', null, true]);
  const coming = sampleVm('web', 0, { state: 'incoming', migration: 'm1' });
  assert.deepEqual(placeOf(viewOf({ a: [], b: [coming] }), 'web'), ['b', null, true]);
});

test('a move that was ordered counts before the hosts show it', () => {
  const fleet = viewOf({ a: [sampleVm('web', 1)], b: [] }, new Map([['web', 'b']]));
  assert.deepEqual(placeOf(fleet, 'web'), ['a', 'b', false]);
  const landed = viewOf({ a: [], b: [sampleVm('web', 1)] }, new Map([['web', 'b']]));
  assert.deepEqual(placeOf(landed, 'web'), ['b', null, false]);
});

test('two VMs of one name at two hosts are two, and neither is moved', () => {
  const fleet = viewOf({ a: [sampleVm('web', 1)], b: [sampleVm('web', 0.5)] });
  assert.deepEqual(fleet.vmNames, ['web at a', 'web at b']);
  assert.deepEqual([...fleet.isBusy], [1, 1]);
});

test('loads are averages, which go with a VM to another host', () => {
  const view = new FleetView(60_000);
  const hear = (host: string, vms: readonly VmTelemetry[], atMs: number): void =>
    view.hear(sampleTelemetry(host, vms, { atMs }), atMs);
  hear('a', [sampleVm('web', 1)], NOW);
  hear('a', [sampleVm('web', 0)], NOW + 60_000);
  const reports = [report('a'), report('b')];
  hear('b', [], NOW + 60_000);
  assert.equal(view.fleet(reports, none, NOW + 60_000).usedCores[0], 0.5);
  hear('a', [], NOW + 61_000);
  hear('b', [sampleVm('web', 0.5)], NOW + 61_000);
  assert.equal(view.fleet(reports, none, NOW + 61_000).usedCores[1], 0.5);
});

test('a sample that was heard before changes nothing, and grows old', () => {
  const view = new FleetView(60_000);
  const sample = sampleTelemetry('a', [sampleVm('web', 1)]);
  view.hear(sample, NOW);
  view.hear({ ...sample, vms: [] }, NOW + 40_000);
  const fleet = view.fleet([report('a')], none, NOW + 40_000);
  assert.deepEqual([fleet.vmNames, fleet.figuresAtMs[0]], [['web'], NOW]);
  const late = new FleetView(60_000);
  late.hear({ ...sample, ageMs: 5_000 }, NOW);
  assert.equal(late.fleet([report('a')], none, NOW).figuresAtMs[0], NOW - 5_000);
});

test('a host that was never heard is silent, and its absence is no error', () => {
  const fleet = new FleetView(60_000).fleet([report('a')], none, NOW);
  assert.deepEqual([fleet.hostState[0], fleet.vmCount], [HostState.Silent, 0]);
});

test('what a spec says about placement, and a host that keeps its VMs, reach the policy', () => {
  const view = new FleetView(60_000);
  const placement = { pinned: false, together: 'shop', apart: 'db' };
  view.hear(sampleTelemetry('a', [sampleVm('one', 1, { placement }), sampleVm('two', 1)]), NOW);
  view.hear(sampleTelemetry('b', [sampleVm('three', 1)]), NOW);
  view.hear(sampleTelemetry('c', [sampleVm('four', 1, { placement: { pinned: true } })]), NOW);
  const fleet = view.fleet([report('a'), report('b', { keepsVms: true }), report('c')], none, NOW);
  assert.deepEqual([...fleet.isPinned], [0, 0, 1, 1]);
  assert.deepEqual([fleet.kinOf(0), fleet.rivalsOf(0), fleet.kinOf(1)], [[0], [0], []]);
});

test('a host offers what it says, and not more than it has', () => {
  const view = new FleetView(60_000);
  view.hear(sampleTelemetry('a', []), NOW);
  const memory = (capacityBytes: number | null) =>
    view.fleet([report('a', { capacityBytes })], none, NOW).memoryBytes[0];
  assert.deepEqual([memory(1e9), memory(1e15), memory(null)], [1e9, 16 * 2 ** 30, 16 * 2 ** 30]);
});

test('whatever hosts tell, in whatever states: a fleet comes of it, with each VM once per host that has it', () => {
  const vm = fc.record({
    name: fc.constantFrom('v1', 'v2', 'v3'),
    state: fc.constantFrom(...vmStates),
    guestCores: fc.option(fc.double({ min: 0, max: 4, noNaN: true })),
    migration: fc.option(fc.constant('m1')),
  });
  const vms = fc.uniqueArray(vm, { maxLength: 3, selector: ({ name }) => name });
  const host = fc.record({ vms, cores: fc.double({ min: 0, max: 8, noNaN: true }), state: fc.constantFrom(0, 1, 2) });
  fc.assert(
    fc.property(fc.array(host, { minLength: 1, maxLength: 4 }), fc.nat({ max: 5 }), (hosts, orderedTo) => {
      const view = new FleetView(1_000);
      for (const [i, { vms, cores }] of hosts.entries()) {
        const told = vms.map(({ name, guestCores, ...change }) => ({
          ...sampleVm(name, 0, change),
          guestCores,
        }));
        const cpu = { cores, usedCores: null, guestCores: 0 };
        view.hear(sampleTelemetry(`h${i}`, told, { cpu }), NOW);
      }
      const reports = hosts.map(({ state }, i) => report(`h${i}`, { state: state as HostState }));
      const fleet = view.fleet(reports, new Map([['v1', `h${orderedTo}`]]), NOW);
      const present = hosts.flatMap(({ vms, state }) =>
        state === HostState.Silent ? [] : vms.filter((each) => each.state !== 'gone' && each.state !== 'handed over'),
      );
      assert.deepEqual(
        new Set(fleet.vmNames.map((name) => name.split(' ')[0])),
        new Set(present.map(({ name }) => name)),
      );
    }),
  );
});
