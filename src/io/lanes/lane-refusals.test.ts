import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import tls from 'node:tls';
import { createTestAuthority } from '../../../test/support/certificates.ts';
import {
  encodeAccept,
  encodeHello,
  LANE_ALPN,
  LANE_VERSION,
  LaneFrameType,
  writeLaneHead,
} from '../../core/wire/lane-frame.ts';
import { DestinationLanePool } from './destination-lane-pool.ts';
import type { LaneError } from './errors.ts';
import type { MemoryMap } from './lane-protocol.ts';
import { newLinkMemory } from './link-memory.ts';
import { SourceLanePool } from './source-lane-pool.ts';
import {
  alpha,
  anyPort,
  beta,
  gamma,
  memoryFile,
  mixedPage,
  PAGE,
  Recorder,
  start,
  token,
} from '../../../test/support/lane-fixture.ts';

const bare = memoryFile();

test('a wrong token is refused, and the lane listens on for the right one', async (t) => {
  const wrong = randomBytes(32).toString('hex');
  const { recorder, ports, source, refused, destination } = await start(t, bare.map, memoryFile().map, {
    source: { token: wrong },
  });
  await assert.rejects(source.ready(), { code: 'LANE_REFUSED', message: /token/ });
  assert.equal(recorder.failures.length, 1);
  const options = {
    host: '127.0.0.1',
    ports,
    peerName: 'beta',
    tls: alpha,
    token,
    memory: bare.map,
    linkMemory: newLinkMemory(),
  };
  const right = new SourceLanePool(
    { ...options, compress: 'none', deltaCacheBytes: 0, maxBandwidthBytesPerSecond: null },
    new Recorder().events,
  );
  t.after(async () => await right.stop());
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
  const { source } = await start(t, bare.map, memoryFile().map, {
    // Every batch is the same pages, which would be sent once only.
    source: { ports: [port], deltaCacheBytes: 0 },
  });
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
  t.after(async () => await full.stop());
  await assert.rejects(full.ready(), { code: 'LANE_CONNECT', message: /No port of/ });
  const next = new DestinationLanePool({ ...common, ports: { first: port, last: port + 20 } }, { onFailed: () => {} });
  t.after(async () => await next.stop());
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
  t.after(async () => await pool.stop());
  const [port] = await pool.ready();
  const socket = await rawClient(t, port!);
  return { socket, failed: failed.promise };
}

const hello = encodeHello({ version: LANE_VERSION, lane: 0, lanes: 1, token: Buffer.from(token, 'hex') });

test('a frame that cannot be decompressed ends the lane with a protocol error', async (t) => {
  const { socket, failed } = await listening(t);
  const frame = new Uint8Array(32 + 100).fill(7);
  const header = {
    type: LaneFrameType.pages,
    flags: 1,
    sequence: 1,
    runCount: 1,
    payloadBytes: 100,
    rawBytes: PAGE,
    deltaBytes: 0,
  };
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
  const header = {
    type: LaneFrameType.pages,
    flags: 0,
    sequence: 2,
    runCount: 1,
    payloadBytes: 0,
    rawBytes: 0,
    deltaBytes: 0,
  };
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
  await source.stop();
  assert.equal((await destinationFailed).code, 'LANE_CLOSED');
});

test('a destination that vanishes is told once', async (t) => {
  const { source, destination, recorder } = await start(t, memoryFile(mixedPage).map, memoryFile().map, { lanes: 2 });
  await source.ready();
  await destination.stop();
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
    socket.write(encodeAccept(LANE_VERSION));
    t.after(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const from = memoryFile(() => randomBytes(PAGE));
  const { source, recorder } = await start(t, from.map, memoryFile().map, {
    // Every batch is the same pages, which would be sent once only.
    source: { ports: [port], deltaCacheBytes: 0 },
  });
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
