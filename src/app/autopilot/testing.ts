/**
 * Stand-ins for tests of this room: hosts without agents. They keep leases, tell of their VMs, and move them at once or when the
 * test says so.
 */
import type { RequestOf } from '../../core/api/routes.ts';
import { samplePlan, sampleReport, sampleView } from '../../core/api/testing.ts';
import type { HostTelemetry, VmTelemetry } from '../../core/model/telemetry.ts';
import { ClientError, RefusalError } from '../client/errors.ts';
import type { CallName, FleetHost } from './fleet-host.ts';
import { HostLease } from './lease.ts';

const GB = 2 ** 30;

export function sampleVm(name: string, guestCores: number, change: Partial<VmTelemetry> = {}): VmTelemetry {
  const rates = { receivedBytesPerS: 0, sentBytesPerS: 0 };
  return {
    ...{ name, state: 'running', vcpus: 1, guestCores, overheadCores: 0, capCores: null },
    memory: { assignedBytes: GB, residentBytes: GB / 2, usedBytes: null },
    ...{ dirty: null, dirtyBytesPerS: null, network: rates, disk: { readBytesPerS: 0, writtenBytesPerS: 0 } },
    ...{ migration: null, ...change },
  };
}

export function sampleTelemetry(host: string, vms: readonly VmTelemetry[], change: Partial<HostTelemetry> = {}) {
  const rates = { receivedBytesPerS: 0, sentBytesPerS: 0 };
  return {
    ...{ host, atMs: 1_000_000, ageMs: 0, network: rates, disk: { readBytesPerS: 0, writtenBytesPerS: 0 } },
    cpu: { cores: 1, usedCores: null, guestCores: vms.reduce((sum, vm) => sum + (vm.guestCores ?? 0), 0) },
    ...{ memory: { totalBytes: 16 * GB, availableBytes: 8 * GB }, peers: [], vms, ...change },
  } satisfies HostTelemetry;
}

/** Hosts that know each other. */
export class FakeFleet {
  readonly hosts: ReadonlyMap<string, FakeHost>;
  /** What was ordered, like "web from a to b by a". */
  readonly orders: string[] = [];
  readonly clockMs: () => number;

  constructor(names: readonly string[], clockMs: () => number = () => performance.timeOrigin + performance.now()) {
    this.clockMs = clockMs;
    this.hosts = new Map(names.map((name) => [name, new FakeHost(name, this)]));
  }

  host(name: string): FakeHost {
    return this.hosts.get(name)!;
  }

  /** All of them, as the agent of one reaches them. */
  seenFrom(own: string): FleetHost[] {
    return [...this.hosts.values()].map((host) => ({
      name: host.name,
      call: async (name, request) => {
        await Promise.resolve();
        if (host.isMute) return await new Promise<never>(() => undefined);
        if (!this.host(own).isUp) throw new Error(`the agent of ${own} is gone`);
        return host.answer(name, request, own) as never;
      },
    }));
  }
}

export class FakeHost {
  readonly name: string;
  readonly lease: HostLease;
  vms: VmTelemetry[] = [];
  cores = 1;
  isUp = true;
  /** It takes requests and never answers. */
  isMute = false;
  obeys = true;
  draining = false;
  /** Figures no longer change. */
  isStuck = false;
  /** What a plan answers with, and a move: null is a success. */
  planProblem: string | null = null;
  moveProblem: string | null = null;
  /** Moves last until the test ends them. */
  isSlow = false;
  plans = 0;
  readonly #fleet: FakeFleet;
  readonly #moves = new Map<
    string,
    { readonly vm: string; readonly to: string; end: 'completed' | 'aborted' | null }
  >();
  #stuckAtMs = 0;

  constructor(name: string, fleet: FakeFleet) {
    this.name = name;
    this.#fleet = fleet;
    this.lease = new HostLease(fleet.clockMs);
  }

