import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { sampleTelemetry, sampleVmTelemetry } from '../../core/api/telemetry-testing.ts';
import { TelemetryStore, type StoreLimits } from './store.ts';

const startMs = Date.UTC(2026, 10, 21, 12, 0, 0);
const limits: StoreLimits = { secondsKeptMs: 100_000, minutesKeptMs: 600_000, secondRows: 500, minuteRows: 30 };

function fill(store: TelemetryStore, seconds: number, vms: readonly string[] = ['web']): void {
  for (let second = 0; second < seconds; second++) {
    const views = vms.map((name) => sampleVmTelemetry({ name, guestCores: second < 60 ? 1 : 0.5 }));
    store.add(sampleTelemetry({ atMs: startMs + second * 1000, vms: views }));
  }
}

test('seconds come back in order, of the host and of each VM', () => {
  const store = new TelemetryStore(':memory:');
  fill(store, 90, ['web', 'db']);
  const nowMs = startMs + 89_000;
  const { spanMs, points } = store.history('web', 1, nowMs);
  assert.equal(spanMs, 1000);
  assert.equal(points.length, 60);
  assert.deepEqual(
    points.map(({ atMs }) => atMs),
    points.map(({ atMs }) => atMs).toSorted((a, b) => a - b),
  );
  assert.equal(points.at(-1)?.cores, 0.5);
  assert.equal(points.at(-1)?.otherCores, 0.1);
  assert.equal(points.at(-1)?.memoryBytes, 2 ** 29);
  const host = store.history(undefined, 10, nowMs);
  assert.equal(host.vm, null);
  assert.equal(host.points.length, 90);
  assert.deepEqual(host.points[0], {
    ...{ atMs: startMs, cores: 2.5, otherCores: 1.5, memoryBytes: 2 * 2 ** 30, dirtyBytesPerS: null },
    ...{ receivedBytesPerS: 3e6, sentBytesPerS: 5e6, readBytesPerS: null, writtenBytesPerS: null },
  });
  assert.deepEqual(store.history('unknown', 10, nowMs).points, []);
});

test('minutes are means of what was known', () => {
  const store = new TelemetryStore(':memory:');
  for (let second = 0; second <= 120; second++) {
    const vm = sampleVmTelemetry({ guestCores: second < 60 ? (second % 2 === 0 ? null : 2) : 1 });
    store.add(sampleTelemetry({ atMs: startMs + second * 1000, vms: [vm] }));
  }
  const { spanMs, points } = store.history('web', 61, startMs + 121_000);
  assert.equal(spanMs, 60_000);
  assert.deepEqual(
    points.map(({ atMs, cores, readBytesPerS }) => ({ atMs, cores, readBytesPerS })),
    [
      { atMs: startMs + 60_000, cores: 2, readBytesPerS: 0 },
      { atMs: startMs + 120_000, cores: 1, readBytesPerS: 0 },
    ],
  );
});

test('time bounds what is kept', () => {
  const store = new TelemetryStore(':memory:', limits);
  fill(store, 900);
  const { seconds, minutes } = store.rows;
  assert.ok(seconds <= 2 * 101, `${seconds} rows for 100 s of a host and a VM`);
  assert.ok(minutes <= 2 * 11, `${minutes} rows for 10 minutes of a host and a VM`);
  assert.equal(store.history('web', 60, startMs + 900_000).points[0]?.atMs, startMs + 799_000);
});

test('rows bound what is kept where there are many VMs', () => {
  const store = new TelemetryStore(':memory:', limits);
  const many = Array.from({ length: 40 }, (_, index) => `vm-${index}`);
  fill(store, 300, many);
  assert.ok(store.rows.seconds <= limits.secondRows, `${store.rows.seconds}`);
  assert.ok(store.rows.minutes <= limits.minuteRows + 41, `${store.rows.minutes}`);
  assert.equal(store.history('vm-3', 1, startMs + 300_000).points.at(-1)?.atMs, startMs + 299_000, 'the newest stay');
});

test('what was kept is there for the next agent, and a damaged file is begun anew', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-store-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'telemetry.db');
  const first = new TelemetryStore(file);
  fill(first, 5);
  first.close();
  const second = new TelemetryStore(file);
  assert.equal(second.rows.seconds, 10);
  second.close();
  writeFileSync(file, 'no database at all, but long enough to be looked at as one'.repeat(100));
  const third = new TelemetryStore(file);
  assert.equal(third.rows.seconds, 0);
  fill(third, 1);
  third.close();
});
