import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { samplePlan } from '../../core/api/testing.ts';
import { FerryError } from '../ferry/errors.ts';
import { AgentClient } from '../client/agent-client.ts';
import type { RefusalError } from '../client/errors.ts';
import { unixTransport } from '../client/unix-transport.ts';
import { cpuCount } from '../../io/hoststat/host-stat.ts';
import { defaultLanes, defaultMigrationOptions } from '../../core/model/migration.ts';
import { startTestAgent, sampleSpec } from './testing.ts';
import type { TestAgent } from './testing.ts';

let at: TestAgent;
let client: AgentClient;
before(async () => {
  at = await startTestAgent();
  client = new AgentClient(unixTransport(at.config.socket));
});
after(async () => {
  await client.close();
  await at.remove();
});

const start = async (change: Record<string, unknown> = {}) =>
  await client.call('startVm', { body: { spec: sampleSpec(change) } });
const refusalOf = async (call: Promise<unknown>): Promise<RefusalError> =>
  await call.then(
    () => assert.fail('it was not refused'),
    (error: RefusalError) => error,
  );
const refusedWith = (code: string, message = /./) => ({ name: 'RefusalError', code, message });

test('the socket is for its owner only', () => {
  assert.equal(statSync(at.config.socket).mode & 0o777, 0o600);
});

test('a second agent on the same state folder is refused, naming the first', async () => {
  await assert.rejects(at.restart(), { code: 'STATE_LOCKED', message: new RegExp(`process id ${process.pid}`) });
});

test('a machine is started, shown, counted and stopped', async () => {
  const view = await start();
  assert.equal(view.state, 'running');
  assert.equal(view.machine, 'pc-q35-10.0', 'the alias q35 is resolved');
  assert.equal((await client.call('host', {})).memoryBytes.used, 1024 ** 3);
  assert.deepEqual(
    (await client.call('listVms', {})).vms.map(({ name }) => name),
    ['web'],
  );
  await assert.rejects(start(), refusedWith('VM_EXISTS', /already/));
  await client.call('stopVm', { params: { name: 'web' }, body: {} });
  assert.deepEqual(at.qemu.cleaned, ['web']);
  await assert.rejects(client.call('showVm', { params: { name: 'web' } }), refusedWith('VM_UNKNOWN', /no VM "web"/));
});

test('a guest that does not power off is ended after its time', async () => {
  at.qemu.powersDown = false;
  await start();
  assert.equal((await client.call('stopVm', { params: { name: 'web' }, body: { graceMs: 1 } })).state, 'gone');
  assert.equal(at.qemu.alive.size, 0);
  at.qemu.powersDown = true;
});

test('everything that speaks against a start is reported at once and nothing is started', async () => {
  const error = await refusalOf(
    start({ memory: '64GiB', machine: 'pc-q35-99.0', cpu: 'Z80', kernel: '/nowhere/bzImage' }),
  );
  assert.deepEqual(
    error.problems.map(({ code }) => code),
    ['MEMORY_SHORT', 'QEMU_TOO_OLD', 'CPU_UNKNOWN', 'FILE_UNREADABLE'],
  );
  assert.equal(error.status, 422);
  assert.deepEqual((await client.call('listVms', {})).vms, []);
});

test('a start that fails leaves nothing behind', async () => {
  at.qemu.failStart = new Error('no');
  await assert.rejects(start(), refusedWith('INTERNAL'));
  at.qemu.failStart = null;
  assert.equal((await start()).state, 'running');
  await client.call('stopVm', { params: { name: 'web' }, body: { force: true } });
});

test('malformed requests name the field', async () => {
  const send = (body: unknown) => client.call('startVm', { body: body as never });
  await assert.rejects(
    send({ spec: { name: 'a b', memory: 'lots' } }),
    refusedWith('INVALID_REQUEST', /spec\.name: must be .*; spec\.memory: "lots" is not a size/),
  );
  await assert.rejects(
    send({ spec: { name: 'web', memory: 1, colour: 1 } }),
    refusedWith('INVALID_REQUEST', /spec\.colour: is not a known field/),
  );
  await assert.rejects(client.call('showMigration', { params: { id: 'none' } }), refusedWith('MIGRATION_UNKNOWN'));
});