  answer(name: CallName, request: unknown, caller: string): unknown {
    if (!this.isUp) throw new ClientError('AGENT_UNREACHABLE', `Host "${this.name}" cannot be reached`);
    const { body, params } = request as { body: never; params: never };
    switch (name) {
      case 'telemetry':
        return this.telemetry();
      case 'autopilotLease': {
        const asked = body as RequestOf<'autopilotLease'>['body'];
        const { obeys, draining } = this;
        return { ...this.lease.ask({ holder: caller, ...asked }), obeys, draining, capacityBytes: 16 * GB };
      }
      case 'autopilotPlan':
        return this.#plan(body);
      case 'autopilotMove': {
        const order = body as RequestOf<'autopilotMove'>['body'];
        if (!this.lease.isHeldBy(caller, order.lease)) throw refusal('LEASE_NOT_HELD', 'No lease');
        return this.#begin(order, caller);
      }
      case 'startMigration':
        return this.#begin(body, caller);
      case 'autopilotMoveState':
      case 'showMigration':
        return this.#state(params);
      case 'listVms':
        return { vms: this.vms };
      default:
        throw new Error(`${name} is not part of this stand-in`);
    }
  }

  telemetry(): HostTelemetry {
    const nowMs = this.#fleet.clockMs();
    if (!this.isStuck) this.#stuckAtMs = nowMs;
    const peers = [...this.#fleet.hosts.keys()].filter((name) => name !== this.name);
    return sampleTelemetry(this.name, this.vms, {
      ...{ atMs: this.#stuckAtMs, ageMs: nowMs - this.#stuckAtMs },
      cpu: { cores: this.cores, usedCores: null, guestCores: 0 },
      peers: peers.map((name) => ({ name, reachable: true, roundTripMs: 1, linkBytesPerS: null })),
    });
  }

  /** The moves from here that are under way end like this. */
  endMoves(end: 'completed' | 'aborted'): void {
    for (const move of this.#moves.values()) if (move.end === null) this.#end(move, end);
  }

  #plan({ vm, destination }: RequestOf<'autopilotPlan'>['body']): unknown {
    this.plans++;
    if (this.planProblem !== null) throw refusal('PREFLIGHT_REFUSED', this.planProblem);
    // Tenths of seconds by the number in its name: a tie, in which the downtime decides.
    const tenths = Number(/\d+$/.exec(vm)?.[0] ?? 1);
    const [first] = samplePlan.predictions;
    const totalMs = { low: 0, expected: tenths * 100, high: 0 };
    const downtimeMs = { low: 0, expected: tenths * 10, high: 0 };
    return { ...samplePlan, vm, destination, predictions: [{ ...first!, totalMs, downtimeMs }] };
  }

  #begin({ vm, destination }: { vm: string; destination: string }, caller: string): unknown {
    this.#fleet.orders.push(`${vm} from ${this.name} to ${destination} by ${caller}`);
    if (!this.vms.some(({ name }) => name === vm)) throw refusal('VM_UNKNOWN', `There is no VM "${vm}" here`);
    if (this.moveProblem !== null) throw refusal('PREFLIGHT_REFUSED', this.moveProblem);
    const { isUp, draining } = this.#fleet.host(destination);
    if (!isUp) throw refusal('LINK_UNREACHABLE', `Host "${destination}" cannot be reached`);
    if (draining) throw refusal('PREFLIGHT_REFUSED', `Host "${destination}" is being drained`);
    const id = `m${this.#moves.size + 1}-${this.name}`;
    const move = { vm, to: destination, end: null };
    this.#moves.set(id, move);
    this.vms = this.vms.map((each) => (each.name === vm ? { ...each, state: 'migrating', migration: id } : each));
    if (!this.isSlow) this.#end(move, 'completed');
    return sampleView({ id, vm, source: this.name, destination });
  }

  #end(move: { readonly vm: string; readonly to: string; end: string | null }, end: 'completed' | 'aborted'): void {
    Object.assign(move, { end });
    const vm = this.vms.find(({ name }) => name === move.vm)!;
    const settled: VmTelemetry = { ...vm, state: 'running', migration: null };
    this.vms = this.vms.filter((each) => each !== vm);
    const host = end === 'completed' ? this.#fleet.host(move.to) : this;
    host.vms = [...host.vms, settled];
  }

  #state({ id }: { id: string }): unknown {
    const move = this.#moves.get(id);
    if (move === undefined) throw refusal('MIGRATION_UNKNOWN', `There is no migration ${id}`);
    const view = sampleView({ id, vm: move.vm });
    return { view, report: move.end === null ? null : sampleReport({ id, vm: move.vm, outcome: move.end }) };
  }
}

function refusal(code: string, message: string): RefusalError {
  return new RefusalError(422, { code, message, fields: {}, problems: [] });
}

/** Until it is so. */
export async function until(what: () => boolean, message: string, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!what()) {
    if (performance.now() > deadline) throw new Error(`${message}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
