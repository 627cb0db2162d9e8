import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  allPages,
  alpha,
  batchesOf,
  FIRST_PAGES,
  memoryFile,
  mixedPage,
  PAGE,
  SECOND_PAGES,
  SECOND_START,
  start,
  token,
} from '../../../test/support/lane-fixture.ts';
import { bootDestinationLanes } from './destination-lane-pool.ts';
import { bootSourceLanes } from './source-lane-pool.ts';

test('two lanes place every page, through rewrites, in order', async (t) => {
  const from = memoryFile(mixedPage);
  const to = memoryFile();
  const { source, destination, recorder } = await start(t, from.map, to.map, { lanes: 2 });
  await source.ready();
  const fd = fs.openSync(from.file, 'r+');
  const last = [-1, -1];
  let id = 0;
  for (let round = 0; round < 6; round++) {
    const wanted = round === 0 ? allPages() : allPages().filter(() => Math.random() < 0.3);
    const sent = [0, 1].map((lane) => batchesOf(wanted.filter((page) => (page >>> 9) % 2 === lane)));
    const queued = recorder.sent.length + sent[0]!.length + sent[1]!.length;
    for (const lane of [0, 1]) for (const runs of sent[lane]!) source.send(lane, (last[lane] = id++), runs);
    await recorder.until(() => recorder.sent.length === queued);
    if (round === 5) break;
    // What changes now is sent in the next round, as the whole of every later round is random: send it for sure.
    const changed = allPages().filter(() => Math.random() < 0.2);
    for (const page of changed) {
      const block = page < SECOND_START ? from.map[0]! : from.map[1]!;
      fs.writeSync(fd, mixedPage(), 0, PAGE, block.offsetBytes + (page - block.firstPage) * PAGE);
    }
    for (const lane of [0, 1]) {
      const extra = batchesOf(changed.filter((page) => (page >>> 9) % 2 === lane));
      const due = recorder.sent.length + extra.length;
      for (const runs of extra) source.send(lane, (last[lane] = id++), runs);
      await recorder.until(() => recorder.sent.length === due);
    }
  }
  await recorder.until(
    () => recorder.acked.length === 2 && recorder.acked.every((ids, lane) => ids.at(-1) === last[lane]),
  );
  for (const ids of recorder.acked)
    assert.deepEqual(
      ids,
      ids.toSorted((a, b) => a - b),
    );
  for (const page of allPages()) assert.ok(to.read(page).equals(from.read(page)), `page ${page}`);
  await Promise.all([destination.finished(), source.close()]);
  const total = destination.progress();
  assert.equal(total.wireBytes > 0, true);
  assert.equal(
    total.dataPages,
    recorder.sent.reduce((sum, each) => sum + each.dataPages, 0),
  );
  assert.equal(
    total.zeroPages,
    recorder.sent.reduce((sum, each) => sum + each.zeroPages, 0),
  );
  assert.ok(total.wireBytes < total.rawBytes * 0.75, 'text-like pages are compressed');
  assert.deepEqual(recorder.failures, []);
});