test('a machine is adopted if its spec describes it', async () => {
  at.qemu.inspection = {
    pid: 77,
    startTicks: 5,
    machine: 'pc-q35-7.2',
    qemuVersion: '7.2.22',
    accelerator: 'tcg',
    vcpus: 2,
    memoryBytes: 2 * 1024 ** 3,
  };
  const adopt = (memory: string) =>
    client.call('adoptVm', { body: { name: 'old', qmp: '/run/x.sock', spec: sampleSpec({ name: 'old', memory }) } });
  const error = await refusalOf(adopt('1GiB'));
  assert.equal(error.code, 'ADOPT_REFUSED');
  assert.deepEqual(error.problems, [
    { code: 'SPEC_DIFFERS', message: 'The spec says memory 1073741824, the running QEMU has 2147483648.' },
  ]);
  const view = await adopt('2GiB');
  assert.deepEqual([view.adopted, view.pid, view.machine], [true, 77, 'pc-q35-7.2']);
  await client.call('stopVm', { params: { name: 'old' }, body: { force: true } });
});

test('a machine migrates with events, and is known afterwards by where it went', async () => {
  await start();
  const view = await client.call('startMigration', { body: { vm: 'web', destination: 'host-b' } });
  assert.deepEqual(at.ferry.options.at(-1), { ...defaultMigrationOptions, lanes: defaultLanes(cpuCount()) });
  assert.equal((await client.call('showVm', { params: { name: 'web' } })).state, 'migrating');
  await assert.rejects(
    client.call('startMigration', { body: { vm: 'web', destination: 'host-b' } }),
    refusedWith('VM_MIGRATING', new RegExp(view.id)),
  );
  await assert.rejects(client.call('stopVm', { params: { name: 'web' }, body: {} }), refusedWith('VM_MIGRATING'));
  assert.equal((await client.call('listMigrations', {})).migrations.length, 1);
  const seen: string[] = [];
  for await (const event of client.events(view.id)) {
    seen.push(event.type === 'view' ? event.view.stage : event.report.outcome);
    if (seen.length === 1) await at.ferry.running.at(-1)?.end('completed');
  }
  assert.deepEqual([seen[0], ...seen.slice(-2)], ['preCopy', 'ended', 'completed']);
  assert.equal((await client.call('showMigration', { params: { id: view.id } })).report?.outcome, 'completed');
  assert.equal((await client.call('history', { query: {} })).reports[0]?.id, view.id);
  await assert.rejects(
    client.call('showVm', { params: { name: 'web' } }),
    refusedWith('VM_UNKNOWN', /moved to host "host-b"/),
  );
});

test('an aborted migration leaves the machine as it was; a cancel that is too late says so', async () => {
  await start();
  const view = await client.call('startMigration', { body: { vm: 'web', destination: 'host-b' } });
  at.ferry.tooLate = true;
  const cancel = () => client.call('cancelMigration', { params: { id: view.id } });
  assert.equal((await cancel()).accepted, false);
  at.ferry.tooLate = false;
  assert.equal((await cancel()).accepted, true);
  for await (const event of client.events(view.id))
    if (event.type === 'report') assert.equal(event.report.outcome, 'aborted');
  assert.equal((await client.call('showVm', { params: { name: 'web' } })).state, 'running');
  assert.equal((await cancel()).accepted, false, 'it has ended');
});

