/**
 * The one port of an agent: TLS 1.3 with client certificates, control connections and HTTP told apart by ALPN.
 *
 *     ALPN vmferry/1         trusted name -> hello -> onControl;  else `failed` PEER_NOT_TRUSTED
 *     ALPN http/1.1 or none  trusted name -> onHttp;              else status 403
 *     no or bad certificate  closed by TLS, reported to onRefused
 *
 * Nobody gets past this file without a certificate of our authority that carries a trusted host name. Handshakes and
 * hellos have a time limit, and the number of connections is bounded.
 */
import { LOAD_FEATURE, WARM_UP_FEATURE } from '../../core/wire/control-messages.ts';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { CONTROL_ALPN } from '../../core/wire/control-messages.ts';
import { peerNameOf } from '../../core/wire/peer-name.ts';
import { ControlConnection } from './control-connection.ts';
import { LinkError } from './errors.ts';
import { exchangeHello, type LocalHello } from './hello.ts';
import { hostNameOfPem, type TlsMaterial } from './identity.ts';
import { PROBE_FEATURE } from './link-probe.ts';
import { codeOf, isCertificateAlert, verifyProblem } from './tls-errors.ts';

const HTTP_ALPN = 'http/1.1';
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Open connections of all kinds. A migration uses one here; the rest is people and programs with the HTTP interface. */
const CONNECTIONS_MAX = 256;
/** How long a refused HTTP client may take to send its request before it is cut off. */
const HTTP_REFUSAL_MS = 2000;

export type TlsServerOptions = {
  /** Host names that may connect. Asked anew for every connection: the caller may change the set. */
  readonly trustedNames: ReadonlySet<string>;
  /** A control connection after its hello. */
  readonly onControl: (connection: ControlConnection, peerName: string) => void;
  /** An HTTP connection: give it to an `http.Server` with `server.emit('connection', socket)`. */
  readonly onHttp: (socket: TLSSocket, peerName: string) => void;
  /** For the log. `fields.remoteAddress` is always there, `fields.peer` when the certificate was good. */
  readonly onRefused: (reason: LinkError) => void;
  readonly hello?: Partial<LocalHello>;
  readonly handshakeTimeoutMs?: number;
  readonly connectionsMax?: number;
};

/** The listening port; `close` ends it and every connection that it accepted. */
export type TlsListener = {
  readonly server: Server;
  /** Fulfilled with the port (useful when 0 was asked for). Rejects with Node's error, for example EADDRINUSE. */
  listen(port: number, address: string): Promise<number>;
  /** Takes over a renewed certificate for connections from now on. */
  renew(identity: TlsMaterial): void;
  close(): Promise<void>;
};