test('a lane reads and writes the memory of another process', async (t) => {
  const child = spawn(process.execPath, [
    '-e',
    `const b = Buffer.alloc(8 << 20, 'guest'); b.fill(0, 4096, 8192);
     const lines = require('fs').readFileSync('/proc/self/maps', 'latin1').split('\\n').map((l) => l.split(/[- ]/));
     const mem = require('fs').openSync('/proc/self/mem', 'r');
     const probe = Buffer.alloc(32); b.write('needle-' + process.pid, 64 << 10);
     for (const [from, to] of lines) {
       const [start, end] = [parseInt(from, 16), parseInt(to, 16)];
       if (!(end - start >= 8 << 20 && end - start < 64 << 20)) continue;
       for (const skew of [0, 16, 64, 4096]) {
         try { require('fs').readSync(mem, probe, 0, 32, start + skew + (64 << 10)); } catch { continue; }
         if (probe.toString('latin1').startsWith('needle-' + process.pid)) console.log(start + skew);
       }
     }
     setInterval(() => b, 1000);`,
  ]);
  t.after(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const address = Number(String(line).split('\n')[0]);
  assert.ok(Number.isSafeInteger(address) && address > 0);
  const pages = 2047;
  const own = [{ name: 'ram', firstPage: 0, pageCount: pages, path: `/proc/${child.pid}/mem`, offsetBytes: address }];
  const to = memoryFile();
  const { source, recorder } = await start(t, own, to.map);
  await source.ready();
  source.send(0, 1, Uint32Array.of(0, 16));
  await recorder.until(() => recorder.acked[0]?.at(-1) === 1);
  assert.equal(to.read(0).toString('latin1', 0, 10), 'guestguest');
  assert.deepEqual([recorder.sent[0]!.dataPages, recorder.sent[0]!.zeroPages], [15, 1]);
  child.kill('SIGKILL');
  await once(child, 'exit');
  source.send(0, 2, Uint32Array.of(16, 16));
  const error = await recorder.failed.promise;
  assert.equal(error.code, 'LANE_READ');
  assert.match(error.message, /QEMU is gone/);
});

test('zero pages overwrite what was placed, and never-placed pages stay untouched', async (t) => {
  const from = memoryFile((page) => Buffer.alloc(PAGE, page < 8 ? 'data' : 0));
  const to = memoryFile(() => Buffer.alloc(PAGE, 'before'));
  const { source, recorder } = await start(t, from.map, to.map);
  await source.ready();
  source.send(0, 1, Uint32Array.of(0, 16));
  await recorder.until(() => recorder.acked[0]?.at(-1) === 1);
  assert.deepEqual([recorder.sent[0]!.dataPages, recorder.sent[0]!.zeroPages], [8, 8]);
  assert.equal(to.read(9).toString('latin1', 0, 6), 'before', 'a zero page that was never placed costs nothing');
  fs.writeSync(fs.openSync(from.file, 'r+'), Buffer.alloc(4 * PAGE), 0, 4 * PAGE, from.map[0]!.offsetBytes);
  source.send(0, 2, Uint32Array.of(0, 4), { zeroRuns: Uint32Array.of(4, 2, 512, 512) });
  await recorder.until(() => recorder.acked[0]?.at(-1) === 2);
  assert.deepEqual([recorder.sent[1]!.dataPages, recorder.sent[1]!.zeroPages], [0, 518]);
  for (let page = 0; page < 6; page++) assert.ok(to.read(page).equals(Buffer.alloc(PAGE)), `page ${page}`);
  assert.equal(to.read(6).toString('latin1', 0, 4), 'data');
  assert.equal(to.read(600).toString('latin1', 0, 6), 'before');
});

test('zero pages are written to a block that may hold something else', async (t) => {
  const from = memoryFile();
  const to = memoryFile(() => Buffer.alloc(PAGE, 'flash'));
  const preloaded = to.map.map((block) => ({ ...block, preloaded: block.name === 'vram' }));
  const { source, recorder } = await start(t, from.map, preloaded);
  await source.ready();
  source.send(0, 1, Uint32Array.of(0, 4, SECOND_START, 200));
  await recorder.until(() => recorder.acked[0]?.at(-1) === 1);
  assert.equal(to.read(0).toString('latin1', 0, 5), 'flash');
  for (let page = 0; page < 200; page++) assert.ok(to.read(SECOND_START + page).equals(Buffer.alloc(PAGE)));
});

test('verify finds the pages that differ, and only them', async (t) => {
  const from = memoryFile(mixedPage);
  const to = memoryFile();
  const { source, recorder } = await start(t, from.map, to.map);
  await source.ready();
  let id = 0;
  for (const runs of batchesOf(allPages())) source.send(0, id++, runs);
  source.verify(0, 100, Uint32Array.of(0, FIRST_PAGES, SECOND_START, SECOND_PAGES));
  await recorder.until(() => recorder.verified.has(100));
  assert.deepEqual(recorder.verified.get(100)!.pages, FIRST_PAGES + SECOND_PAGES);
  assert.deepEqual([...recorder.verified.get(100)!.mismatches], []);
  const fd = fs.openSync(to.file, 'r+');
  for (const page of [7, 600, SECOND_START + 699]) {
    const block = page < SECOND_START ? to.map[0]! : to.map[1]!;
    const byte = Buffer.from([to.read(page)[99]! ^ 1]);
    fs.writeSync(fd, byte, 0, 1, block.offsetBytes + (page - block.firstPage) * PAGE + 99);
  }
  source.verify(0, 101, Uint32Array.of(0, FIRST_PAGES, SECOND_START, SECOND_PAGES));
  await recorder.until(() => recorder.verified.has(101));
  assert.deepEqual([...recorder.verified.get(101)!.mismatches], [7, 600, SECOND_START + 699]);
});

test('the source pool works inside another worker thread', async (t) => {
  const from = memoryFile(mixedPage);
  const to = memoryFile();
  const { ports, source, destination } = await start(t, from.map, to.map, { source: { ports: [] } });
  await source.close();
  const options = { host: '127.0.0.1', ports, peerName: 'beta', tls: alpha, token, memory: from.map };
  const more = { compress: 'lz', deltaCacheBytes: 0, maxBandwidthBytesPerSecond: null };
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.url).then(async ({ SourceLanePool }) => {
      const fail = (error) => { throw error; };
      const pool = new SourceLanePool(workerData.options, { onSent() {}, onAcked() {}, onVerified() {}, onFailed: fail });
      await pool.ready();
      pool.send(0, 1, Uint32Array.of(0, 200));
      await pool.close();
      parentPort.postMessage('done');
    });`;
  const url = new URL('./source-lane-pool.ts', import.meta.url).href;
  const pump = new Worker(code, { eval: true, workerData: { url, options: { ...options, ...more } } });
  const [word] = (await once(pump, 'message')) as [string];
  assert.equal(word, 'done');
  await destination.finished();
  for (let page = 0; page < 200; page++) assert.ok(to.read(page).equals(from.read(page)), `page ${page}`);
});

test('lanes that are stopped at work end between two frames: none is terminated', async (t) => {
  const from = memoryFile(mixedPage);
  const to = memoryFile();
  const lanes = 2;
  const threads = { source: bootSourceLanes(lanes), destination: bootDestinationLanes(lanes) };
  const exits = [...threads.source, ...threads.destination].map(async (thread) => await once(thread, 'exit'));
  const { source, destination, recorder } = await start(t, from.map, to.map, { lanes, threads });
  await source.ready();
  for (let id = 0; id < 2000; id++) source.send(id % lanes, id, Uint32Array.of(512 * (id % lanes), 64));
  await recorder.until(() => recorder.sent.length > 0);
  await Promise.all([source.stop(), destination.stop()]);
  assert.ok(recorder.sent.length < 2000, 'there was work left');
  // The code of a thread that was terminated is 1.
  assert.deepEqual((await Promise.all(exits)).flat(), [0, 0, 0, 0]);
});