test('a migration is refused for each reason with its own code', async () => {
  const migrate = (vm: string, destination: string) => client.call('startMigration', { body: { vm, destination } });
  await assert.rejects(migrate('nobody', 'host-b'), refusedWith('VM_UNKNOWN'));
  await assert.rejects(migrate('web', 'host-z'), refusedWith('PEER_UNKNOWN', /it knows host-b/));
  await assert.rejects(migrate('web', 'host-a'), refusedWith('SAME_HOST'));
  at.qemu.state = 'silent';
  await assert.rejects(migrate('web', 'host-b'), refusedWith('QEMU_SILENT', /monitor of VM "web" does not answer/));
  at.qemu.state = 'running';
  at.ferry.problems = [
    { code: 'A', message: 'a' },
    { code: 'B', message: 'b' },
  ];
  const error = await refusalOf(migrate('web', 'host-b'));
  assert.deepEqual([error.code, error.problems], ['PREFLIGHT_REFUSED', at.ferry.problems]);
  at.ferry.problems = [];
  assert.equal((await client.call('showVm', { params: { name: 'web' } })).migration, null);
});

test('a restarted agent finds its machines again, and what has ended meanwhile is gone', async () => {
  await start({ name: 'second' });
  await at.agent.stop();
  const second = at.qemu.started.at(-1);
  assert.equal(second?.spec.name, 'second');
  at.qemu.alive.delete(Math.max(...at.qemu.alive));
  at.ferry.leftUndone = [{ id: 'undone', vm: 'web' }];
  await at.restart();
  const { vms } = await client.call('listVms', {});
  assert.deepEqual(
    vms.map(({ name, state }) => [name, state]),
    [
      ['second', 'gone'],
      ['web', 'migrating'],
    ],
  );
  await at.ferry.running.at(-1)?.end('failed', { guest: 'in doubt' });
  for await (const event of client.events('undone'))
    if (event.type === 'report') assert.equal(event.report.guest, 'in doubt');
  const stop = () => client.call('stopVm', { params: { name: 'web' }, body: { force: true } });
  await assert.rejects(stop(), refusedWith('VM_MIGRATING'), 'a machine in doubt is not touched');
  await client.call('resolveMigration', { params: { id: 'undone' }, body: { word: 'discard' } });
  assert.deepEqual(at.ferry.resolved, ['undone discard']);
  await stop();
  at.ferry.leftUndone = [];
  assert.equal((await start({ name: 'second' })).state, 'running', 'the name of a gone machine is free');
});

test('as a destination it reserves, starts, discards and activates', async () => {
  const host = at.host();
  const request = {
    migrationId: 'in1',
    sourceHost: 'host-b',
    spec: sampleSpec({ name: 'guest' }),
    qemuVersion: '10.0.2',
    machine: 'pc-q35-7.2',
    leaseMs: 1e3,
    pull: false,
  };
  assert.deepEqual(await host.preflight(request), []);
  assert.deepEqual(await host.preflight({ ...request, pull: true }), []);
  at.qemu.userfaultfd = 'Userfaultfd not available';
  assert.deepEqual(
    (await host.preflight({ ...request, pull: true })).map(({ code }) => code),
    ['PULL_USERFAULTFD'],
  );
  at.qemu.userfaultfd = null;
  at.qemu.version = '9.2.1';
  assert.deepEqual(
    (await host.preflight({ ...request, pull: true })).map(({ code }) => code),
    ['PULL_QEMU_TOO_OLD'],
  );
  assert.deepEqual(await host.preflight(request), []);
  at.qemu.version = '10.0.2';
  await host.reserve(request);
  const vm = await host.startIncoming('in1');
  assert.equal(at.qemu.started.at(-1)?.incoming, true);
  assert.equal(at.qemu.started.at(-1)?.spec.machine, 'pc-q35-7.2', 'the machine type of the source');
  assert.equal(host.findIncoming('in1')?.pid, vm.pid);
  const taken = await host.preflight({ ...request, migrationId: 'in2' });
  assert.deepEqual(
    taken.map(({ code }) => code),
    ['NAME_TAKEN'],
  );
  await assert.rejects(host.reserve({ ...request, migrationId: 'in2' }), { code: 'RESERVATION_REFUSED' });
  await host.discard('in1');
  await host.discard('in1');
  assert.equal(at.qemu.alive.has(vm.pid), false);
  await assert.rejects(host.startIncoming('in1'), { code: 'RESERVATION_REFUSED' });
  await host.reserve(request);
  await host.startIncoming('in1');
  await host.activate('in1');
  await host.activate('in1');
  await host.discard('in1');
  assert.equal((await client.call('showVm', { params: { name: 'guest' } })).state, 'running', 'discard is too late');
});

