import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sampleTelemetry, sampleVmTelemetry } from '../../core/api/telemetry-testing.ts';
import { sampleReport } from '../../core/api/testing.ts';
import { Metrics } from './metrics.ts';
import { MetricsServer } from './metrics-server.ts';
import { problemsOf, valuesOf } from '../../../test/support/prometheus-page.ts';

function metricsWithAll(): Metrics {
  const metrics = new Metrics('0.1.0', () => 2);
  metrics.sampled(sampleTelemetry(), null, 3);
  metrics.sampled(sampleTelemetry(), 1000, 3);
  metrics.migrationEnded(sampleReport());
  metrics.migrationEnded(sampleReport({ outcome: 'aborted' }));
  return metrics;
}

test('the page keeps the rules for names, units and types', async () => {
  const text = await metricsWithAll().text();
  assert.deepEqual(problemsOf(text), []);
  assert.ok(text.split('\n').filter((line) => line.startsWith('# TYPE')).length > 25);
});

test('breaches of the rules are found', () => {
  const good = '# HELP a_b_bytes It.\n# TYPE a_b_bytes gauge\na_b_bytes 1\n';
  assert.deepEqual(problemsOf(good), []);
  const planted = [
    'a_b_bytes 1\n',
    '# TYPE a_b_bytes gauge\na_b_bytes 1\n',
    '# HELP a_ms It.\n# TYPE a_ms gauge\na_ms 1\n',
    '# HELP a It.\n# TYPE a counter\na 1\n',
    '# HELP a_total It.\n# TYPE a_total gauge\na_total 1\n',
    '# HELP aB It.\n# TYPE aB gauge\naB 1\n',
    '# HELP a_b It.\n# TYPE a_b gauge\na_b{x="1} 1\n',
    '# HELP a_b It.\n# TYPE a_b gauge\na_b one\n',
    '# HELP a_b It.\n# TYPE a_b gauge\na_b 1\na_b 2\n',
  ];
  for (const text of planted) assert.equal(problemsOf(text).length, 1, text);
});

test('counters add up, gauges follow, and a VM that left is gone', async () => {
  const metrics = new Metrics('0.1.0', () => 0);
  for (let i = 0; i < 3; i++) metrics.sampled(sampleTelemetry(), i === 0 ? null : 2000, 1);
  let values = valuesOf(await metrics.text());
  assert.equal(values.get('vmferry_host_cpu_seconds_total'), 10);
  assert.equal(values.get('vmferry_vm_cpu_seconds_total{vm="web",kind="guest"}'), 6);
  assert.equal(values.get('vmferry_vm_network_transmit_bytes_total{vm="web"}'), 8e6);
  assert.equal(values.get('vmferry_peer_round_trip_seconds{peer="host-b"}'), 0.0004);
  assert.equal(values.has('vmferry_vm_cpu_cap_cores{vm="web"}'), false, 'it has no cap');
  assert.equal(values.get('vmferry_host_vms{state="running"}'), 1);
  metrics.sampled(sampleTelemetry({ vms: [sampleVmTelemetry({ name: 'db', guestCores: null })] }), 1000, 1);
  values = valuesOf(await metrics.text());
  assert.deepEqual(
    [...values.keys()].filter((key) => key.includes('vm="web"')),
    [],
  );
  assert.equal(values.get('vmferry_vm_memory_used_bytes{vm="db"}'), 2 ** 28);
});

test('migrations are counted by outcome and code, and their times, bytes and savings add up', async () => {
  const values = valuesOf(await metricsWithAll().text());
  assert.equal(values.get('vmferry_migrations_in_progress'), 2);
  assert.equal(values.get('vmferry_migrations_total{outcome="completed"}'), 1);
  assert.equal(values.get('vmferry_migrations_total{outcome="failed"}'), 0);
  assert.equal(values.get('vmferry_migration_failures_total{code="FERRY_CANCELLED"}'), 1);
  assert.equal(values.get('vmferry_migration_duration_seconds_count'), 1);
  assert.ok(Math.abs((values.get('vmferry_migration_duration_seconds_sum') ?? 0) - 3.4006) < 1e-9);
  assert.equal(values.get('vmferry_migration_downtime_seconds_bucket{le="0.2"}'), 1);
  assert.equal(values.get('vmferry_migration_sent_bytes_total{kind="again"}'), 2 * 9_600_000);
  assert.equal(values.get('vmferry_migration_sent_bytes_total{kind="first"}'), 2 * (89_000_000 - 9_600_000));
  assert.equal(values.get('vmferry_migration_saved_bytes_total{kind="zero"}'), 2 * 202_144 * 4096);
});

let server: MetricsServer;
let port = 0;
before(async () => {
  const metrics = metricsWithAll();
  server = new MetricsServer({ contentType: metrics.contentType, text: () => metrics.text() });
  port = await server.listen('127.0.0.1', 0);
});
after(async () => await server.close());

test('over TCP there is the page and nothing else', async () => {
  const page = await fetch(`http://127.0.0.1:${port}/metrics`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  assert.deepEqual(problemsOf(await page.text()), []);
  for (const path of ['/', '/vms', '/telemetry', '/metrics/x']) {
    assert.equal((await fetch(`http://127.0.0.1:${port}${path}`)).status, 404, path);
  }
  assert.equal((await fetch(`http://127.0.0.1:${port}/metrics`, { method: 'POST' })).status, 404);
});
