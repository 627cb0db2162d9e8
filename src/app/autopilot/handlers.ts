/**
 * The answers to the routes of the autopilot: what its own host's people ask, and what autopilots of other hosts ask of this one.
 *
 * Whose orders count is decided here, by the name in the caller's certificate: a lease is for any trusted host, everything
 * that touches a VM is for hosts that the configuration tells this one to obey, and a move besides only under the lease.
 */
import { ApiError } from '../../core/api/errors.ts';
import type { Caller, CheckedOf } from '../../core/api/routes.ts';
import type { MigrationState, PlanRequest, StartMigrationRequest } from '../../core/api/schemas.ts';
import type {
  AutopilotLogEntry,
  AutopilotRound,
  AutopilotStatus,
  DrainView,
  LeaseAnswer,
} from '../../core/model/autopilot.ts';
import type { MigrationView } from '../../core/model/migration.ts';
import { defaultMigrationOptions } from '../../core/model/migration.ts';
import type { MovePlan } from '../../core/model/plan.ts';
import type { Autopilot } from './autopilot.ts';
import type { DrainJob } from './drain-job.ts';
import type { FleetHost } from './fleet-host.ts';
import type { HostLease } from './lease.ts';

export type AutopilotHandlerParts = {
  readonly own: string;
  /** Hosts whose autopilots may order moves. */
  readonly obey: ReadonlySet<string>;
  readonly hosts: readonly FleetHost[];
  readonly lease: HostLease;
  readonly autopilot: Autopilot;
  readonly drain: DrainJob;
  readonly capacityBytes: () => number;
  readonly migrations: {
    start(wanted: StartMigrationRequest, signal: AbortSignal): Promise<MigrationView>;
    plan(wanted: PlanRequest, signal: AbortSignal): Promise<MovePlan>;
    find(id: string): MigrationState;
  };
};

/** Moves of the autopilot are as `migrate` makes them without options. */
const options = { ...defaultMigrationOptions, lanes: null, pull: null };

export function autopilotHandlers(parts: AutopilotHandlerParts) {
  const { own, lease, autopilot, drain, migrations } = parts;
  const now = async <Result>(result: Result): Promise<Result> => await Promise.resolve(result);
  return {
    autopilotLease: async (
      { body }: CheckedOf<'autopilotLease'>,
      _signal: AbortSignal,
      caller: Caller,
    ): Promise<LeaseAnswer> => {
      const holder = caller.peer ?? own;
      return await now({
        ...lease.ask({ holder, ...body }),
        ...{ obeys: isObeyed(parts, caller), draining: drain.draining, capacityBytes: parts.capacityBytes() },
      });
    },
    autopilotPlan: async (
      { body }: CheckedOf<'autopilotPlan'>,
      signal: AbortSignal,
      caller: Caller,
    ): Promise<MovePlan> => {
      requireObeyed(parts, caller);
      return await migrations.plan({ ...body, options, strategies: [options.strategy] }, signal);
    },
    autopilotMove: async (
      { body }: CheckedOf<'autopilotMove'>,
      signal: AbortSignal,
      caller: Caller,
    ): Promise<MigrationView> => {
      requireObeyed(parts, caller);
      requireLease(parts, caller, body.lease);
      const { vm, destination } = body;
      // What it would take is known from the round that chose it.
      return await migrations.start({ vm, destination, options, plan: false }, signal);
    },
    autopilotMoveState: async (
      { params }: CheckedOf<'autopilotMoveState'>,
      _signal: AbortSignal,
      caller: Caller,
    ): Promise<MigrationState> => {
      requireObeyed(parts, caller);
      return await now(migrations.find(params.id));
    },
    autopilotStatus: async (): Promise<AutopilotStatus> => await now(autopilot.status()),
    autopilotOn: async ({ body }: CheckedOf<'autopilotOn'>): Promise<AutopilotStatus> =>
      await autopilot.turnOn(body.settings, body.dryRun),
    autopilotOff: async (): Promise<AutopilotStatus> => await autopilot.turnOff(),
    autopilotRound: async ({ body }: CheckedOf<'autopilotRound'>): Promise<AutopilotRound> =>
      await autopilot.consider(body.settings),
    autopilotLog: async ({ query }: CheckedOf<'autopilotLog'>): Promise<{ entries: AutopilotLogEntry[] }> =>
      await now({ entries: autopilot.log(query) }),
    drain: async ({ body }: CheckedOf<'drain'>, _signal: AbortSignal, caller: Caller): Promise<DrainView> => {
      const { host, dryRun, settings } = body;
      const other = otherHost(parts, host, caller);
      if (other !== null) return await other.call('drain', { body });
      return dryRun ? await drain.plan(settings) : drain.begin(settings);
    },
    drainState: async (
      { params }: CheckedOf<'drainState'>,
      _signal: AbortSignal,
      caller: Caller,
    ): Promise<DrainView> => {
      const other = otherHost(parts, params.host, caller);
      return other !== null ? await other.call('drainState', { params }) : drain.view();
    },
    undrain: async ({ body }: CheckedOf<'undrain'>, _signal: AbortSignal, caller: Caller): Promise<DrainView> => {
      const other = otherHost(parts, body.host, caller);
      return other !== null ? await other.call('undrain', { body }) : drain.undrain();
    },
  };
}

/** A person at this host, and its own autopilot, always are. */
function isObeyed({ own, obey }: AutopilotHandlerParts, { peer }: Caller): boolean {
  return peer === null || peer === own || obey.has(peer);
}

/** Throws ApiError NOT_OBEYED. */
function requireObeyed(parts: AutopilotHandlerParts, caller: Caller): void {
  if (isObeyed(parts, caller)) return;
  const { own } = parts;
  const text =
    `Host "${own}" takes no orders from host "${caller.peer}"; nothing was done. If it is to, add ${caller.peer} to ` +
    `"autopilot.obey" in the configuration of ${own}.`;
  throw new ApiError('NOT_OBEYED', text, { host: own, peer: caller.peer });
}

/** Throws ApiError LEASE_NOT_HELD. */
function requireLease({ own, lease }: AutopilotHandlerParts, { peer }: Caller, id: string): void {
  const asking = peer ?? own;
  if (lease.isHeldBy(asking, id)) return;
  const { holder } = lease;
  const whom = holder === null ? 'no autopilot now' : `the autopilot of host "${holder}"`;
  const text = `Host "${own}" obeys ${whom}, and not this one of host "${asking}"; nothing was moved.`;
  throw new ApiError('LEASE_NOT_HELD', text, { host: own, holder, peer: asking });
}

/** The host that is to be asked instead; null: this one. Throws ApiError NOT_OBEYED, PEER_UNKNOWN. */
function otherHost(parts: AutopilotHandlerParts, name: string, caller: Caller): FleetHost | null {
  requireObeyed(parts, caller);
  const { own, hosts } = parts;
  if (name === own) return null;
  const known = hosts.filter((host) => host.name !== own).map((host) => host.name);
  const found = hosts.find((host) => host.name === name);
  // Another host asks about itself or this one; it does not send us to a third.
  if (found !== undefined && caller.peer === null) return found;
  const advice = known.length === 0 ? 'its configuration names none' : `it knows ${known.join(', ')}`;
  throw new ApiError('PEER_UNKNOWN', `Host "${own}" knows no host "${name}": ${advice}.`, { host: name, known });
}
