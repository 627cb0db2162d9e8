import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LabError } from './errors.ts';
import { planLab, shapingOf } from './plan.ts';

test('a plan names both hosts, their namespaces and their addresses', () => {
  const plan = planLab('lab', '/labs');
  const view = plan.hosts.map((host) => [host.name, host.namespace, host.address, host.socket]);
  assert.deepEqual(view, [
    ['a', 'vmferry-lab-a', '198.18.1.1', '/labs/lab/a/agent.sock'],
    ['b', 'vmferry-lab-b', '198.18.1.2', '/labs/lab/b/agent.sock'],
  ]);
});

test('labs of other names have other addresses, always the same ones', () => {
  assert.notEqual(planLab('one').hosts[0].address, planLab('two').hosts[0].address);
  assert.equal(planLab('one').hosts[0].address, planLab('one').hosts[0].address);
});

test('a name that could leave the folder of labs is refused', () => {
  for (const name of ['', '..', 'a/b', 'UP', '-x', 'x'.repeat(21)]) {
    assert.throws(() => planLab(name), new LabError('LAB_NAME', planMessage(name), { name }));
  }
});

test('the rate is shaped by one queue, with a burst that takes a 64 KiB packet at every rate', () => {
  for (const link of ['100mbit', '1gbit', '10gbit'] as const) {
    const [tbf, ...more] = shapingOf(link, 0);
    assert.deepEqual(more, []);
    assert.ok(Number(tbf?.[tbf.indexOf('burst') + 1]) >= 65_536);
  }
});

test('a delay comes before the rate, and holds all packets that are on their way', () => {
  const [netem, tbf] = shapingOf('1gbit', 20);
  assert.deepEqual(netem?.slice(0, 6), ['root', 'handle', '1:', 'netem', 'delay', '20ms']);
  assert.ok(Number(netem?.[7]) * 1000 >= (1e9 / 8) * 0.02);
  assert.deepEqual(tbf?.slice(0, 5), ['parent', '1:1', 'handle', '10:', 'tbf']);
  assert.throws(() => shapingOf('1gbit', -1), /not within 0 to 1000 ms/);
});

function planMessage(name: string): string {
  return `"${name}" cannot name a lab: use 1 to 20 lower-case letters, digits or "-"`;
}
