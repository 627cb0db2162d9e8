import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { LoadSeries } from './load-series.ts';
import { simPolicyNames } from './sim-policies.ts';
import type { SimPolicyName } from './sim-policies.ts';
import { simulate } from './simulate.ts';

const run = (policy: SimPolicyName, seed = 1) => simulate({ hosts: 40, vms: 400, policy, seed, hours: 16 });

test('the same seed has the same day, another one another', () => {
  assert.deepEqual(run('vmferry'), run('vmferry'));
  assert.notDeepEqual(run('vmferry').result, run('vmferry', 2).result);
});

test('every policy helps, and ours moves nothing back and forth, least and with the least downtime', () => {
  const results = new Map(simPolicyNames.map((name) => [name, run(name).result]));
  const none = results.get('none')!;
  const own = results.get('vmferry')!;
  assert.equal(none.moves, 0);
  assert.ok(none.timeAboveThreshold > 0);
  for (const name of simPolicyNames.slice(1)) {
    const result = results.get(name)!;
    assert.ok(result.timeAboveThreshold < none.timeAboveThreshold, name);
    if (name !== 'vmferry') assert.ok(own.moves < result.moves && own.downtimeMs < result.downtimeMs, name);
  }
  assert.equal(own.pingPong, 0);
});

test('every goal of ours keeps VMs from going back and forth', () => {
  for (const goal of ['balance', 'consolidate'] as const) {
    const { result } = simulate({ hosts: 20, vms: 200, policy: 'vmferry', seed: 3, hours: 12, config: { goal } });
    assert.ok(result.moves > 0, goal);
    assert.equal(result.pingPong, 0, goal);
  }
});

test('loads are between nothing and all vCPUs, and rise at noon', () => {
  const vcpus = new Float32Array(500).fill(4);
  const series = new LoadSeries(vcpus, 7);
  const cores = new Float64Array(500);
  const meanAt = (tick: number): number => {
    series.at(tick, cores);
    assert.ok(cores.every((each) => each >= 0 && each <= 4));
    return cores.reduce((sum, each) => sum + each, 0) / 500;
  };
  const night = meanAt(3 * 120);
  assert.ok(meanAt(12 * 120) > 1.3 * night);
});

test('sizes that are no fleet are refused', () => {
  const base = { hosts: 2, vms: 10, policy: 'none', seed: 1, hours: 1 } as const;
  for (const wrong of [{ hosts: 0 }, { vms: -1 }, { hours: 0.5 }, { seed: NaN }, { vms: 1000 }]) {
    assert.throws(() => simulate({ ...base, ...wrong }), { code: 'SIM_OPTIONS' });
  }
});

const program = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/sim-fleet.ts', ...args], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
};

test('the program prints exactly the figures that are promised', () => {
  const { status, stdout } = program('--hosts', '20', '--vms', '200', '--policy', 'rule65', '--hours', '2', '--json');
  assert.equal(status, 0);
  const figures = JSON.parse(stdout) as Record<string, unknown>;
  const names = ['policy', 'timeAboveThreshold', 'moves', 'bytes', 'downtimeMs', 'pingPong', 'wallMs', 'peakRssBytes'];
  assert.deepEqual(Object.keys(figures), names);
  assert.equal(figures['policy'], 'rule65');
  for (const name of names.slice(1)) assert.ok(Number.isFinite(figures[name]), name);
});

test('wrong arguments end with 2, a sentence, and no stack', () => {
  for (const args of [
    ['--hosts', 'many'],
    ['--policy', 'best'],
    ['--hosts', '0'],
  ]) {
    const { status, stdout, stderr } = program(...args);
    assert.equal(status, 2);
    assert.equal(stdout, '');
    assert.doesNotMatch(stderr, /^\s+at /m);
    assert.match(stderr, /is not a whole number|is none of|expected: a whole number/);
  }
});
