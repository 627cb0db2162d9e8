import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect as connectTcp, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { connect as connectTls, createServer as createBareTlsServer, type TLSSocket } from 'node:tls';
import { describeError } from '../../core/base/errors.ts';
import { ControlConnection } from './control-connection.ts';
import { LOAD_FEATURE, PROTOCOL_VERSION, WARM_UP_FEATURE } from '../../core/wire/control-messages.ts';
import { dialControl, type DialOptions } from './dial.ts';
import { LinkError } from './errors.ts';
import type { TlsMaterial } from './identity.ts';
import { PROBE_FEATURE, probeKnownLink, probeLink } from './link-probe.ts';
import { createTlsServer, type TlsListener, type TlsServerOptions } from './listen.ts';
import { createAuthority, hostFiles, issueHostCertificate } from './pki.ts';

let folder = '';
const identities = new Map<string, TlsMaterial>();
const identity = (name: string): TlsMaterial => identities.get(name)!;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vmferry-link-'));
  const past = new Date('2020-01-01');
  for (const authority of ['one', 'two']) {
    await createAuthority({ folder: join(folder, authority), name: 'fleet', days: 30_000, notBefore: past });
    for (const host of ['alpha', 'beta', 'gamma'])
      await issueHostCertificate({ folder: join(folder, authority), host, days: 1 });
  }
  for (const host of ['alpha', 'beta', 'gamma']) {
    for (const authority of ['one', 'two']) identities.set(`${authority}/${host}`, await read(authority, host));
  }
  await issueHostCertificate({ folder: join(folder, 'one'), host: 'delta', days: 1, notBefore: past });
  identities.set('one/delta', await read('one', 'delta'));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function read(authority: string, host: string): Promise<TlsMaterial> {
  const base = join(folder, authority);
  const { certFile, keyFile } = hostFiles(base, host);
  const [certPem, keyPem, caPem] = await Promise.all(
    [certFile, keyFile, join(base, 'ca.pem')].map((file) => readFile(file, 'utf8')),
  );
  return { certPem: certPem!, keyPem: keyPem!, caPem: caPem! };
}

type Beta = {
  readonly port: number;
  readonly listener: TlsListener;
  readonly accepted: Promise<ControlConnection>;
  readonly refused: Promise<LinkError>;
};

/** The agent of host beta, which trusts alpha. */
async function startBeta(
  t: TestContext,
  change: Partial<TlsServerOptions> & { tls?: TlsMaterial } = {},
): Promise<Beta> {
  const accepted = Promise.withResolvers<ControlConnection>();
  const refused = Promise.withResolvers<LinkError>();
  const listener = createTlsServer(change.tls ?? identity('one/beta'), {
    trustedNames: new Set(['alpha']),
    onControl: (connection) => accepted.resolve(connection),
    onHttp: (socket) => socket.destroy(),
    onRefused: refused.resolve,
    ...change,
  });
  const port = await listener.listen(0, '127.0.0.1');
  t.after(() => listener.close());
  return { port, listener, accepted: accepted.promise, refused: refused.promise };
}

const dial = (port: number, change: Partial<DialOptions> = {}): Promise<ControlConnection> =>
  dialControl({ host: '127.0.0.1', port, peerName: 'beta', tls: identity('one/alpha'), timeoutMs: 3000, ...change });

