/**
 * A host as an autopilot talks to it: by the calls of the API, whether it is its own host or another one.
 *
 * Nothing here knows which: the calls of the own host go straight to the handlers, those of the others over mutual TLS.
 */
import type { RequestOf, ResponseOf, RouteName } from '../../core/api/routes.ts';
import type { CallOptions } from '../client/agent-client.ts';
import { CALL_MS_MAX } from './limits.ts';

export type CallName = Exclude<RouteName, 'migrationEvents' | 'openapi'>;

export type FleetHost = {
  readonly name: string;
  /** Throws AppError: what the host answers, or why it does not. */
  call<Name extends CallName>(name: Name, request: RequestOf<Name>, options?: CallOptions): Promise<ResponseOf<Name>>;
};

/** For what is answered at once, or is worth nothing. Throws AppError. */
export async function quickCall<Name extends CallName>(
  host: FleetHost,
  name: Name,
  request: RequestOf<Name>,
  timeoutMs: number = CALL_MS_MAX,
): Promise<ResponseOf<Name>> {
  // The signal also ends the waiting for a connection.
  return await host.call(name, request, { timeoutMs, signal: AbortSignal.timeout(timeoutMs) });
}
