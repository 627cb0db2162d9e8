/**
 * A host as an autopilot talks to it: by the calls of the API, whether it is its own host or another one.
 *
 * Nothing here knows which: the calls of the own host go straight to the handlers, those of the others over mutual TLS.
 */
import type { RequestOf, ResponseOf, RouteName } from '../../core/api/routes.ts';
import { formatMs } from '../../core/model/units.ts';
import type { CallOptions } from '../client/agent-client.ts';
import { ClientError } from '../client/errors.ts';
import { CALL_MS_MAX } from './limits.ts';

export type CallName = Exclude<RouteName, 'migrationEvents' | 'openapi'>;

export type FleetHost = {
  readonly name: string;
  /** Throws AppError: what the host answers, or why it does not. */
  call<Name extends CallName>(name: Name, request: RequestOf<Name>, options?: CallOptions): Promise<ResponseOf<Name>>;
};

/** For what is answered at once, or is worth nothing. Throws AppError; ClientError AGENT_SILENT when the time is over. */
export async function quickCall<Name extends CallName>(
  host: FleetHost,
  name: Name,
  request: RequestOf<Name>,
  timeoutMs: number = CALL_MS_MAX,
): Promise<ResponseOf<Name>> {
  const { promise: silence, reject } = Promise.withResolvers<never>();
  const over = new AbortController();
  const timer = setTimeout(() => {
    reject(new ClientError('AGENT_SILENT', `Host "${host.name}" does not answer within ${formatMs(timeoutMs)}`));
    over.abort();
  }, timeoutMs);
  try {
    // A request that waits for its connection does not hear the signal: hence the race.
    return await Promise.race([host.call(name, request, { timeoutMs, signal: over.signal }), silence]);
  } finally {
    clearTimeout(timer);
  }
}
