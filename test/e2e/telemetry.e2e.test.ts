/**
 * Telemetry of real guests: what is busy is seen to be busy, by its own agent, by its peer and by Prometheus; the figures follow
 * a guest to another host, and a QEMU that dies takes nothing with it.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostTelemetry, VmTelemetry } from '../../src/core/model/telemetry.ts';
import type { TelemetryHistory } from '../../src/core/model/telemetry-history.ts';
import { problemsOf, valuesOf } from '../support/prometheus-page.ts';
import { useLab, type HostName } from '../support/lab-hosts.ts';

const METRICS_PORT = 9464;
const lab = useLab({ config: { a: { metrics: { address: '127.0.0.1', port: METRICS_PORT } } } });
/** Samples come each second; the guest agent answers some time after the boot, and is asked ever more rarely until then. */
const WAIT_MS = 90_000;

async function look(host: HostName): Promise<HostTelemetry> {
  const client = lab.client(host);
  try {
    return await client.call('telemetry', {});
  } finally {
    await client.close();
  }
}

const vmOf = (telemetry: HostTelemetry, name: string): VmTelemetry | undefined =>
  telemetry.vms.find((vm) => vm.name === name);

/** Looks each second until it is as wanted. */
async function until(
  host: HostName,
  what: string,
  isSo: (telemetry: HostTelemetry) => boolean,
): Promise<HostTelemetry> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const telemetry = await look(host);
    if (isSo(telemetry)) return telemetry;
    if (performance.now() > deadline) {
      assert.fail(`not ${what} within ${WAIT_MS} ms: ${JSON.stringify(telemetry, null, 1)}\n${lab.agentLogs()}`);
    }
    await sleep(1000);
  }
}

function identityOf(host: string): object {
  const read = (file: string): string => readFileSync(join(lab.folder, 'pki', file), 'utf8');
  return { certPem: read(`${host}.pem`), keyPem: read(`${host}.key`), caPem: read('ca.pem') };
}

async function askAs(host: HostName, identity: string, name: HostName): Promise<Record<string, unknown>> {
  const program = join(import.meta.dirname, '../support/peer-question.ts');
  const question = { tls: identityOf(identity), peer: { name, host: await lab.address('a'), port: 7443 } };
  const { done } = lab.spawnAt(host, process.execPath, program, JSON.stringify(question));
  const { json, stderr } = await done;
  assert.ok(json !== null, stderr);
  return json as Record<string, unknown>;
}

async function metricsOfA(): Promise<string> {
  const program = `process.stdout.write(await (await fetch('http://127.0.0.1:${METRICS_PORT}/metrics')).text())`;
  const { stdout, stderr } = await lab.spawnAt('a', process.execPath, '--input-type=module', '-e', program).done;
  assert.ok(stdout !== '', stderr);
  return stdout;
}

test('a busy guest and an idle one are told apart', async (t) => {
  const busy = { name: 'busy', memory: '256M', programs: ['dhrystone'], writer: { set: '64M', rate: '30M' } };
  await lab.startGuest('a', { name: 'idle', memory: '192M' });
  await lab.startGuest('a', busy);
  // What the guests say of their memory may be half a minute old, and that of a boot.
  const telemetry = await until('a', 'known', (seen) => {
    const [idle, writer] = [vmOf(seen, 'idle'), vmOf(seen, 'busy')];
    const more = (writer?.memory.usedBytes ?? 0) - (idle?.memory.usedBytes ?? Infinity);
    return idle?.dirty != null && writer?.dirty != null && more > 40 * 2 ** 20;
  });
  // The mean of five looks at pages may still have one of the boot.
  await sleep(6000);
  const [idleNow, busyNow] = [vmOf(await look('a'), 'idle')!, vmOf(await look('a'), 'busy')!];
  t.diagnostic(JSON.stringify({ idleNow, busyNow }));
  assert.ok((busyNow.guestCores ?? 0) > 0.8, `busy: ${busyNow.guestCores} processors`);
  assert.ok((idleNow.guestCores ?? 1) < 0.2, `idle: ${idleNow.guestCores} processors`);
  assert.ok((busyNow.overheadCores ?? 1) < 0.5, `overhead: ${busyNow.overheadCores}`);
  assert.equal(idleNow.dirty, 'idle');
  assert.ok(busyNow.dirty === 'medium' || busyNow.dirty === 'high', `${busyNow.dirty}`);
  assert.ok((busyNow.dirtyBytesPerS ?? 0) > 10 * 2 ** 20, `${busyNow.dirtyBytesPerS} bytes per second`);
  for (const { memory } of [idleNow, busyNow]) {
    assert.ok(memory.residentBytes > 30 * 2 ** 20 && memory.residentBytes < 2 * memory.assignedBytes);
    assert.ok(memory.usedBytes! > 5 * 2 ** 20 && memory.usedBytes! < memory.assignedBytes);
  }
  assert.ok(busyNow.memory.usedBytes! > idleNow.memory.usedBytes! + 40 * 2 ** 20, 'the writer has its set');
  assert.equal(telemetry.host, 'a');
  assert.ok(telemetry.cpu.usedCores! >= 0.8 && telemetry.cpu.cores > 0 && telemetry.ageMs < 5000);
  assert.ok(telemetry.memory.availableBytes < telemetry.memory.totalBytes);
});

