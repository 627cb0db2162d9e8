/** The autopilot of this agent: the hosts that it talks to, its files, and its answers. */
import { join } from 'node:path';
import { routes } from '../../core/api/routes.ts';
import type { Route } from '../../core/api/routes.ts';
import type { Logger } from '../../io/log/logger.ts';
import { Autopilot } from '../autopilot/autopilot.ts';
import { DecisionLog } from '../autopilot/decision-log.ts';
import { DrainJob } from '../autopilot/drain-job.ts';
import type { CallName, FleetHost } from '../autopilot/fleet-host.ts';
import { autopilotHandlers } from '../autopilot/handlers.ts';
import { HostLease } from '../autopilot/lease.ts';
import { PeerClients } from '../client/peer-clients.ts';
import type { TlsIdentity } from '../ferry/ports.ts';
import type { AgentConfig } from './config.ts';
import type { Handlers } from './http-server.ts';
import type { Migrations } from './migrations.ts';
import type { Reservations } from './reservations.ts';
import type { Vms } from './vms.ts';

export type AgentAutopilotParts = {
  readonly tls: TlsIdentity;
  readonly vms: Vms;
  readonly migrations: Migrations;
  readonly reservations: Reservations;
  readonly log: Logger;
  /** All answers of this agent, for its own autopilot; not asked for before `restore`. */
  readonly handlers: () => Handlers;
};

export type AgentAutopilot = {
  readonly handlers: ReturnType<typeof autopilotHandlers>;
  /** Goes on with what was on when the agent ended. */
  readonly restore: () => void;
  /** No further order. Moves that have begun are the next run's; those of a drain are waited for. */
  readonly halt: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Answers to these are waited for while guests are looked at or checked. */
const slowCalls: ReadonlySet<CallName> = new Set(['autopilotPlan', 'autopilotMove', 'drain', 'undrain', 'drainState']);

/** Throws AutopilotError LOG_UNREADABLE. */
export function createAutopilot(config: AgentConfig, parts: AgentAutopilotParts): AgentAutopilot {
  const { tls, vms, migrations, reservations, log: logger, handlers } = parts;
  const { obey, ...defaults } = config.autopilot;
  const own = config.name;
  const peers = Object.entries(config.peers).map(([name, place]) => ({ name, ...place }));
  // A connection carries one request at a time: what is quick must not wait for what is slow.
  const [quick, slow] = [new PeerClients(tls, peers), new PeerClients(tls, peers)];
  const clockMs = fleetClock();
  const hosts: FleetHost[] = [
    ownHost(own, handlers),
    ...peers.map(({ name }): FleetHost => {
      const clientFor = (call: CallName) => (slowCalls.has(call) ? slow : quick).of(name)!;
      return { name, call: async (call, request, options) => await clientFor(call).call(call, request, options) };
    }),
  ];
  const log = new DecisionLog(join(config.stateFolder, 'autopilot.db'));
  const lease = new HostLease(() => performance.now());
  const drain = new DrainJob({
    ...{ own, hosts, defaults, log, logger, clockMs, vmsHere: () => vms.present() },
    close: (isClosed) => reservations.close(isClosed ? drainingProblem(own) : null),
  });
  const autopilot = new Autopilot({ own, hosts, defaults, log, logger, clockMs });
  const capacityBytes = (): number => reservations.capacity.memoryBytes;
  const halt = async (): Promise<void> => {
    await Promise.all([autopilot.close(), drain.close()]);
  };
  return {
    handlers: autopilotHandlers({
      ...{ own, hosts, lease, autopilot, drain, capacityBytes, migrations },
      obey: new Set(obey),
    }),
    restore: () => autopilot.restore(),
    halt,
    close: async () => {
      await halt();
      await Promise.all([quick.close(), slow.close()]);
      log.close();
    },
  };
}

function drainingProblem(host: string): { code: string; message: string } {
  return {
    code: 'HOST_DRAINING',
    message: `Host "${host}" is being drained and takes no VM; end that with "vmferry undrain ${host}".`,
  };
}

/** The calls of the own host: checked like those that come over a socket, but without one. */
function ownHost(name: string, handlers: () => Handlers): FleetHost {
  return {
    name,
    call: async (call, request, options) => {
      const route: Route = routes[call];
      const { params, query, body } = request as { params?: unknown; query?: unknown; body?: unknown };
      const checked = {
        params: route.params?.parse(params ?? {}),
        query: route.query?.parse(query ?? {}),
        body: route.body?.parse(body ?? {}),
      };
      const signal = options?.signal ?? new AbortController().signal;
      const handle = handlers()[call] as unknown as (checked: unknown, signal: AbortSignal, caller: object) => unknown;
      return (await handle(checked, signal, { peer: name })) as never;
    },
  };
}

/** Milliseconds since 1970 that never go back: what is remembered over restarts has a place on it. */
function fleetClock(): () => number {
  const offsetMs = Date.now() - performance.now();
  return () => offsetMs + performance.now();
}
