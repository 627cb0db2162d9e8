/**
 * A host as an autopilot talks to it: by the calls of the API, whether it is its own host or another one.
 *
 * Nothing here knows which: the calls of the own host go straight to the handlers, those of the others over mutual TLS.
 */
import type { RequestOf, ResponseOf, RouteName } from '../../core/api/routes.ts';
import type { CallOptions } from '../client/agent-client.ts';

export type CallName = Exclude<RouteName, 'migrationEvents' | 'openapi'>;

export type FleetHost = {
  readonly name: string;
  /** Throws AppError: what the host answers, or why it does not. */
  call<Name extends CallName>(
    name: Name,
    request: RequestOf<Name>,
    options?: CallOptions,
  ): Promise<ResponseOf<Name>>;
};
