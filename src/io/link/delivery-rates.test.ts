import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { DeliveryRates, parseDelivery } from './delivery-rates.ts';

const withoutSs = spawnSync('ss', ['-V']).error === undefined ? false : 'no ss of iproute2 here';

test('a line of ss is read, and whether the sender had more to send', () => {
  const line =
    '0 42 198.18.0.1:53244 198.18.0.2:7450 cubic wscale:10,10 rto:204 rtt:9.9/0.9 mss:65160 cwnd:130 bytes_sent:6214391 bytes_acked:5562791 segs_out:120 pacing_rate 75418904bps delivery_rate 95618904bps delivered:96 busy:448ms minrtt:0.013';
  assert.deepEqual(parseDelivery(line), {
    connection: '198.18.0.1:53244',
    sentBytes: 6_214_391,
    ackedBytes: 5_562_791,
    busyMs: 448,
    bytesPerMs: 95_618_904 / 8000,
    isBusy: true,
  });
  assert.equal(parseDelivery(line.replace('95618904bps', '95.6Mbps'))?.bytesPerMs, 11_950);
  assert.equal(parseDelivery(line.replace('delivered:', 'app_limited delivered:'))?.isBusy, false);
  assert.equal(parseDelivery(line.replace(/delivery_rate \S+/, ''))?.bytesPerMs, null);
  for (const nonsense of ['', ' ', '.', 'Error: an inet prefix is expected', '0 0 a:1 b:2']) {
    assert.equal(parseDelivery(nonsense), null);
  }
});

test('the kernel says what a connection has sent and how fast', { skip: withoutSs }, async () => {
  const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  const rates = new DeliveryRates();
  try {
    await once(socket, 'connect');
    const bytes = Buffer.alloc(1 << 22);
    for (let i = 0; i < 4; i++) await new Promise((resolve) => socket.write(bytes, resolve));
    const [both, other] = await Promise.all([rates.to('127.0.0.1', port), rates.to('::1', port)]);
    assert.deepEqual(other, [], 'one address at a time');
    assert.equal(both.length, 1);
    assert.equal(both[0]!.connection, `127.0.0.1:${socket.localPort}`);
    // The rest may wait in the kernel, and what it sent twice counts twice: on a busy machine some percent.
    const sent = both[0]!.sentBytes / bytes.length;
    assert.ok(sent > 1 && sent < 8, `${sent} of 4 pieces`);
  } finally {
    rates.close();
    socket.destroy();
    server.close();
  }
  assert.deepEqual(await rates.to('127.0.0.1', port), [], 'closed');
});

test('without ss, or with nonsense for an address, nothing is known', async () => {
  const path = process.env['PATH'];
  process.env['PATH'] = '/nowhere';
  const none = new DeliveryRates();
  process.env['PATH'] = path;
  const some = new DeliveryRates();
  assert.deepEqual(await none.to('127.0.0.1', 1), []);
  assert.deepEqual(await some.to('$(reboot) "', 1), []);
  none.close();
  some.close();
});
