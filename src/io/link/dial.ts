/**
 * Opens a connection to another host: TCP, TLS 1.3 with certificates on both sides, the peer's name; for a control connection
 * the hello as well. Whatever goes wrong on the way becomes one LinkError that says what and what to do.
 */
import { connect, type TLSSocket } from 'node:tls';
import { CONTROL_ALPN } from '../../core/wire/control-messages.ts';
import { ControlWireError } from '../../core/wire/errors.ts';
import { peerNameOf } from '../../core/wire/peer-name.ts';
import { ControlConnection } from './control-connection.ts';
import { LinkError } from './errors.ts';
import { exchangeHello, type LocalHello } from './hello.ts';
import { PROBE_FEATURE } from './link-probe.ts';
import { hostNameOfPem, ownCertificateProblem, type TlsMaterial } from './identity.ts';
import { codeOf, isCertificateAlert, peerRejectsUs, verifyProblem } from './tls-errors.ts';

export type DialOptions = {
  /** Address or DNS name to connect to; who answers is checked by `peerName` alone. */
  readonly host: string;
  readonly port: number;
  /** Host name that the peer's certificate must carry. */
  readonly peerName: string;
  readonly tls: TlsMaterial;
  /** For everything, from the TCP connection to the peer's hello. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** What the hello says besides the host name, which is the one in our certificate. */
  readonly hello?: Partial<LocalHello>;
};

/**
 * Connects to the agent of another host; the hello has been exchanged. Throws LinkError: LINK_REFUSED, LINK_UNREACHABLE, LINK_TIMEOUT, LINK_CERTIFICATE,
 * LINK_PEER_REFUSED, LINK_VERSION, LINK_PROTOCOL, LINK_LOST, LINK_CANCELLED.
 */
export async function dialControl(options: DialOptions): Promise<ControlConnection> {
  const { peerName, tls, timeoutMs, signal } = options;
  const deadlineMs = performance.now() + timeoutMs;
  const socket = await dialTls(options, CONTROL_ALPN);
  const connection = new ControlConnection(socket, peerName);
  try {
    if (socket.alpnProtocol !== CONTROL_ALPN) throw notAnAgent(options, null);
    const local = {
      software: 'vmferry',
      features: [PROBE_FEATURE],
      ...options.hello,
      host: hostNameOfPem(tls.certPem) ?? 'unknown',
    };
    const leftMs = Math.max(1, deadlineMs - performance.now());
    await exchangeHello(connection, local, { timeoutMs: leftMs, signal });
    return connection;
  } catch (error) {
    // Not awaited: the caller need not wait for the peer to hang up.
    void connection.close();
    throw helloErrorOf(error, options);
  }
}

/**
 * TCP and TLS up to a verified peer, for the protocol `alpn`. The socket has no listeners of ours when this is done.
 * Throws LinkError: LINK_REFUSED, LINK_UNREACHABLE, LINK_TIMEOUT, LINK_CERTIFICATE, LINK_PROTOCOL, LINK_LOST, LINK_CANCELLED.
 */
export function dialTls(options: DialOptions, alpn: string): Promise<TLSSocket> {
  const { timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) throw cancelled(options);
    const socket = connectTls(options, alpn);
    let tcp = false;
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
      socket.off('secureConnect', secured).off('error', failed).off('close', ended).off('connect', connected);
    };
    const fail = (error: LinkError): void => {
      settle();
      socket.on('error', () => undefined).destroy();
      reject(error);
    };
    const failed = (error: Error): void => fail(dialErrorOf(error, options, tcp));
    const ended = (): void => fail(lostInHandshake(options, undefined));
    const cancel = (): void => fail(cancelled(options));
    const connected = (): boolean => (tcp = true);
    const secured = (): void => {
      settle();
      resolve(socket);
    };
    const timer = setTimeout(
      () => fail(timedOut(options, tcp ? 'accepts connections but does not answer' : 'cannot be reached')),
      timeoutMs,
    );
    signal?.addEventListener('abort', cancel);
    socket.on('secureConnect', secured).on('error', failed).on('close', ended).on('connect', connected);
  });
}

