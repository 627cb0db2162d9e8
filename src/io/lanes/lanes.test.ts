import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, test, type TestContext } from 'node:test';
import tls from 'node:tls';
import { encodeHello, LANE_ALPN, LaneFrameType, writeLaneHead } from '../../core/wire/lane-frame.ts';
import { createTestAuthority } from '../../../test/support/certificates.ts';
import { DestinationLanePool, type DestinationLaneOptions } from './destination-lane-pool.ts';
import { LaneError } from './errors.ts';
import type { LaneCounts, MemoryMap } from './lane-protocol.ts';
import { SourceLanePool, type SourceLaneOptions } from './source-lane-pool.ts';

const PAGE = 4096;
/** Two blocks with a gap in the numbering, as there is when a block is not a multiple of 2 MiB. */
const FIRST_PAGES = 1500;
const SECOND_START = 1536;
const SECOND_PAGES = 700;
const folder = mkdtempSync(path.join(os.tmpdir(), 'lanes-'));
after(() => rmSync(folder, { recursive: true }));

const authority = await createTestAuthority();
const alpha = await authority.issue('alpha');
const beta = await authority.issue('beta');
const gamma = await authority.issue('gamma');
const token = randomBytes(32).toString('hex');
let files = 0;

function memoryFile(fill?: (page: number) => Buffer): { map: MemoryMap; file: string; read: (page: number) => Buffer } {
  const file = path.join(folder, `memory-${files++}`);
  const fd = fs.openSync(file, 'w+');
  fs.ftruncateSync(fd, (3 + FIRST_PAGES + SECOND_PAGES) * PAGE);
  const offsetOf = (page: number) => (page < SECOND_START ? 3 + page : 3 + FIRST_PAGES + page - SECOND_START) * PAGE;
  for (const page of allPages()) if (fill !== undefined) fs.writeSync(fd, fill(page), 0, PAGE, offsetOf(page));
  const map: MemoryMap = [
    { name: 'pc.ram', firstPage: 0, pageCount: FIRST_PAGES, path: file, offsetBytes: 3 * PAGE },
    {
      name: 'vram',
      firstPage: SECOND_START,
      pageCount: SECOND_PAGES,
      path: file,
      offsetBytes: (3 + FIRST_PAGES) * PAGE,
    },
  ];
  const read = (page: number) => {
    const out = Buffer.alloc(PAGE);
    fs.readSync(fd, out, 0, PAGE, offsetOf(page));
    return out;
  };
  after(() => fs.closeSync(fd));
  return { map, file, read };
}

function allPages(): number[] {
  return Array.from({ length: FIRST_PAGES + SECOND_PAGES }, (_, i) =>
    i < FIRST_PAGES ? i : SECOND_START + i - FIRST_PAGES,
  );
}

/** A third zero, a third text-like, a third random. */
function mixedPage(): Buffer {
  const kind = Math.random() * 3;
  if (kind < 1) return Buffer.alloc(PAGE);
  return kind < 2 ? Buffer.alloc(PAGE, `page ${Math.random()} `) : randomBytes(PAGE);
}

class Recorder {
  readonly acked: number[][] = [];
  readonly verified = new Map<number, { pages: number; mismatches: Uint32Array }>();
  readonly sent: LaneCounts[] = [];
  readonly failures: LaneError[] = [];
  readonly failed = Promise.withResolvers<LaneError>();
  #changed = Promise.withResolvers<void>();

  readonly events = {
    onSent: (_lane: number, _id: number, counts: LaneCounts) => this.#note(() => this.sent.push(counts)),
    onAcked: (lane: number, id: number) => this.#note(() => (this.acked[lane] ??= []).push(id)),
    onVerified: (_lane: number, id: number, result: { pages: number; mismatches: Uint32Array }) =>
      this.#note(() => this.verified.set(id, result)),
    onFailed: (error: LaneError) =>
      this.#note(() => {
        this.failures.push(error);
        this.failed.resolve(error);
      }),
  };

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.failures[0] !== undefined) throw this.failures[0];
      await this.#changed.promise;
    }
  }

  #note(change: () => void): void {
    change();
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

type Setup = {
  lanes?: number;
  source?: Partial<SourceLaneOptions>;
  destination?: Partial<DestinationLaneOptions>;
};

const anyPort = { first: 0, last: 0 };

async function start(t: TestContext, sourceMap: MemoryMap, destinationMap: MemoryMap, setup: Setup = {}) {
  const failed = Promise.withResolvers<LaneError>();
  const refused: string[] = [];
  const destination = new DestinationLanePool(
    {
      lanes: setup.lanes ?? 1,
      address: '127.0.0.1',
      ports: anyPort,
      peerName: 'alpha',
      tls: beta,
      token,
      memory: destinationMap,
      ...setup.destination,
    },
    { onFailed: failed.resolve, onRefused: (_lane, message) => refused.push(message) },
  );
  t.after(async () => await destination.terminate());
  const ports = await destination.ready();
  const recorder = new Recorder();
  const options = { host: '127.0.0.1', ports, peerName: 'beta', tls: alpha, token, memory: sourceMap };
  const source = new SourceLanePool({ ...options, compress: 'lz', ...setup.source }, recorder.events);
  t.after(async () => await source.terminate());
  return { source, destination, recorder, ports, refused, destinationFailed: failed.promise };
}

