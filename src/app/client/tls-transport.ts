/**
 * Requests to the agent of another host, over the port where it listens for hosts: TLS 1.3, authenticated both ways. Of the
 * peer's routes only those for `peers` answer (core/api/routes.ts), and only when it trusts this host's name.
 *
 * One connection is kept open and used again; a second request waits for the first. A connection to somebody whose
 * certificate does not carry the name of the peer that is asked never gets a request.
 */
import { Agent, errors } from 'undici';
import { dialTls } from '../../io/link/dial.ts';
import { LinkError } from '../../io/link/errors.ts';
import type { TlsMaterial } from '../../io/link/identity.ts';
import { ClientError } from './errors.ts';
import type { Transport } from './transport.ts';
import { undiciTransport } from './undici-transport.ts';

const HTTP_ALPN = 'http/1.1';
const DIAL_TIMEOUT_MS = 5_000;

/** Where another agent listens, and the name that its certificate must carry. */
export type PeerPlace = { readonly name: string; readonly host: string; readonly port: number };

/** Nothing is opened before the first request. */
export function tlsTransport(tls: TlsMaterial, peer: PeerPlace): Transport {
  const closed = new AbortController();
  const { name: peerName, host, port } = peer;
  const dial = { peerName, host, port, tls, timeoutMs: DIAL_TIMEOUT_MS, signal: closed.signal };
  const agent = new Agent({
    connections: 1,
    bodyTimeout: 0,
    connect: (_options, callback) => {
      dialTls(dial, HTTP_ALPN).then(
        (socket) => callback(null, socket),
        (error: Error) => callback(error, null),
      );
    },
  });
  return undiciTransport({
    ...{ agent, origin: 'https://peer', headers: { host: peer.name } },
    errorOf: (cause, signal) => clientError(cause, peer, signal),
    // A connection that is being made would keep the program alive.
    onClose: () => closed.abort(),
  });
}

function clientError(cause: unknown, { name, host, port }: PeerPlace, signal: AbortSignal | undefined): ClientError {
  const fields = { peer: name, host, port };
  if (signal?.aborted === true) {
    return new ClientError('CLIENT_CANCELLED', 'The request was given up', fields, { cause });
  }
  // What dialling says is a whole sentence, with the peer and what to do.
  if (cause instanceof LinkError) return new ClientError('AGENT_UNREACHABLE', cause.message, fields, { cause });
  if (cause instanceof errors.HeadersTimeoutError) {
    return new ClientError('AGENT_SILENT', `The agent of host "${name}" does not answer in time.`, fields);
  }
  const text =
    `The agent of host "${name}" closed the connection before it had answered: it was stopped, or it does not accept the ` +
    'certificate of this host.';
  return new ClientError('AGENT_LOST', text, fields, { cause });
}
