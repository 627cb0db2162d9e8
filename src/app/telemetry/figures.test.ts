import assert from 'node:assert/strict';
import { mkdtempSync, openSync, rmSync, writeFileSync, writeSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPageHash } from '../../io/lanes/page-hash.ts';
import { Conversations } from './conversation.ts';
import { Schedule } from './schedule.ts';
import { dirtyClassOf, RecentMean } from './dirty-class.ts';
import { DirtyLooks, drawPages } from './dirty-looks.ts';
import { RETRY_MS_MAX } from './limits.ts';
import { Meter } from './meter.ts';
import { parseGuestUsed } from './qemu-inspection.ts';

test('a counter becomes a rate; one that began anew has none', () => {
  const meter = new Meter();
  assert.equal(meter.rate(100, 1000), null);
  assert.equal(meter.rate(300, 3000), 100);
  assert.equal(meter.rate(10, 4000), null, 'it fell: another process has its number');
  assert.equal(meter.rate(20, 4500), 20);
  assert.equal(meter.rate(null, 5000), null);
  assert.equal(meter.rate(50, 6000), null, 'what happened while it was unknown is unknown');
  assert.equal(meter.rate(60, 6000), null, 'no time has passed');
});

test('classes are by the share of memory that is written to in a second', () => {
  assert.deepEqual(
    [0, 0.0049, 0.005, 0.029, 0.03, 0.149, 0.15, 1].map((share) => dirtyClassOf(share)),
    ['idle', 'idle', 'low', 'low', 'medium', 'medium', 'high', 'high'],
  );
  const mean = new RecentMean(2);
  assert.equal(mean.mean, null);
  for (const value of [100, 1, 3]) mean.add(value);
  assert.equal(mean.mean, 2);
});

test('pages are drawn from all blocks, in proportion', () => {
  const block = { path: '', offsetBytes: 0, preloaded: false };
  const map = [
    { ...block, name: 'a', firstPage: 100, pageCount: 300 },
    { ...block, name: 'b', firstPage: 1000, pageCount: 100 },
  ];
  for (const random of [Math.random, () => 0, () => 0.9999999]) {
    const pages = new Uint32Array(40);
    drawPages(map, pages, random);
    assert.equal(new Set(pages).size, 40);
    assert.equal([...pages].filter((page) => page >= 100 && page < 400).length, 30);
    assert.equal([...pages].filter((page) => page >= 1000 && page < 1100).length, 10);
  }
});

test('the share of memory that changes between two looks is found', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-looks-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'ram');
  const pageCount = 4096;
  writeFileSync(path, Buffer.alloc(pageCount * 4096));
  const map = [{ name: 'ram', firstPage: 0, pageCount, preloaded: false, path, offsetBytes: 0 }];
  const looks = new DirtyLooks(map, await createPageHash());
  await looks.look();
  assert.equal(looks.share, null);
  await sleep(100);
  await looks.look();
  assert.equal(looks.share, 0);
  // A quarter of all pages, one byte each, within half a second: half of the memory per second.
  const fd = openSync(path, 'r+');
  for (let page = 0; page < pageCount / 4; page++) writeSync(fd, Buffer.of(1), 0, 1, page * 4096 + (page % 4096));
  closeSync(fd);
  await sleep(500);
  await looks.look();
  const share = 2 * (looks.share ?? 0);
  assert.ok(share > 0.3 && share < 0.55, `${share}`);
  looks.close();
  await looks.look();
});

test('what the guest says of its memory is read, nonsense is not believed', () => {
  assert.equal(parseGuestUsed('MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   400 kB\n'), 600 * 1024);
  for (const nonsense of ['', 'MemTotal: 1 kB\nMemAvailable: 5 kB\n', 'MemTotal: x kB\nMemAvailable: 1 kB\n']) {
    assert.equal(parseGuestUsed(nonsense), null);
  }
});

test('a conversation is cut off when a migration claims the machine, and none begins while it does', async () => {
  const talks = new Conversations();
  let free = true;
  const startMs = performance.now();
  const waiting = talks.hold(
    () => free,
    async (signal) => await sleep(5_000, undefined, { signal }),
  );
  await sleep(30);
  free = false;
  await assert.rejects(waiting, { name: 'AbortError' });
  assert.ok(performance.now() - startMs < 1_000);
  await assert.rejects(
    talks.hold(
      () => free,
      async () => await Promise.resolve(),
    ),
    /migration/,
  );
  free = true;
  assert.equal(
    await talks.hold(
      () => free,
      async () => await Promise.resolve(7),
    ),
    7,
    'a failed one does not stop the next',
  );
  talks.close();
  await assert.rejects(
    talks.hold(
      () => free,
      async () => await Promise.resolve(),
    ),
  );
});

test('what fails is tried again later and later, what succeeds at its interval', () => {
  const schedule = new Schedule(1000);
  assert.ok(schedule.isDue(0));
  schedule.succeeded(0);
  assert.ok(!schedule.isDue(999) && schedule.isDue(1000));
  let waits = 0;
  for (let nowMs = 0; nowMs < 3 * RETRY_MS_MAX; nowMs += 1000) {
    if (!schedule.isDue(nowMs)) continue;
    waits++;
    schedule.failed(nowMs);
  }
  assert.ok(waits > 5 && waits < 10, `${waits}`);
});