/** Pairs of runs for these pages of one lane, cut so that no batch is too large. */
function batchesOf(pages: readonly number[]): Uint32Array[] {
  const batches: number[][] = [[]];
  let room = 256;
  for (const page of pages) {
    if (room === 0) {
      batches.push([]);
      room = 256;
    }
    const batch = batches.at(-1)!;
    const sameRun =
      batch.length > 0 && batch.at(-2)! + batch.at(-1)! === page && page % 512 !== 0 && page !== SECOND_START;
    if (sameRun) batch[batch.length - 1]!++;
    else batch.push(page, 1);
    room--;
  }
  return batches.filter((batch) => batch.length > 0).map((batch) => Uint32Array.from(batch));
}

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
  source.send(0, 2, Uint32Array.of(0, 4), Uint32Array.of(4, 2, 512, 512));
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

const bare = memoryFile();

test('a wrong token is refused, and the lane listens on for the right one', async (t) => {
  const wrong = randomBytes(32).toString('hex');
  const { recorder, ports, source, refused, destination } = await start(t, bare.map, memoryFile().map, {
    source: { token: wrong },
  });
  await assert.rejects(source.ready(), { code: 'LANE_REFUSED', message: /token/ });
  assert.equal(recorder.failures.length, 1);
  const options = { host: '127.0.0.1', ports, peerName: 'beta', tls: alpha, token, memory: bare.map };
  const right = new SourceLanePool({ ...options, compress: 'none' }, new Recorder().events);
  t.after(async () => await right.terminate());
  await right.ready();
  assert.match(refused.join(), /token/);
  await Promise.all([right.close(), destination.finished()]);
});

test('a destination with another name is not sent anything', async (t) => {
  const { source } = await start(t, bare.map, memoryFile().map, { source: { peerName: 'gamma' } });
  await assert.rejects(source.ready(), { code: 'LANE_CERTIFICATE', message: /certificate is that of host beta/ });
});

test('a source with another name is refused', async (t) => {
  const { source, refused } = await start(t, bare.map, memoryFile().map, { source: { tls: gamma } });
  await assert.rejects(source.ready(), { code: 'LANE_REFUSED', message: /gamma/ });
  assert.match(refused.join(), /gamma/);
});

test('certificates of another authority are refused on both sides', async (t) => {
  const stranger = await (await createTestAuthority()).issue('alpha');
  const { source } = await start(t, bare.map, memoryFile().map, { source: { tls: stranger } });
  await assert.rejects(source.ready(), { code: 'LANE_CERTIFICATE' });
  const second = await start(t, bare.map, memoryFile().map, {
    source: { tls: { certPem: stranger.certPem, keyPem: stranger.keyPem, caPem: alpha.caPem } },
  });
  await assert.rejects(second.source.ready(), (error: LaneError) =>
    ['LANE_CERTIFICATE', 'LANE_REFUSED'].includes(error.code),
  );
});

test('nobody listening is a connection error', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  const { source } = await start(t, bare.map, memoryFile().map, { source: { ports: [port] } });
  await assert.rejects(source.ready(), { code: 'LANE_CONNECT' });
});

test('lanes share a range of ports, and an exhausted range is an error', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const common = { lanes: 1, address: '127.0.0.1', peerName: 'alpha', tls: beta, token, memory: memoryFile().map };
  const failed = Promise.withResolvers<LaneError>();
  const full = new DestinationLanePool({ ...common, ports: { first: port, last: port } }, { onFailed: failed.resolve });
  t.after(async () => await full.terminate());
  await assert.rejects(full.ready(), { code: 'LANE_CONNECT', message: /No port of/ });
  const next = new DestinationLanePool({ ...common, ports: { first: port, last: port + 20 } }, { onFailed: () => {} });
  t.after(async () => await next.terminate());
  assert.ok((await next.ready())[0]! > port);
});

test('pages of another lane or outside of the guest are refused, and the source learns why', async (t) => {
  const wrongLane = await start(t, memoryFile(mixedPage).map, memoryFile().map, { lanes: 2 });
  await wrongLane.source.ready();
  wrongLane.source.send(1, 1, Uint32Array.of(5, 1));
  assert.equal((await wrongLane.destinationFailed).code, 'LANE_PROTOCOL');
  const error = await wrongLane.recorder.failed.promise;
  assert.equal(error.code, 'LANE_PROTOCOL');
  assert.match(error.message, /not pages of lane 1/);
  const from = memoryFile(mixedPage)
    .map.map((block) => ({ ...block, pageCount: 2000 }))
    .slice(0, 1);
  const outside = await start(t, from, memoryFile().map);
  await outside.source.ready();
  outside.source.send(0, 1, Uint32Array.of(1499, 2));
  assert.match((await outside.destinationFailed).message, /no RAM block holds them/);
});