function connectTls(options: DialOptions, alpn: string): TLSSocket {
  const { host, port, peerName, tls } = options;
  try {
    return connect({
      host,
      port,
      servername: peerName,
      ca: tls.caPem,
      cert: tls.certPem,
      key: tls.keyPem,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [alpn],
      // Runs only for certificates that our authority signed; replaces the check against the address.
      checkServerIdentity: (_name, certificate) => {
        try {
          peerNameOf(certificate, peerName);
          return undefined;
        } catch (error) {
          return error instanceof Error ? error : new Error(String(error));
        }
      },
    });
  } catch (cause) {
    const message = `The certificate files of this host cannot be used to reach ${options.peerName}`;
    throw new LinkError('LINK_CERTIFICATE', message, { peer: options.peerName, whose: 'ours' }, { cause });
  }
}

const where = ({ peerName, host, port }: DialOptions): string => `${peerName} (${host}:${port})`;

const fieldsOf = ({ peerName, host, port }: DialOptions): { peer: string; host: string; port: number } => ({
  peer: peerName,
  host,
  port,
});

function dialErrorOf(error: Error, options: DialOptions, tcp: boolean): LinkError {
  const code = codeOf(error);
  const fields = fieldsOf(options);
  if (error instanceof ControlWireError) {
    const message = `The host at ${options.host}:${options.port} is not ${options.peerName}: ${error.message}. Check the address of ${options.peerName}`;
    return new LinkError('LINK_CERTIFICATE', message, { ...fields, whose: 'theirs' }, { cause: error });
  }
  const problem = verifyProblem(code);
  if (problem !== null) {
    const message = `The certificate of ${where(options)} ${problem}`;
    return new LinkError('LINK_CERTIFICATE', message, { ...fields, whose: 'theirs' }, { cause: error });
  }
  if (isCertificateAlert(code)) return rejected(options, error);
  if (code === 'ECONNREFUSED') {
    const message = `Nothing listens at ${where(options)}: is its agent running, and is this its port?`;
    return new LinkError('LINK_REFUSED', message, fields, { cause: error });
  }
  if (!tcp) {
    const message = `${where(options)} cannot be reached: check the address and the network`;
    return new LinkError(code === 'ETIMEDOUT' ? 'LINK_TIMEOUT' : 'LINK_UNREACHABLE', message, fields, { cause: error });
  }
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO') return notAnAgent(options, error);
  return lostInHandshake(options, error);
}

/** The same in the words of somebody who dials. */
function helloErrorOf(error: unknown, options: DialOptions): unknown {
  if (!(error instanceof LinkError)) return error;
  if (error.code === 'LINK_TIMEOUT') return timedOut(options, 'has not said hello');
  if (error.code === 'LINK_CERTIFICATE') return rejected(options, error.cause);
  return error;
}

const rejected = (options: DialOptions, cause: unknown): LinkError =>
  peerRejectsUs(options.peerName, cause, ownCertificateProblem(options.tls));

function notAnAgent(options: DialOptions, cause: unknown): LinkError {
  const message = `What listens at ${where(options)} does not speak ${CONTROL_ALPN} over TLS 1.3: is this the port of its agent, and the same release?`;
  return new LinkError('LINK_PROTOCOL', message, fieldsOf(options), { cause });
}

const lostInHandshake = (options: DialOptions, cause: unknown): LinkError =>
  new LinkError('LINK_LOST', `${where(options)} closed the connection during the handshake`, fieldsOf(options), {
    cause,
  });

const timedOut = (options: DialOptions, what: string): LinkError =>
  new LinkError('LINK_TIMEOUT', `${where(options)} ${what} after ${options.timeoutMs} ms`, fieldsOf(options));

const cancelled = (options: DialOptions): LinkError =>
  new LinkError('LINK_CANCELLED', `Connecting to ${where(options)} was cancelled`, fieldsOf(options));
