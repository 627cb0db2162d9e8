/** The control of compression with real lanes, over a proxy that lets bytes through at a rate. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import {
  allPages,
  alpha,
  batchesOf,
  memoryFile,
  PAGE,
  Recorder,
  start,
  token,
} from '../../../test/support/lane-fixture.ts';
import { newLinkMemory } from './link-memory.ts';
import { SourceLanePool } from './source-lane-pool.ts';

const TICK_MS = 2;

/** A port that leads to `port`, at most so many bytes per millisecond towards it. */
async function slowLink(t: TestContext, port: number, bytesPerMs: number): Promise<number> {
  const server = net.createServer((from) => {
    const to = net.connect(port, '127.0.0.1');
    let level = 0;
    from.on('data', (chunk) => {
      level += chunk.length;
      to.write(chunk);
      if (level > bytesPerMs * TICK_MS) from.pause();
    });
    const timer = setInterval(() => {
      level = Math.max(0, level - bytesPerMs * TICK_MS);
      if (level <= bytesPerMs * TICK_MS) from.resume();
    }, TICK_MS);
    to.on('data', (chunk) => from.write(chunk));
    const end = (): void => {
      clearInterval(timer);
      from.destroy();
      to.destroy();
    };
    for (const socket of [from, to]) socket.on('close', end).on('error', end);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

test('on a slow link pages are compressed harder', async (t) => {
  const program = fs.readFileSync(process.execPath);
  const from = memoryFile((page) => program.subarray((page + 2000) * PAGE, (page + 2001) * PAGE));
  const { source, ports } = await start(t, from.map, memoryFile().map);
  await source.stop();
  const second = await start(t, from.map, memoryFile().map, { source: { ports: [] } });
  assert.ok(ports.length === 1);
  const port = await slowLink(t, second.ports[0]!, 12_500);
  const recorder = new Recorder();
  const common = { host: '127.0.0.1', ports: [port], peerName: 'beta', tls: alpha, token, memory: from.map };
  const options = {
    compress: 'adaptive' as const,
    deltaCacheBytes: 0,
    maxBandwidthBytesPerSecond: null,
    linkMemory: newLinkMemory(),
  };
  const pool = new SourceLanePool({ ...common, ...options }, recorder.events);
  t.after(async () => await pool.stop());
  await pool.ready();
  const batches = batchesOf(allPages());
  let id = 0;
  for (let round = 0; round < 8; round++) {
    for (const runs of batches) pool.send(0, id++, runs);
    await recorder.until(() => recorder.acked[0]?.at(-1) === id - 1);
  }
  const shares = Array.from({ length: 8 }, (_, round) => {
    const own = recorder.sent.slice(round * batches.length, (round + 1) * batches.length);
    return own.reduce((sum, each) => sum + each.wireBytes, 0) / own.reduce((sum, each) => sum + each.rawBytes, 0);
  });
  t.diagnostic(shares.map((share) => share.toFixed(3)).join(' '));
  // Where other work takes the processors, it may come back to less.
  assert.ok(Math.min(...shares) < shares[0]! * 0.97, 'harder than at the beginning');
});