test('a peer asks over TLS, as one that is trusted and by the right name only', async () => {
  const answer = await askAs('b', 'b', 'a');
  assert.equal(answer['host'], 'a');
  assert.equal((answer['vms'] as VmTelemetry[]).length, 2);
  await lab.ok('a', 'pki', 'issue', 'c', '--folder', join(lab.folder, 'pki'));
  const untrusted = await askAs('b', 'c', 'a');
  assert.equal(untrusted['error'], 'PEER_NOT_TRUSTED', JSON.stringify(untrusted));
  const misnamed = await askAs('b', 'b', 'b');
  assert.match(String(misnamed['message']), /is not b/);
  for (const [host, other] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    const { peers } = await until(host, 'in touch with its peer', ({ peers: [peer] }) => peer?.reachable === true);
    assert.equal(peers[0]?.name, other);
    assert.ok((peers[0]?.roundTripMs ?? -1) > 0, `${peers[0]?.roundTripMs}`);
  }
});

test('a plan measures the link, and the figures follow a guest to the other host', async () => {
  await lab.ok('a', 'plan', 'busy', 'b', '--measure', '300ms');
  const { peers } = await until('a', 'told of the link', ({ peers: [peer] }) => peer?.linkBytesPerS !== null);
  assert.ok((peers[0]?.linkBytesPerS ?? 0) > 10e6, `${peers[0]?.linkBytesPerS}`);
  await lab.migrate(lab.guest('busy'), 'a', 'b');
  const [there, here] = [
    await until('b', 'busy there', (telemetry) => (vmOf(telemetry, 'busy')?.guestCores ?? 0) > 0.8),
    await until('a', 'without it', (telemetry) => vmOf(telemetry, 'busy') === undefined),
  ];
  assert.equal(vmOf(there, 'busy')?.state, 'running');
  assert.ok((here.cpu.guestCores ?? 1) < 0.2);
  const client = lab.client('a');
  const history: TelemetryHistory = await client.call('telemetryHistory', { query: { vm: 'busy', minutes: 5 } });
  await client.close();
  assert.ok(
    history.points.some(({ cores }) => (cores ?? 0) > 0.8),
    'what it did here is kept',
  );
});

test('Prometheus gets a page that it understands, with the migration counted', async (t) => {
  const text = await metricsOfA();
  assert.deepEqual(problemsOf(text), []);
  const values = valuesOf(text);
  assert.equal(values.get('vmferry_migrations_total{outcome="completed"}'), 1);
  assert.equal(values.get('vmferry_migration_downtime_seconds_count'), 1);
  assert.ok((values.get('vmferry_migration_sent_bytes_total{kind="first"}') ?? 0) > 2 ** 20);
  assert.equal(values.get('vmferry_peer_up{peer="b"}'), 1);
  assert.ok((values.get('vmferry_vm_memory_resident_bytes{vm="idle"}') ?? 0) > 0);
  assert.ok(![...values.keys()].some((key) => key.includes('vm="busy"')), 'a guest that left is not shown');
  const samples = values.get('vmferry_sample_duration_seconds_count') ?? 0;
  const meanMs = (1000 * (values.get('vmferry_sample_duration_seconds_sum') ?? 0)) / samples;
  t.diagnostic(`${samples} samples of up to two VMs, ${meanMs.toFixed(1)} ms each`);
  assert.ok(samples > 10);
});

test('top prints the host and its guests', async () => {
  const { code, stdout } = await lab.cli('b', 'top');
  assert.equal(code, 0);
  assert.equal((JSON.parse(stdout) as HostTelemetry).host, 'b');
  const { done } = lab.spawnAt('b', join(import.meta.dirname, '../../bin/vmferry'), '--socket', lab.socket('b'), 'top');
  const screen = (await done).stdout;
  assert.match(screen, /^vmferry top {2}b {2}1 VM/);
  assert.match(screen, /^busy +running +\d\.\d\d/m);
});

test('a QEMU that is killed is gone from the next looks, which go on', async () => {
  const [vm] = await lab.vms('a');
  assert.equal(vm?.name, 'idle');
  process.kill(vm.pid!, 'SIGKILL');
  const after = await until('a', 'without it', ({ vms }) => vms.length === 0);
  const later = await until('a', 'looked at again', ({ atMs }) => atMs > after.atMs + 2000);
  assert.deepEqual(later.vms, []);
});
