import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { createTestAuthority, type TestAuthority, type TestIdentity } from '../../../test/support/certificates.ts';
import { createTlsServer, type TlsListener } from '../../io/link/listen.ts';
import { AgentClient } from './agent-client.ts';
import { tlsTransport } from './tls-transport.ts';

let authority: TestAuthority;
let alpha: TestIdentity;
let listener: TlsListener;
let port = 0;
let connections = 0;
const http = createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  if (request.url === '/healthz') response.end(JSON.stringify({ status: 'ok', name: request.headers.host }));
});

before(async () => {
  authority = await createTestAuthority();
  alpha = await authority.issue('alpha');
  listener = createTlsServer(await authority.issue('beta'), {
    trustedNames: new Set(['alpha']),
    onControl: (connection) => void connection.close(),
    onHttp: (socket) => {
      connections++;
      http.emit('connection', socket);
    },
    onRefused: () => undefined,
  });
  port = await listener.listen(0, '127.0.0.1');
});
after(async () => await listener.close());

async function ask(tls: TestIdentity, name = 'beta', at = port): Promise<unknown> {
  const client = new AgentClient(tlsTransport(tls, { name, host: '127.0.0.1', port: at }));
  try {
    return await client.call('health', {}, { timeoutMs: 500 });
  } finally {
    await client.close();
  }
}

test('a trusted host asks another one, over a connection that is kept', async () => {
  const client = new AgentClient(tlsTransport(alpha, { name: 'beta', host: '127.0.0.1', port }));
  const before = connections;
  for (let i = 0; i < 3; i++) assert.deepEqual(await client.call('health', {}), { status: 'ok', name: 'beta' });
  assert.equal(connections - before, 1);
  await client.close();
});

test('a host that is not trusted is refused, in words', async () => {
  const refused = ask(await authority.issue('gamma'));
  await assert.rejects(refused, { code: 'PEER_NOT_TRUSTED', message: /beta does not trust gamma/ });
});

test('a certificate of another authority is not accepted, in either direction', async () => {
  const other = await createTestAuthority();
  const stranger = await other.issue('alpha');
  await assert.rejects(ask(stranger), { code: 'AGENT_UNREACHABLE', message: /signed by another authority/ });
  await assert.rejects(ask({ ...stranger, caPem: authority.caPem }), { code: /AGENT_LOST|AGENT_UNREACHABLE/ });
});

test('a host with another name than the one that is asked gets no request', async () => {
  const before = connections;
  await assert.rejects(ask(alpha, 'delta'), { code: 'AGENT_UNREACHABLE', message: /is not delta/ });
  assert.equal(connections, before);
});

test('closing ends a connection that is being made', async (t) => {
  // It accepts, and says nothing: the handshake would last until its time is over.
  const silent = createTcpServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.after(() => silent.close());
  const { port: silentPort } = silent.address() as AddressInfo;
  const client = new AgentClient(tlsTransport(alpha, { name: 'beta', host: '127.0.0.1', port: silentPort }));
  const asked = client.call('health', {});
  const [socket] = (await once(silent, 'connection')) as [Socket];
  const left = once(socket, 'close');
  const startMs = performance.now();
  await client.close();
  await assert.rejects(asked, { name: 'ClientError' });
  socket.resume();
  await left;
  assert.ok(performance.now() - startMs < 1_000);
});

test('nobody there, and one who stays silent', async () => {
  await assert.rejects(ask(alpha, 'beta', 1), { code: 'AGENT_UNREACHABLE', message: /Nothing listens/ });
  const client = new AgentClient(tlsTransport(alpha, { name: 'beta', host: '127.0.0.1', port }));
  await assert.rejects(client.call('host', {}, { timeoutMs: 300 }), { code: 'AGENT_SILENT' });
  await client.close();
});
