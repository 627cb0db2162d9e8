import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LinkMemories, LinkMemory } from '../../io/lanes/link-memory.ts';
import { DeliveryRates } from '../../io/link/delivery-rates.ts';
import { silentLogger } from '../../io/log/logger.ts';
import { watchLink } from './link-rate.ts';

const withoutSs = spawnSync('ss', ['-V']).error === undefined ? false : 'no ss of iproute2 here';

test(
  'what lanes send over the loopback proves it fast, also where it was taken for slow, and the watch ends when told to',
  { skip: withoutSs },
  async (t) => {
    const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const lane = connect(port, '127.0.0.1');
    const rates = new DeliveryRates();
    const watching = new AbortController();
    t.after(() => {
      watching.abort();
      rates.close();
      lane.destroy();
      server.close();
    });
    await once(lane, 'connect');
    const memory = new LinkMemories().of('b');
    const link = new LinkMemory(memory, 1);
    link.writeDelivered({ msPerByte: 1 / 12_500, isMeasured: true }, Date.now());
    const lanes = { migration: 'm1', peer: 'b', address: '127.0.0.1', ports: [port], memory };
    const watched = watchLink(rates, lanes, silentLogger, watching.signal);
    const piece = Buffer.alloc(1 << 20);
    for (let i = 0; i < 4000 && link.isKnownSlow(Date.now()); i++) {
      await new Promise((resolve) => lane.write(piece, resolve));
      // The other end shares this thread.
      await sleep(0);
    }
    const found = link.delivered(Date.now());
    assert.ok(found !== null && 1 / found.msPerByte > 188_000, `${8 / found!.msPerByte / 1000} Mbit/s`);
    assert.equal(link.isKnown(Date.now()), true);
    watching.abort();
    await watched;
  },
);

test('without lanes nothing is found', { skip: withoutSs }, async () => {
  const rates = new DeliveryRates();
  const memory = new LinkMemories().of('b');
  const lanes = { migration: 'm1', peer: 'b', address: '127.0.0.1', ports: [1], memory };
  await watchLink(rates, lanes, silentLogger, AbortSignal.timeout(400));
  assert.equal(new LinkMemory(memory, 1).delivered(Date.now()), null);
  rates.close();
});