/** A client with the right certificate that says what it likes. */
async function rawClient(t: TestContext, port: number): Promise<tls.TLSSocket> {
  const { certPem: cert, keyPem: key, caPem: ca } = alpha;
  const socket = tls.connect({
    host: '127.0.0.1',
    port,
    servername: 'beta',
    cert,
    key,
    ca,
    ALPNProtocols: [LANE_ALPN],
  });
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  return socket;
}

async function listening(t: TestContext) {
  const failed = Promise.withResolvers<LaneError>();
  const common = { lanes: 1, address: '127.0.0.1', ports: anyPort, peerName: 'alpha', tls: beta, token };
  const pool = new DestinationLanePool({ ...common, memory: memoryFile().map }, { onFailed: failed.resolve });
  t.after(async () => await pool.terminate());
  const [port] = await pool.ready();
  const socket = await rawClient(t, port!);
  return { socket, failed: failed.promise };
}

const hello = encodeHello({ version: 1, lane: 0, lanes: 1, token: Buffer.from(token, 'hex') });

test('a frame that cannot be decompressed ends the lane with a protocol error', async (t) => {
  const { socket, failed } = await listening(t);
  const frame = new Uint8Array(32 + 100).fill(7);
  const header = { type: LaneFrameType.pages, flags: 1, sequence: 1, runCount: 1, payloadBytes: 100, rawBytes: PAGE };
  writeLaneHead(frame, 0, header, Uint32Array.of(0, 1));
  socket.write(hello);
  socket.write(frame);
  const error = await failed;
  assert.equal(error.code, 'LANE_PROTOCOL');
  assert.match(error.message, /decompressed/);
});

test('a frame out of sequence, or garbage, ends the lane with a protocol error', async (t) => {
  const skipped = await listening(t);
  const frame = new Uint8Array(32);
  const header = { type: LaneFrameType.pages, flags: 0, sequence: 2, runCount: 1, payloadBytes: 0, rawBytes: 0 };
  writeLaneHead(frame, 0, header, Uint32Array.of(0, 0x8000_0001));
  skipped.socket.write(hello);
  skipped.socket.write(frame);
  assert.match((await skipped.failed).message, /Frame 2 arrived instead of frame 1/);
  const garbage = await listening(t);
  garbage.socket.write(hello);
  garbage.socket.write(Buffer.alloc(100, 0xee));
  assert.equal((await garbage.failed).code, 'LANE_PROTOCOL');
});

test('a source that vanishes without a goodbye is a failure at the destination', async (t) => {
  const { source, destinationFailed } = await start(t, bare.map, memoryFile().map);
  await source.ready();
  await source.terminate();
  assert.equal((await destinationFailed).code, 'LANE_CLOSED');
});

test('a destination that vanishes is told once', async (t) => {
  const { source, destination, recorder } = await start(t, memoryFile(mixedPage).map, memoryFile().map, { lanes: 2 });
  await source.ready();
  await destination.terminate();
  const error = await recorder.failed.promise;
  assert.equal(error.code, 'LANE_CLOSED');
  await source.close();
  assert.equal(recorder.failures.length, 1);
});

test('memory that may not be read names the rights that are missing', async (t) => {
  const map: MemoryMap = [{ name: 'ram', firstPage: 0, pageCount: 8, path: '/nonexistent/mem', offsetBytes: 0 }];
  const { source } = await start(t, map, memoryFile().map);
  await assert.rejects(source.ready(), { code: 'LANE_READ', message: /QEMU is gone/ });
});

test('a receiver that does not read holds back the source', async (t) => {
  const { certPem: cert, keyPem: key, caPem: ca } = beta;
  const server = tls.createServer({ cert, key, ca, requestCert: true, ALPNProtocols: [LANE_ALPN] }, (socket) => {
    socket.on('error', () => {});
    socket.write(Buffer.from('0200000000000000000000000000000400000000000000000001' + '0000', 'hex'));
    t.after(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const from = memoryFile(() => randomBytes(PAGE));
  const { source, recorder } = await start(t, from.map, memoryFile().map, { source: { ports: [port] } });
  await source.ready();
  for (let id = 0; id < 200; id++) source.send(0, id, Uint32Array.of(0, 256));
  await new Promise((resolve) => {
    setTimeout(resolve, 500);
  });
  // What the kernel buffers on both sides of the loopback, and two frames.
  assert.ok(
    recorder.sent.length < 40,
    `${recorder.sent.length} batches of 1 MiB were read for a receiver that stands still`,
  );
});
