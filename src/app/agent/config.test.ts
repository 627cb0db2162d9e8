import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig, parseConfig } from './config.ts';
import type { AgentError } from './errors.ts';
import { sampleConfig } from './testing.ts';

const parse = (change: Record<string, unknown>) =>
  parseConfig(JSON.stringify({ ...sampleConfig, ...change }), '/etc/vmferry/agent.yaml');

/** The complaints about a configuration, one per field. */
function issuesOf(change: Record<string, unknown>): readonly string[] {
  try {
    parse(change);
  } catch (error) {
    return (error as AgentError).fields['issues'] as readonly string[];
  }
  return [];
}

test('a short configuration gets defaults, and paths relative to its file', () => {
  const config = parse({});
  assert.equal(config.stateFolder, '/etc/vmferry/state');
  assert.equal(config.tls.cert, '/etc/vmferry/a.pem');
  assert.deepEqual(config.lanes, { address: '0.0.0.0', ports: { first: 7450, last: 7513 } });
  assert.deepEqual(config.peers['host-b'], { host: '198.18.0.2', port: 7443 });
  assert.equal(config.qemu.binary, 'qemu-system-x86_64', 'a bare program name is left to PATH');
  assert.equal(config.capacity.memory, 4 * 1024 ** 3);
  assert.equal(config.accelerator, 'auto');
});

test('every complaint names its field, and all come at once', () => {
  const issues = issuesOf({
    tls: { cert: 'a.pem', ca: 'ca.pem' },
    listen: { port: 70_000 },
    capacity: { memory: 'much' },
    lanes: { ports: '9000' },
    colour: 'blue',
  });
  for (const part of ['tls.key: is missing', 'listen.port: ', 'capacity.memory: "much"', 'lanes.ports: "9000"']) {
    assert.ok(
      issues.some((issue) => issue.startsWith(part)),
      `${part} in ${issues.join('; ')}`,
    );
  }
  assert.ok(issues.includes('colour: is not a known field'));
});

test('settings that contradict each other are refused', () => {
  assert.deepEqual(issuesOf({ peers: { 'host-a': { host: 'x' } } }), ['peers.host-a: is this host itself']);
  assert.deepEqual(issuesOf({ listen: { port: 7460 } }), ['listen.port: 7460 lies within lanes.ports 7450-7513']);
  assert.match(issuesOf({ socket: `/${'x'.repeat(120)}` })[0] ?? '', /^socket: is longer than the 107 bytes/);
});

test('a file that is not there or not YAML is an error with its name', () => {
  assert.throws(() => loadConfig('/nowhere/agent.yaml'), { code: 'CONFIG_UNREADABLE', message: /nowhere/ });
  assert.throws(() => parseConfig('a: [', 'x.yaml'), { code: 'CONFIG_INVALID', message: /x\.yaml is not YAML/ });
  assert.throws(() => parseConfig('', 'x.yaml'), { code: 'CONFIG_INVALID' });
});

test('processors may be a part of the machine, and an address for metrics is whole or not there', () => {
  assert.equal(parse({}).metrics, undefined);
  assert.equal(parse({ capacity: { cores: 1.5 } }).capacity.cores, 1.5);
  assert.deepEqual(parse({ metrics: { address: '127.0.0.1', port: 9464 } }).metrics, {
    address: '127.0.0.1',
    port: 9464,
  });
  for (const cores of [0, -1, '2']) assert.match(issuesOf({ capacity: { cores } }).join(), /^capacity\.cores: /);
  assert.match(issuesOf({ metrics: { port: 9464 } }).join(), /^metrics\.address: is missing/);
  assert.match(issuesOf({ metrics: { address: '::1', port: 0 } }).join(), /^metrics\.port: /);
});
