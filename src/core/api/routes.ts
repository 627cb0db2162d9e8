/**
 * The route table of an agent's HTTP API: the agent serves it, the client calls it, the OpenAPI document prints it.
 *
 * `audience`: `peers` may be read by trusted hosts over mutual TLS as well; `local` only over the unix socket (mode 0600).
 * A path parameter is written `{name}` as in OpenAPI.
 */
import type { z } from 'zod';
import { autopilotRoutes } from './autopilot-routes.ts';
import * as shape from './schemas.ts';
import { hostTelemetrySchema, telemetryHistorySchema, telemetryQuerySchema } from './telemetry-schemas.ts';

/** Who asks: a host, by the name in its certificate; null for somebody at the unix socket of the agent. */
export type Caller = { readonly peer: string | null };

export type Route = {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly audience: 'peers' | 'local';
  readonly summary: string;
  readonly params?: z.ZodType;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  readonly response: z.ZodType | 'openapi';
  readonly status: 200 | 201;
  /** Answers a stream of server-sent events (core/api/events.ts); `response` is not used then. */
  readonly stream?: true;
};

export const routes = {
  health: {
    method: 'GET',
    path: '/healthz',
    audience: 'peers',
    summary: 'The agent answers',
    response: shape.healthSchema,
    status: 200,
  },
  host: {
    method: 'GET',
    path: '/host',
    audience: 'peers',
    summary: 'Name, version and capacity of this host',
    response: shape.hostViewSchema,
    status: 200,
  },
  telemetry: {
    method: 'GET',
    path: '/telemetry',
    audience: 'peers',
    summary: 'What this host and its VMs do: the look of the last second',
    response: hostTelemetrySchema,
    status: 200,
  },
  telemetryHistory: {
    method: 'GET',
    path: '/telemetry/history',
    audience: 'local',
    summary: 'What this host, or one of its VMs, did: an hour by seconds, a week by minutes',
    query: telemetryQuerySchema,
    response: telemetryHistorySchema,
    status: 200,
  },
  listVms: {
    method: 'GET',
    path: '/vms',
    audience: 'local',
    summary: 'The virtual machines of this host',
    response: shape.vmListSchema,
    status: 200,
  },
  startVm: {
    method: 'POST',
    path: '/vms',
    audience: 'local',
    summary: 'Starts a virtual machine from its spec',
    body: shape.startVmRequestSchema,
    response: shape.vmViewSchema,
    status: 201,
  },
  adoptVm: {
    method: 'POST',
    path: '/vms/adopt',
    audience: 'local',
    summary: 'Takes over a QEMU that someone else started',
    body: shape.adoptVmRequestSchema,
    response: shape.vmViewSchema,
    status: 201,
  },
  showVm: {
    method: 'GET',
    path: '/vms/{name}',
    audience: 'local',
    summary: 'One virtual machine',
    params: shape.vmParamsSchema,
    response: shape.vmViewSchema,
    status: 200,
  },
  stopVm: {
    method: 'POST',
    path: '/vms/{name}/stop',
    audience: 'local',
    summary: 'Powers a virtual machine off and forgets it',
    params: shape.vmParamsSchema,
    body: shape.stopVmRequestSchema,
    response: shape.vmViewSchema,
    status: 200,
  },
  plan: {
    method: 'POST',
    path: '/plans',
    audience: 'local',
    summary: 'Looks at a guest and the way to another host, and predicts what each strategy would take; moves nothing',
    body: shape.planRequestSchema,
    response: shape.movePlanSchema,
    status: 200,
  },
  startMigration: {
    method: 'POST',
    path: '/migrations',
    audience: 'local',
    summary: 'Checks everything, then moves a virtual machine to another host',
    body: shape.startMigrationRequestSchema,
    response: shape.migrationViewSchema,
    status: 201,
  },
  listMigrations: {
    method: 'GET',
    path: '/migrations',
    audience: 'local',
    summary: 'Migrations in progress from this host, and those to it whose guest still needs the other host',
    response: shape.migrationListSchema,
    status: 200,
  },
  showMigration: {
    method: 'GET',
    path: '/migrations/{id}',
    audience: 'local',
    summary: 'One migration, in progress or ended',
    params: shape.migrationParamsSchema,
    response: shape.migrationStateSchema,
    status: 200,
  },
  migrationEvents: {
    method: 'GET',
    path: '/migrations/{id}/events',
    audience: 'local',
    summary: 'Views of a migration while it runs, and its report at the end, as server-sent events',
    params: shape.migrationParamsSchema,
    response: shape.migrationStateSchema,
    status: 200,
    stream: true,
  },
  cancelMigration: {
    method: 'POST',
    path: '/migrations/{id}/cancel',
    audience: 'local',
    summary: 'Asks for an abort: before the commit the guest goes on at the source',
    params: shape.migrationParamsSchema,
    response: shape.cancelResultSchema,
    status: 200,
  },
  resolveMigration: {
    method: 'POST',
    path: '/migrations/{id}/resolve',
    audience: 'local',
    summary: 'A person decides about a migration in doubt, for this host: run the guest here, or discard what is here',
    params: shape.migrationParamsSchema,
    body: shape.resolveRequestSchema,
    response: shape.resolveResultSchema,
    status: 200,
  },
  history: {
    method: 'GET',
    path: '/history',
    audience: 'local',
    summary: 'Reports of ended migrations from this host, newest first',
    query: shape.historyQuerySchema,
    response: shape.historySchema,
    status: 200,
  },
  ...autopilotRoutes,
  openapi: {
    method: 'GET',
    path: '/openapi.json',
    audience: 'local',
    summary: 'This description',
    response: 'openapi',
    status: 200,
  },
} as const satisfies Record<string, Route>;

export type Routes = typeof routes;
export type RouteName = keyof Routes;

type Part<Name extends RouteName, Key extends string> =
  Routes[Name] extends Record<Key, infer Schema extends z.ZodType> ? Schema : never;
/** What a caller writes. */
export type RequestOf<Name extends RouteName> = {
  readonly [Key in 'params' | 'query' | 'body' as Part<Name, Key> extends never ? never : Key]: z.input<
    Part<Name, Key>
  >;
};
/** What a handler gets: checked, defaults filled in. */
export type CheckedOf<Name extends RouteName> = {
  readonly [Key in 'params' | 'query' | 'body' as Part<Name, Key> extends never ? never : Key]: z.output<
    Part<Name, Key>
  >;
};
export type ResponseOf<Name extends RouteName> = z.output<Part<Name, 'response'>>;

/** "/vms/{name}" with its parameters filled in, escaped. */
export function pathOf(route: Route, params: Readonly<Record<string, string>> = {}): string {
  return route.path.replace(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(params[key] ?? ''));
}
