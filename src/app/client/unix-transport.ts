/** Requests over the unix socket of an agent, with undici. */
import { Agent, errors } from 'undici';
import { ClientError } from './errors.ts';
import type { Transport } from './transport.ts';
import { undiciTransport } from './undici-transport.ts';

export function unixTransport(socketPath: string): Transport {
  // Each request has a connection of its own: an event stream must not hold up the abort beside it.
  const agent = new Agent({ connect: { socketPath }, pipelining: 0, bodyTimeout: 0 });
  const errorOf = (cause: unknown, signal: AbortSignal | undefined): ClientError =>
    clientError(cause, socketPath, signal);
  return undiciTransport({ agent, origin: 'http://agent', errorOf });
}

function clientError(cause: unknown, socketPath: string, signal: AbortSignal | undefined): ClientError {
  const fields = { socket: socketPath };
  const code = (cause as NodeJS.ErrnoException).code;
  if (signal?.aborted === true) {
    return new ClientError('CLIENT_CANCELLED', 'The request was given up', fields, { cause });
  }
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK' || code === 'ENOTDIR') {
    const text = `No agent answers at ${socketPath}. Start one with "vmferry agent --config FILE", or name its socket with --socket or VMFERRY_SOCKET.`;
    return new ClientError('AGENT_UNREACHABLE', text, fields);
  }
  if (code === 'EACCES' || code === 'EPERM') {
    const text = `The socket ${socketPath} may not be used by this user: run as the agent's user.`;
    return new ClientError('AGENT_FORBIDDEN', text, fields);
  }
  if (cause instanceof errors.HeadersTimeoutError) {
    return new ClientError('AGENT_SILENT', `The agent at ${socketPath} does not answer in time.`, fields);
  }
  const text = `The agent at ${socketPath} closed the connection before it had answered; it may have been stopped.`;
  return new ClientError('AGENT_LOST', text, fields);
}