test('a file in the place of the socket is left alone', async () => {
  const other = await startTestAgent();
  await other.agent.stop();
  writeFileSync(join(other.folder, 'agent.sock'), 'precious');
  await assert.rejects(other.restart(), { code: 'SOCKET_IN_USE', message: /is no socket/ });
  await other.remove();
});

test('a stopping agent aborts its migrations', async () => {
  const other = await startTestAgent();
  const remote = new AgentClient(unixTransport(other.config.socket));
  await remote.call('startVm', { body: { spec: sampleSpec() } });
  const { id } = await remote.call('startMigration', { body: { vm: 'web', destination: 'host-b' } });
  await other.agent.stop();
  await assert.rejects(remote.call('listVms', {}), { code: 'AGENT_UNREACHABLE' });
  await other.restart();
  assert.equal((await remote.call('showMigration', { params: { id } })).report?.outcome, 'aborted');
  await remote.close();
  await other.remove();
});

test('only post-copy takes a pull phase for granted, and it cannot be without', async () => {
  await start();
  const body = (options: object) => ({ body: { vm: 'web', destination: 'host-b', options } }) as never;
  const refused = client.call('startMigration', body({ strategy: 'postcopy', pull: false }));
  await assert.rejects(refused, refusedWith('INVALID_REQUEST', /--no-pull/));
  await client.call('startMigration', body({ strategy: 'dsm' }));
  assert.equal(at.ferry.options.at(-1)?.pull, false);
  await at.ferry.running.at(-1)?.end('aborted');
  await client.call('startMigration', body({ strategy: 'postcopy' }));
  assert.equal(at.ferry.options.at(-1)?.pull, true);
  await at.ferry.running.at(-1)?.end('completed');
});

