import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTestAuthority } from '../../../test/support/certificates.ts';
import { createTlsServer } from '../../io/link/listen.ts';
import { PeerClients } from '../client/peer-clients.ts';
import { PeerWatch } from './peer-watch.ts';

test('a peer that answers has a round trip, one that does not is not reachable', async (t) => {
  const authority = await createTestAuthority();
  const http = createServer((_request, response) => {
    response.end(JSON.stringify({ status: 'ok', name: 'beta' }));
  });
  const listener = createTlsServer(await authority.issue('beta'), {
    trustedNames: new Set(['alpha']),
    onControl: (connection) => void connection.close(),
    onHttp: (socket) => void http.emit('connection', socket),
    onRefused: () => undefined,
  });
  const port = await listener.listen(0, '127.0.0.1');
  const peers = [
    { name: 'beta', host: '127.0.0.1', port },
    { name: 'gamma', host: '127.0.0.1', port },
  ];
  const clients = new PeerClients(await authority.issue('alpha'), peers);
  const watch = new PeerWatch(clients, (name) => (name === 'beta' ? 1e6 : null));
  t.after(async () => {
    watch.close();
    await clients.close();
    await listener.close();
  });
  assert.deepEqual(
    watch.view().map(({ reachable }) => reachable),
    [false, false],
    'nobody has answered yet',
  );
  for (let tries = 0; tries < 100 && !watch.view()[0]!.reachable; tries++) await sleep(20);
  const [beta, gamma] = watch.view();
  assert.ok(beta!.reachable && beta!.roundTripMs! > 0 && beta!.roundTripMs! < 1000);
  assert.equal(beta!.linkBytesPerS, 1e6);
  assert.deepEqual(gamma, { name: 'gamma', reachable: false, roundTripMs: null, linkBytesPerS: null });
  assert.equal(clients.of('delta'), null);
});