export function createTlsServer(identity: TlsMaterial, options: TlsServerOptions): TlsListener {
  const handshakeTimeoutMs = options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;
  let current = identity;
  // With those whose handshake is not over.
  const sockets = new Set<Socket>();
  const server = createServer({
    ...contextOf(identity),
    requestCert: true,
    ALPNProtocols: [CONTROL_ALPN, HTTP_ALPN],
    handshakeTimeout: handshakeTimeoutMs,
  });
  server.maxConnections = options.connectionsMax ?? CONNECTIONS_MAX;
  server.on('drop', (data) => {
    const message = `A connection was refused: ${server.maxConnections} are open already`;
    options.onRefused(new LinkError('LINK_BUSY', message, { remoteAddress: data?.remoteAddress ?? 'unknown' }));
  });
  server.on('tlsClientError', (error, socket) => {
    options.onRefused(handshakeError(error, socket, handshakeTimeoutMs));
    // Node reports a handshake that takes too long, but leaves its socket open.
    if (codeOf(error) === 'ERR_TLS_HANDSHAKE_TIMEOUT') socket.destroy();
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('secureConnection', (socket) => {
    accept(socket, current, { ...options, handshakeTimeoutMs });
  });
  return {
    server,
    listen: (port, address) => listen(server, port, address),
    renew: (next) => {
      server.setSecureContext(contextOf(next));
      current = next;
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

const contextOf = (identity: TlsMaterial): { ca: string; cert: string; key: string; minVersion: 'TLSv1.3' } => ({
  ca: identity.caPem,
  cert: identity.certPem,
  key: identity.keyPem,
  minVersion: 'TLSv1.3',
});

function listen(server: Server, port: number, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

type Accepting = TlsServerOptions & { readonly handshakeTimeoutMs: number };

/** TLS has verified the certificate by now; what remains is the name. */
function accept(socket: TLSSocket, identity: TlsMaterial, options: Accepting): void {
  const remoteAddress = socket.remoteAddress ?? 'unknown';
  const control = socket.alpnProtocol === CONTROL_ALPN;
  let peerName: string;
  try {
    peerName = peerNameOf(socket.getPeerCertificate());
  } catch (cause) {
    const reason = new LinkError(
      'LINK_CERTIFICATE',
      `${remoteAddress} has no host certificate`,
      { remoteAddress },
      { cause },
    );
    refuse(socket, { control, peerName: remoteAddress, reason }, options);
    return;
  }
  if (!options.trustedNames.has(peerName)) {
    const here = hostNameOfPem(identity.certPem) ?? 'this host';
    const message = `${here} does not trust ${peerName}: add ${peerName} to "trust" in the configuration of ${here}`;
    const reason = new LinkError('LINK_NOT_TRUSTED', message, { remoteAddress, peer: peerName });
    refuse(socket, { control, peerName, reason }, options);
  } else if (control) {
    void greet(new ControlConnection(socket, peerName), identity, options);
  } else {
    options.onHttp(socket, peerName);
  }
}

async function greet(connection: ControlConnection, identity: TlsMaterial, options: Accepting): Promise<void> {
  const host = hostNameOfPem(identity.certPem) ?? 'unknown';
  const local = {
    software: 'vmferry',
    features: [PROBE_FEATURE, LOAD_FEATURE, WARM_UP_FEATURE],
    ...options.hello,
    host,
  };
  try {
    await exchangeHello(connection, local, { timeoutMs: options.handshakeTimeoutMs });
    options.onControl(connection, connection.peerName);
  } catch (error) {
    const reason = error instanceof LinkError ? error : acceptingFailed(connection.peerName, error);
    const fields = { ...reason.fields, remoteAddress: connection.remoteAddress ?? 'unknown' };
    options.onRefused(new LinkError(reason.code, reason.message, fields, { cause: reason.cause }));
    await connection.close();
  }
}

/** Our own mistake in onControl: it costs this connection, not the agent. */
const acceptingFailed = (peer: string, cause: unknown): LinkError =>
  new LinkError('LINK_CLOSED', `Taking the connection of ${peer} failed`, { peer }, { cause });

type Refusal = { readonly control: boolean; readonly peerName: string; readonly reason: LinkError };

/** Both sides get the message: the peer over the connection, this side through onRefused. */
function refuse(socket: TLSSocket, refusal: Refusal, options: Accepting): void {
  const { control, peerName, reason } = refusal;
  options.onRefused(reason);
  if (control) void new ControlConnection(socket, peerName).fail('PEER_NOT_TRUSTED', reason.message);
  else refuseHttp(socket, reason.message);
}

/** Answers the request when it comes: an answer before the request is taken for a broken server. */
function refuseHttp(socket: TLSSocket, message: string): void {
  const body = JSON.stringify({ code: 'PEER_NOT_TRUSTED', message });
  const timer = setTimeout(() => socket.destroy(), HTTP_REFUSAL_MS);
  socket.on('error', () => undefined);
  socket.once('close', () => clearTimeout(timer));
  socket.once('data', () => {
    socket.end(
      'HTTP/1.1 403 Forbidden\r\nContent-Type: application/json; charset=utf-8\r\nConnection: close\r\n' +
        `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    socket.resume();
  });
}

/** What went wrong before the connection was ours. */
function handshakeError(error: Error, socket: TLSSocket, timeoutMs: number): LinkError {
  const code = codeOf(error);
  // Node keeps the verification's code there, as a string, when it closes the connection because of it.
  const verification: unknown = socket.authorizationError;
  const remoteAddress = socket.remoteAddress ?? 'unknown';
  const refused = (kind: LinkError['code'], message: string): LinkError =>
    new LinkError(kind, message, { remoteAddress }, { cause: error });
  if (typeof verification === 'string') {
    const problem = verifyProblem(verification) ?? `is not valid (${verification})`;
    return refused('LINK_CERTIFICATE', `The certificate of ${remoteAddress} ${problem}`);
  }
  if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') {
    return refused('LINK_CERTIFICATE', `${remoteAddress} showed no certificate`);
  }
  if (isCertificateAlert(code)) {
    return refused('LINK_CERTIFICATE', `${remoteAddress} did not accept the certificate of this host`);
  }
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') {
    return refused('LINK_TIMEOUT', `${remoteAddress} did not finish the TLS handshake within ${timeoutMs} ms`);
  }
  if (code === 'ECONNRESET') {
    const message = `${remoteAddress} left during the TLS handshake; perhaps it did not accept the certificate of this host`;
    return refused('LINK_LOST', message);
  }
  return refused('LINK_PROTOCOL', `${remoteAddress} does not speak TLS 1.3 as we do`);
}