async function rejectsWith(code: string, action: Promise<unknown>, message: RegExp): Promise<LinkError> {
  const error: unknown = await action.then(
    () => assert.fail(`expected ${code}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof LinkError, String(error));
  assert.equal(error.code, code, describeError(error));
  assert.match(error.message, message);
  return error;
}

async function pair(t: TestContext): Promise<{ alpha: ControlConnection; beta: ControlConnection }> {
  const server = await startBeta(t);
  const [alpha, beta] = await Promise.all([dial(server.port), server.accepted]);
  t.after(() => alpha.close());
  return { alpha, beta };
}

test('two hosts of one authority exchange hellos and messages', async (t) => {
  const { alpha, beta } = await pair(t);
  assert.equal(alpha.peerName, 'beta');
  assert.equal(beta.peerName, 'alpha');
  assert.equal(beta.peerHello.host, 'alpha');
  assert.deepEqual(alpha.peerHello, {
    type: 'hello',
    protocolVersion: PROTOCOL_VERSION,
    features: [PROBE_FEATURE, LOAD_FEATURE, WARM_UP_FEATURE],
    software: 'vmferry',
    host: 'beta',
  });
  await alpha.send({ type: 'prologue' }, Uint8Array.of(1, 2, 3));
  const { attachment } = await beta.expect(['prologue'], { timeoutMs: 1000 });
  assert.deepEqual([...attachment!], [1, 2, 3]);
  await beta.send({ type: 'prepared', loadMs: 2 });
  const { message } = await alpha.expect(['prepared', 'aborted'], { timeoutMs: 1000 });
  assert.deepEqual(message, { type: 'prepared', loadMs: 2 });
});

test('a client of another authority is told that its certificate was not accepted', async (t) => {
  const beta = await startBeta(t);
  // It trusts the authority of beta, so only beta can object, after the handshake of the client is over.
  const tls = { ...identity('two/alpha'), caPem: identity('one/beta').caPem };
  await rejectsWith(
    'LINK_CERTIFICATE',
    dial(beta.port, { tls }),
    /beta did not accept .+ not signed by the authority that this host itself trusts/,
  );
  const reason = await beta.refused;
  assert.equal(reason.code, 'LINK_CERTIFICATE');
  assert.match(reason.message, /signed by another authority/);
});

test('a client whose certificate and authority do not fit together is told so', async (t) => {
  const beta = await startBeta(t, { tls: { ...identity('one/beta'), caPem: identity('two/beta').caPem } });
  await rejectsWith(
    'LINK_CERTIFICATE',
    dial(beta.port),
    /beta did not accept the certificate of this host: it trusts another/,
  );
});

test('an expired client certificate is reported on both sides', async (t) => {
  const beta = await startBeta(t, { trustedNames: new Set(['delta']) });
  const error = await rejectsWith('LINK_CERTIFICATE', dial(beta.port, { tls: identity('one/delta') }), /not accept/);
  assert.match(error.message, /did not accept .+ it expired on 2020-01-02/);
  const reason = await beta.refused;
  assert.equal(reason.code, 'LINK_CERTIFICATE');
  assert.match(reason.message, /has expired/);
});

test('a server of another authority is refused by the client', async (t) => {
  const beta = await startBeta(t, { tls: identity('two/beta') });
  await rejectsWith('LINK_CERTIFICATE', dial(beta.port), /certificate of beta \(127.+ signed by another authority/);
  assert.match(
    (await beta.refused).message,
    /left during the TLS handshake; perhaps it did not accept the certificate/,
  );
});

test('a server with an expired certificate is refused by the client', async (t) => {
  const beta = await startBeta(t, { tls: identity('one/delta') });
  await rejectsWith('LINK_CERTIFICATE', dial(beta.port, { peerName: 'delta' }), /certificate of delta .+ has expired/);
});

test('a server with the name of another host is refused by the client', async (t) => {
  const beta = await startBeta(t, { tls: identity('one/gamma') });
  await rejectsWith(
    'LINK_CERTIFICATE',
    dial(beta.port),
    /is not beta: The certificate is that of host gamma, expected beta/,
  );
});

test('a host that is not trusted is told so by the other side', async (t) => {
  const beta = await startBeta(t, { trustedNames: new Set(['gamma']) });
  const error = await rejectsWith(
    'LINK_PEER_REFUSED',
    dial(beta.port),
    /beta does not trust alpha: add alpha to "trust"/,
  );
  assert.equal(error.fields['peerCode'], 'PEER_NOT_TRUSTED');
  const reason = await beta.refused;
  assert.equal(reason.code, 'LINK_NOT_TRUSTED');
  assert.equal(reason.fields['peer'], 'alpha');
  assert.equal(reason.fields['remoteAddress'], '127.0.0.1');
});

test('different versions are named on both sides', async (t) => {
  const beta = await startBeta(t, { hello: { software: 'vmferry 2.0.0', protocolVersion: 3 } });
  const both = /speaks version (2|3) .+ speaks version (2|3): run the same release/;
  const error = await rejectsWith('LINK_VERSION', dial(beta.port, { hello: { software: 'vmferry 1.0.0' } }), both);
  assert.match(
    error.message,
    /^beta \(vmferry 2\.0\.0\) speaks version 3 .+, alpha \(vmferry 1\.0\.0\) speaks version 2/,
  );
  const reason = await beta.refused;
  assert.equal(reason.code, 'LINK_VERSION');
  assert.match(reason.message, /^alpha \(vmferry 1\.0\.0\) speaks version 2/);
});

test('a client without a certificate gets nowhere', async (t) => {
  const beta = await startBeta(t);
  const socket = connectTls({ port: beta.port, host: '127.0.0.1', ca: identity('one/beta').caPem, servername: 'beta' });
  const error = await new Promise<Error>((resolve) => socket.on('error', resolve));
  assert.match(error.message, /certificate required/i);
  assert.match((await beta.refused).message, /showed no certificate/);
});

test('a client of TLS 1.2 gets nowhere', async (t) => {
  const beta = await startBeta(t);
  const { caPem, certPem, keyPem } = identity('one/alpha');
  const tls = { ca: caPem, cert: certPem, key: keyPem, servername: 'beta', maxVersion: 'TLSv1.2' as const };
  const socket = connectTls({ port: beta.port, host: '127.0.0.1', ...tls });
  await new Promise((resolve) => socket.on('error', resolve));
  assert.equal((await beta.refused).code, 'LINK_PROTOCOL');
});

test('an address where nothing listens', async () => {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  await rejectsWith('LINK_REFUSED', dial(port), /Nothing listens at beta \(127\.0\.0\.1:\d+\)/);
});

test('a name that does not resolve', async () => {
  await rejectsWith('LINK_UNREACHABLE', dial(1, { host: 'no-such-host.invalid' }), /cannot be reached/);
});

test('a port that accepts and never answers runs into the time-out, and can be cancelled', async (t) => {
  const server = createTcpServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  const open = new Set<{ destroy: () => void }>();
  server.on('connection', (socket) => open.add(socket.on('error', () => undefined)));
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await rejectsWith('LINK_TIMEOUT', dial(port, { timeoutMs: 100 }), /accepts connections but does not answer/);
  await rejectsWith('LINK_CANCELLED', dial(port, { signal: AbortSignal.timeout(50) }), /cancelled/);
  await rejectsWith('LINK_CANCELLED', dial(port, { signal: AbortSignal.abort() }), /cancelled/);
  for (const socket of open) socket.destroy();
});

test('a port that speaks something else', async (t) => {
  const server = createTcpServer((socket) => socket.on('error', () => undefined).end('SSH-2.0-x\r\n')).listen(
    0,
    '127.0.0.1',
  );
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await rejectsWith('LINK_PROTOCOL', dial(port), /does not speak vmferry\/1/);
});

/** A server with beta's certificate that does what it likes. */
async function startRogue(t: TestContext, ALPNProtocols: string[], act: (socket: TLSSocket) => void): Promise<number> {
  const { caPem, certPem, keyPem } = identity('one/beta');
  const server = createBareTlsServer({ ca: caPem, cert: certPem, key: keyPem, requestCert: true, ALPNProtocols }, act);
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  return (server.address() as AddressInfo).port;
}

test('a server with another application protocol is no agent', async (t) => {
  const port = await startRogue(t, ['h2'], (socket) => socket.destroy());
  await rejectsWith('LINK_PROTOCOL', dial(port), /does not speak vmferry\/1/);
});

test('garbage inside the connection is a protocol error', async (t) => {
  const port = await startRogue(t, ['vmferry/1'], (socket) =>
    socket.on('error', () => undefined).write('garbage, garbage'),
  );
  await rejectsWith('LINK_PROTOCOL', dial(port), /beta sent what the protocol does not allow/);
});

test('a server that never says hello runs into the time-out', async (t) => {
  const port = await startRogue(t, ['vmferry/1'], (socket) => socket.on('error', () => undefined));
  await rejectsWith('LINK_TIMEOUT', dial(port, { timeoutMs: 200 }), /has not said hello after 200 ms/);
});

/** Connects to beta as alpha, without our protocol code. */
async function rawAlpha(beta: Beta): Promise<TLSSocket> {
  const { caPem, certPem, keyPem } = identity('one/alpha');
  const options = { ca: caPem, cert: certPem, key: keyPem, servername: 'beta', ALPNProtocols: ['vmferry/1'] };
  const socket = connectTls({ port: beta.port, host: '127.0.0.1', ...options });
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  return socket;
}

test('a client that sends garbage is told what was wrong and cut off', async (t) => {
  const beta = await startBeta(t);
  const socket = await rawAlpha(beta);
  socket.write(Buffer.alloc(64, 0xff));
  let heard = '';
  for await (const chunk of socket.setEncoding('latin1')) heard += String(chunk);
  assert.match(heard, /"type":"failed","code":"PROTOCOL","message":"Frame type 255 is unknown"/);
  assert.equal((await beta.refused).code, 'LINK_PROTOCOL');
});

test('a client that never says hello is cut off', async (t) => {
  const beta = await startBeta(t, { handshakeTimeoutMs: 100 });
  const socket = await rawAlpha(beta);
  assert.equal((await beta.refused).code, 'LINK_TIMEOUT');
  socket.destroy();
});

test('a client that never starts its handshake is cut off', async (t) => {
  const beta = await startBeta(t, { handshakeTimeoutMs: 100 });
  const socket = connectTcp(beta.port, '127.0.0.1');
  await new Promise((resolve) => socket.once('close', resolve));
  assert.match((await beta.refused).message, /did not finish the TLS handshake within 100 ms/);
});

test('a client that leaves inside the handshake, or sends no TLS, is reported', async (t) => {
  const left = await startBeta(t);
  const leaving = connectTcp(left.port, '127.0.0.1', () => leaving.destroy());
  assert.equal((await left.refused).code, 'LINK_LOST');
  const noise = await startBeta(t);
  connectTcp(noise.port, '127.0.0.1')
    .on('error', () => undefined)
    .write('GET / HTTP/1.0\r\n\r\n');
  assert.equal((await noise.refused).code, 'LINK_PROTOCOL');
});

test('the number of connections is bounded', async (t) => {
  const beta = await startBeta(t, { connectionsMax: 1 });
  const alpha = await dial(beta.port);
  await rejectsWith('LINK_LOST', dial(beta.port), /closed the connection during the handshake/);
  assert.equal((await beta.refused).code, 'LINK_BUSY');
  await alpha.close();
});

test('HTTP with a trusted certificate reaches the HTTP server, without ALPN too; others get status 403', async (t) => {
  const http = createHttpServer((request, response) => response.end(`hello ${request.url}`));
  const names: string[] = [];
  const beta = await startBeta(t, {
    onHttp: (socket, peerName) => {
      names.push(peerName);
      http.emit('connection', socket);
    },
  });
  const get = async (tls: TlsMaterial, ALPNProtocols?: string[]): Promise<{ status: number; body: string }> => {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
    const material = { ca: tls.caPem, cert: tls.certPem, key: tls.keyPem, servername: 'beta' };
    const where = { host: '127.0.0.1', port: beta.port, path: '/x', agent: false as const };
    httpsRequest({ ...where, ...material, ...(ALPNProtocols && { ALPNProtocols }) }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    })
      .on('error', reject)
      .end();
    return await promise;
  };
  assert.deepEqual(await get(identity('one/alpha'), ['http/1.1']), { status: 200, body: 'hello /x' });
  assert.deepEqual(await get(identity('one/alpha')), { status: 200, body: 'hello /x' });
  assert.deepEqual(names, ['alpha', 'alpha']);
  const { status, body } = await get(identity('one/gamma'));
  assert.equal(status, 403);
  assert.match(body, /"code":"PEER_NOT_TRUSTED","message":"beta does not trust gamma/);
});

test('a renewed certificate serves new connections', async (t) => {
  const beta = await startBeta(t, { tls: identity('one/gamma') });
  await rejectsWith('LINK_CERTIFICATE', dial(beta.port), /not beta/);
  beta.listener.renew(identity('one/beta'));
  await (await dial(beta.port)).close();
});

test('the round-trip time is measured', async (t) => {
  const { alpha, beta } = await pair(t);
  while (alpha.rttMs === null || beta.rttMs === null) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(alpha.rttMs >= 0 && alpha.rttMs < 1000, String(alpha.rttMs));
});

test('a peer that stops reading and writing is reported once, and a living one is not', async (t) => {
  const beta = await startBeta(t);
  const socket = await rawAlpha(beta);
  socket.write(frame('{"type":"hello","protocolVersion":2,"features":[],"software":"x","host":"alpha"}'));
  const silent = await beta.accepted;
  const living = await pair(t);
  const stalls: string[] = [];
  living.alpha.onStalled(400, () => stalls.push('living'));
  silent.onStalled(100, (silentMs) => stalls.push(silentMs >= 100 ? 'silent' : 'early'));
  await new Promise((resolve) => setTimeout(resolve, 700));
  assert.deepEqual(stalls, ['silent']);
  socket.write(frame('{"type":"ping","id":1}'));
  await new Promise((resolve) => setTimeout(resolve, 250));
  assert.deepEqual(stalls, ['silent', 'silent'], 'a second silence is a second report');
  socket.destroy();
});

function frame(head: string): Buffer {
  const header = Buffer.alloc(8);
  header[0] = 1;
  header.writeUInt32BE(head.length, 4);
  return Buffer.concat([header, Buffer.from(head)]);
}

test('send waits while the peer does not read, and goes on when it does', async (t) => {
  const { alpha, beta } = await pair(t);
  const chunk = new Uint8Array(4 * 1024 * 1024);
  let sent = 0;
  const sending = (async () => {
    for (; sent < 16; sent++) await alpha.send({ type: 'epilogue', last: sent === 15 }, chunk);
  })();
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.ok(sent < 12, `${sent} chunks were taken though nobody reads`);
  for (let last = false; !last;) {
    const { message, attachment } = await beta.expect(['epilogue'], { timeoutMs: 2000 });
    assert.equal(attachment?.length, chunk.length);
    last = message.last;
  }
  await sending;
  assert.ok(alpha.sentBytes > 16 * chunk.length);
  assert.ok(beta.receivedBytes > 16 * chunk.length);
});

test('a send that waits is rejected when the peer goes', async (t) => {
  const { alpha, beta } = await pair(t);
  const sending = (async () => {
    for (;;) await alpha.send({ type: 'epilogue', last: false }, new Uint8Array(4 * 1024 * 1024));
  })();
  const outcome = rejectsWith('LINK_LOST', sending, /beta (closed|reset) the connection/);
  await new Promise((resolve) => setTimeout(resolve, 200));
  await beta.close();
  await outcome;
  await rejectsWith('LINK_LOST', alpha.send({ type: 'aborted' }), /beta/);
});

test('a failure of the peer rejects what is expected, with its code and where the guest is', async (t) => {
  const { alpha, beta } = await pair(t);
  const expecting = rejectsWith(
    'LINK_PEER_FAILED',
    alpha.expect(['prepared'], { timeoutMs: 1000 }),
    /^beta: QEMU ended$/,
  );
  await beta.send({ type: 'failed', code: 'FERRY_INCOMING', message: 'QEMU ended', guest: 'running at source' });
  const error = await expecting;
  assert.equal(error.fields['peerCode'], 'FERRY_INCOMING');
  assert.equal(error.fields['guest'], 'running at source');
});

test('expect times out, can be cancelled, and refuses what does not fit', async (t) => {
  const { alpha, beta } = await pair(t);
  await rejectsWith(
    'LINK_TIMEOUT',
    alpha.expect(['prepared'], { timeoutMs: 20 }),
    /beta did not send prepared within 20 ms/,
  );
  const signal = AbortSignal.timeout(20);
  await rejectsWith('LINK_CANCELLED', alpha.expect(['prepared'], { timeoutMs: 1000, signal }), /cancelled/);
  const misfit = rejectsWith(
    'LINK_PROTOCOL',
    alpha.expect(['prepared'], { timeoutMs: 1000 }),
    /sent aborted where prepared/,
  );
  await beta.send({ type: 'aborted' });
  await misfit;
});

test('a handler takes what no expect waits for, in order, from the inbox first', async (t) => {
  const { alpha, beta } = await pair(t);
  await beta.send({ type: 'aborted' });
  await beta.send({ type: 'prologueLoaded' });
  await new Promise((resolve) => setTimeout(resolve, 50));
  const seen: string[] = [];
  alpha.onMessage((message) => seen.push(message.type));
  assert.deepEqual(seen, ['aborted', 'prologueLoaded']);
  const expecting = alpha.expect(['prepared'], { timeoutMs: 1000 });
  await beta.send({ type: 'prologueLoaded' });
  await beta.send({ type: 'prepared', loadMs: 1 });
  assert.equal((await expecting).message.loadMs, 1);
  assert.deepEqual(seen, ['aborted', 'prologueLoaded', 'prologueLoaded']);
});

test('what was sent before a close arrives, then everything ends with one reason', async (t) => {
  const { alpha, beta } = await pair(t);
  await beta.send({ type: 'prologueLoaded' });
  await beta.fail('X', 'no more');
  assert.equal((await beta.closed).code, 'LINK_CLOSED');
  await alpha.closed;
  assert.equal((await alpha.expect(['prologueLoaded'], { timeoutMs: 100 })).message.type, 'prologueLoaded');
  await rejectsWith('LINK_PEER_FAILED', alpha.expect(['aborted'], { timeoutMs: 100 }), /beta: no more/);
  await rejectsWith('LINK_LOST', alpha.expect(['aborted'], { timeoutMs: 100 }), /beta closed the connection/);
  assert.equal(alpha.closedReason?.code, 'LINK_LOST');
  alpha.post({ type: 'aborted' });
  await alpha.close();
});

test('a connection that ends inside a frame is a protocol error', async (t) => {
  const beta = await startBeta(t);
  const socket = await rawAlpha(beta);
  socket.write(frame('{"type":"hello","protocolVersion":2,"features":[],"software":"x","host":"alpha"}'));
  const connection = await beta.accepted;
  socket.end(Buffer.from([1, 0, 0]));
  const reason = await connection.closed;
  assert.equal(reason.code, 'LINK_PROTOCOL');
  assert.match(describeError(reason), /ended after 3 bytes of a frame header/);
});

test('a handler that throws ends its connection only, and the peer hears of it', async (t) => {
  const { alpha, beta } = await pair(t);
  beta.onMessage(() => {
    throw new Error('our mistake');
  });
  const expecting = rejectsWith(
    'LINK_PEER_FAILED',
    alpha.expect(['aborted'], { timeoutMs: 1000 }),
    /handler of message/,
  );
  await alpha.send({ type: 'prologueLoaded' });
  assert.equal((await expecting).fields['peerCode'], 'INTERNAL');
  assert.match(describeError(await beta.closed), /our mistake/);
});

test('a probe says how fast the link is, in any state of the conversation, and only to a peer that knows it', async (t) => {
  const beta = await startBeta(t);
  const connection = await dial(beta.port);
  t.after(() => connection.close());
  const msPerByte = await probeLink(connection, { timeoutMs: 5000 });
  assert.ok(
    msPerByte !== null && msPerByte > 0 && msPerByte < 1,
    'the loopback takes more than a byte per millisecond',
  );
  // The conversation goes on as if nothing had been.
  const accepted = await beta.accepted;
  await connection.send({ type: 'query', migrationId: 'm1' });
  const { message } = await accepted.expect(['query'], { timeoutMs: 3000 });
  assert.equal(message.migrationId, 'm1');

  const old = await startBeta(t, { hello: { features: [] } });
  const second = await dial(old.port);
  t.after(() => second.close());
  assert.equal(await probeLink(second, { timeoutMs: 5000 }), null);
});

test('a link is probed on while somebody wants it, and where nobody says so as long as it gets faster', async (t) => {
  const { alpha } = await pair(t);
  const sent = t.mock.method(alpha, 'send');
  const probesOf = async (answers: readonly (boolean | null)[]): Promise<number> => {
    sent.mock.resetCalls();
    const left = [...answers];
    const found = await probeLink(alpha, { timeoutMs: 5000, isWanted: () => Promise.resolve(left.shift() ?? null) });
    assert.ok(found !== null && found > 0);
    return sent.mock.calls.filter((call) => (call.arguments[0] as { last?: boolean }).last).length;
  };
  assert.equal(await probesOf([false]), 1);
  assert.equal(await probesOf([true, true, true, false]), 4);
  assert.equal(await probesOf([true, true, true, true, true, true, true, true, true]), 9, 'not for ever');
  // The loopback gets no faster for ever.
  assert.ok((await probesOf([])) >= 4);
});

test('a probe that finds much less than was known of the link is made again', async (t) => {
  const { alpha } = await pair(t);
  const ended = t.mock.method(alpha, 'renewRtt');
  // Nothing known, a link faster than any, and one slower than any.
  for (const [knownMsPerByte, probes] of [
    [null, 1],
    [1e-12, 2],
    [1, 1],
  ] as const) {
    ended.mock.resetCalls();
    const found = await probeKnownLink(alpha, knownMsPerByte, { timeoutMs: 5000 });
    assert.ok(found !== null && found > 0 && found < 1, `${found} ms per byte`);
    assert.equal(ended.mock.callCount(), probes, `known: ${knownMsPerByte} ms per byte`);
  }
});

test('a probe that is not answered in time, or whose connection ends, tells nothing and throws nothing', async (t) => {
  const beta = await startBeta(t);
  const connection = await dial(beta.port);
  t.after(() => connection.close());
  assert.equal(await probeLink(connection, { timeoutMs: 0 }), null);
  await connection.close();
  assert.equal(await probeLink(connection, { timeoutMs: 5000 }), null);
});