test('a plan claims its VM while it looks at it, makes way for a migration, and gives it back whatever comes of it', async () => {
  await start();
  const body = { vm: 'web', destination: 'host-b', measureMs: 500 };
  const planned = client.call('plan', { body });
  while (at.ferry.plans.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  // The reports of this history are of verified migrations, which teach nothing.
  assert.deepEqual(at.ferry.plans[0]?.wish, { measureMs: 500, strategies: null, past: [] });
  await assert.rejects(client.call('plan', { body }), refusedWith('VM_MIGRATING'));
  at.ferry.plans[0]?.give(samplePlan);
  assert.deepEqual(await planned, samplePlan);

  const given = client.call('plan', { body });
  given.catch(() => undefined);
  while (at.ferry.plans.length === 1) await new Promise((resolve) => setTimeout(resolve, 5));
  await client.call('startMigration', { body: { vm: 'web', destination: 'host-b' } });
  await assert.rejects(given, refusedWith('VM_MIGRATING', /"web" is being moved; the look at it was given up/));
  await at.ferry.running.at(-1)?.end('aborted');

  // Both at once, whichever is heard first: it is moved, and the look is given up, or is not begun.
  for (let i = 0; i < 10; i++) {
    const isLookedAt = assert.rejects(client.call('plan', { body }), refusedWith('VM_MIGRATING'));
    await client.call('startMigration', { body: { vm: 'web', destination: 'host-b' } });
    await isLookedAt;
    await at.ferry.running.at(-1)?.end('aborted');
  }

  const before = at.ferry.plans.length;
  const failing = client.call('plan', { body });
  while (at.ferry.plans.length === before) await new Promise((resolve) => setTimeout(resolve, 5));
  at.ferry.plans[before]?.give(new FerryError('FERRY_PEER', 'Host "host-b" is gone'));
  await assert.rejects(failing, /web.*not touched.*host-b" is gone/);

  await assert.rejects(client.call('plan', { body: { ...body, destination: 'nowhere' } }), refusedWith('PEER_UNKNOWN'));
  await assert.rejects(client.call('plan', { body: { ...body, measureMs: 1 } }), refusedWith('INVALID_REQUEST'));
  await client.call('stopVm', { params: { name: 'web' }, body: { force: true } });
});

test('telemetry: a look, its history, and a page for Prometheus', async () => {
  const telemetry = await client.call('telemetry', {});
  assert.equal(telemetry.host, 'host-a');
  assert.equal(telemetry.memory.totalBytes, 4 * 1024 ** 3, 'what the configuration offers');
  assert.deepEqual(
    telemetry.peers.map(({ name, reachable }) => [name, reachable]),
    [['host-b', false]],
  );
  const { points } = await client.call('telemetryHistory', { query: { minutes: 1 } });
  assert.ok(points.length >= 1);
  await assert.rejects(client.call('telemetryHistory', { query: { minutes: 0 } }), refusedWith('INVALID_REQUEST'));
  const page = await unixTransport(at.config.socket).request({
    ...{ method: 'GET', path: '/metrics', body: null, timeoutMs: 1000, signal: undefined },
  });
  assert.equal(page.status, 200);
  let text = '';
  for await (const chunk of page.body) text += Buffer.from(chunk).toString();
  assert.match(text, /^vmferry_build_info\{version="0\.0\.0"\} 1$/m);
  assert.match(text, /^vmferry_migrations_total\{outcome="completed"\} \d+$/m);
});

test('a migration that asks for a plan has what was expected in its view and its report, and goes on without one', async () => {
  await start();
  const begin = at.ferry.plans.length;
  const body = { vm: 'web', destination: 'host-b', plan: true };
  const started = client.call('startMigration', { body });
  while (at.ferry.plans.length === begin) await new Promise((resolve) => setTimeout(resolve, 5));
  const { wish, give } = at.ferry.plans[begin]!;
  assert.deepEqual(wish.strategies, ['auto']);
  assert.ok(wish.measureMs <= 1000, 'it holds the migration up for no longer');
  give(samplePlan);
  await started;
  const [prediction] = samplePlan.predictions;
  assert.deepEqual(at.ferry.requests.at(-1)?.predicted, { ...prediction, facts: samplePlan.facts });
  await at.ferry.running.at(-1)?.end('aborted');

  const again = client.call('startMigration', { body });
  while (at.ferry.plans.length === begin + 1) await new Promise((resolve) => setTimeout(resolve, 5));
  at.ferry.plans[begin + 1]!.give(new FerryError('FERRY_PEER', 'The guest could not be looked at'));
  await again;
  assert.equal(at.ferry.requests.at(-1)?.predicted, null);
  await at.ferry.running.at(-1)?.end('aborted');

  await client.call('startMigration', { body: { vm: 'web', destination: 'host-b' } });
  assert.equal(at.ferry.plans.length, begin + 2, 'nobody asked for one');
  await at.ferry.running.at(-1)?.end('completed');
});

test('what a plan finds forbids the migration, as the checks do', async () => {
  await start();
  const begin = at.ferry.plans.length;
  const refused = client.call('startMigration', { body: { vm: 'web', destination: 'host-b', plan: true } });
  refused.catch(() => undefined);
  while (at.ferry.plans.length === begin) await new Promise((resolve) => setTimeout(resolve, 5));
  at.ferry.plans[begin]!.give({ ...samplePlan, problems: [{ code: 'NO_BRIDGE', message: 'No bridge "br0".' }] });
  await assert.rejects(refused, refusedWith('PREFLIGHT_REFUSED'));
  await client.call('stopVm', { params: { name: 'web' }, body: { force: true } });
});
