/**
 * Migrations from this host: at most one per machine, each with any number of readers of its events.
 *
 * A machine is claimed before the first check and released when its migration has ended, or forgotten when the guest was
 * handed over. Whatever happens, the report ends up in the history.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../../core/api/errors.ts';
import type { MigrationEvent } from '../../core/api/events.ts';
import type { MigrationState, PlanRequest, ResolveWord, StartMigrationRequest } from '../../core/api/schemas.ts';
import { AppError, describeError } from '../../core/base/errors.ts';
import { defaultLanes } from '../../core/model/migration.ts';
import type { MigrationReport, MigrationView } from '../../core/model/migration.ts';
import type { MovePlan, PlanWish } from '../../core/model/plan.ts';
import type { PastMove } from '../../core/model/prediction.ts';
import type { Problem } from '../../core/model/vm.ts';
import { cpuCount } from '../../io/hoststat/host-stat.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { FerryHost, MigrationRequest, Peer, RunningMigration } from '../ferry/ports.ts';
import { endedView } from './ended-view.ts';
import type { History } from './history.ts';
import { PAST_MOVES_MAX, SHORT_PLAN_MS, SHORT_PLAN_TIMEOUT_MS, VIEW_INTERVAL_MS } from './limits.ts';
import { pastMoves } from './past-moves.ts';
import type { Vms } from './vms.ts';

/** What the agent needs of app/ferry, so that it can be tested without QEMU. */
export type FerryPort = {
  start(host: FerryHost, request: MigrationRequest, log: Logger): RunningMigration;
  preflight(host: FerryHost, request: MigrationRequest): Promise<Problem[]>;
  /** Looks at the guest for so long, and predicts. Throws what preflight throws; AbortError. */
  plan(host: FerryHost, request: MigrationRequest, wish: PlanWish, signal: AbortSignal): Promise<MovePlan>;
  /** What an earlier run of the agent left undone and is being settled. */
  recovered(): readonly RunningMigration[];
  /** Migrations to here whose guest still needs the other host, or lost it: for people. */
  arrivals(): readonly MigrationView[];
  /** Rate of the link to a host, as last measured, bytes per second; null: never measured. */
  linkBytesPerS(peer: string): number | null;
  /** A person's word about a migration in doubt, on either side of it. Throws FerryError when there is no such one. */
  resolve(migrationId: string, word: ResolveWord): void;
};

export type MigrationsParts = {
  readonly host: FerryHost;
  /** Names of the hosts that `host.findPeer` knows. */
  readonly peers: readonly string[];
  readonly vms: Vms;
  readonly history: History;
  readonly ferry: FerryPort;
  readonly log: Logger;
  /** For those who count: every migration from this host that has ended. */
  readonly onEnded: (report: MigrationReport) => void;
};

export class Migrations {
  readonly #parts: MigrationsParts;
  readonly #running = new Map<string, { readonly migration: RunningMigration; readonly ended: Promise<void> }>();
  /** By machine: looks for a plan, which make way for a migration. */
  readonly #looks = new Map<string, { readonly giveUp: AbortController; readonly ended: Promise<void> }>();
  #stopping = false;

  constructor(parts: MigrationsParts) {
    this.#parts = parts;
  }

  /**
   * Checks everything, then starts; returns as soon as it runs. `signal`: the caller went away, which before the start
   * means that nothing is to be started. Throws ApiError.
   */
  async start(wanted: StartMigrationRequest, signal: AbortSignal): Promise<MigrationView> {
    const { vms, ferry, host, log } = this.#parts;
    if (this.#stopping) throw new ApiError('SHUTTING_DOWN', 'The agent is being stopped; nothing was started.');
    const destination = this.#peer(wanted.destination);
    const pull = pullOf(wanted.options);
    const id = newMigrationId(new Date());
    await this.#endLook(wanted.vm);
    const vm = await vms.claim(wanted.vm, id);
    try {
      const lanes = wanted.options.lanes ?? defaultLanes(cpuCount());
      const unplanned = { id, vm, destination, options: { ...wanted.options, lanes, pull }, predicted: null };
      const { problems, request } = await this.#examine(unplanned, wanted.plan, signal).catch((error: unknown) => {
        throw untouched(vm.name, error);
      });
      if (problems.length > 0) throw refused(wanted, problems);
      if (signal.aborted || this.#stopping) {
        throw new ApiError(
          'SHUTTING_DOWN',
          `VM "${vm.name}" was not moved: the request was given up before the start.`,
        );
      }
      const migration = ferry.start(host, request, log);
      log.info('migration.accepted', `Moving VM "${vm.name}" to host "${destination.name}"`, { id, vm: vm.name });
      this.#running.set(id, { migration, ended: this.#finish(migration, vm.name) });
      return migration.view();
    } catch (error) {
      vms.release(wanted.vm, id);
      log.info('migration.refused', `VM "${wanted.vm}" was not moved`, { id, vm: wanted.vm, error });
      throw error;
    }
  }

  /**
   * The machine is claimed meanwhile: the monitor serves one at a time. A migration does not wait for that: the look is
   * given up. Throws ApiError and others.
   */
  async plan(wanted: PlanRequest, signal: AbortSignal): Promise<MovePlan> {
    const destination = this.#peer(wanted.destination);
    const { vm } = wanted;
    if (this.#looks.has(vm)) {
      throw new ApiError('VM_MIGRATING', `VM "${vm}" is being looked at for another plan.`, { vm });
    }
    const giveUp = new AbortController();
    const ended = Promise.withResolvers<void>();
    // Before the claim, which takes its time: a migration that is ordered meanwhile finds the look.
    this.#looks.set(vm, { giveUp, ended: ended.promise });
    try {
      return await this.#look(wanted, destination, AbortSignal.any([signal, giveUp.signal]));
    } catch (error) {
      if (!giveUp.signal.aborted) throw error;
      throw new ApiError('VM_MIGRATING', `VM "${vm}" is being moved; the look at it was given up.`, { vm });
    } finally {
      this.#looks.delete(vm);
      ended.resolve();
    }
  }

  list(): MigrationView[] {
    return [...[...this.#running.values()].map(({ migration }) => migration.view()), ...this.#parts.ferry.arrivals()];
  }

  /** Throws ApiError MIGRATION_UNKNOWN. */
  find(id: string): MigrationState {
    const running = this.#running.get(id);
    if (running !== undefined) return { view: running.migration.view(), report: null } as MigrationState;
    const report = this.#parts.history.find(id);
    const arrival = this.#parts.ferry.arrivals().find((view) => view.id === id);
    if (arrival !== undefined) return { view: arrival, report } as MigrationState;
    if (report === null) throw new ApiError('MIGRATION_UNKNOWN', `There is no migration ${id} on this host.`, { id });
    return { view: endedView(report), report } as MigrationState;
  }

  /** Throws ApiError MIGRATION_UNKNOWN. `accepted` is false when it is too late, or when it has ended already. */
  cancel(id: string, reason: string): { accepted: boolean; view: MigrationView } {
    const running = this.#running.get(id);
    if (running === undefined) return { accepted: false, view: this.find(id).view };
    return { accepted: running.migration.cancel(reason), view: running.migration.view() };
  }

  /** Views until the end, then the report. Throws ApiError MIGRATION_UNKNOWN before the first event. */
  async *events(id: string, signal: AbortSignal): AsyncGenerator<MigrationEvent> {
    const running = this.#running.get(id);
    if (running !== undefined) {
      const over = new AbortController();
      const woken = AbortSignal.any([signal, over.signal]);
      void running.ended.then(() => over.abort());
      while (!woken.aborted) {
        yield { type: 'view', view: running.migration.view() } as MigrationEvent;
        await sleep(VIEW_INTERVAL_MS, undefined, { signal: woken }).catch(() => undefined);
      }
      if (signal.aborted) return;
    }
    const { view, report } = this.find(id);
    yield { type: 'view', view } as MigrationEvent;
    if (report !== null) yield { type: 'report', report } as MigrationEvent;
  }

  /** Takes up what an earlier run of the agent left undone. Call before any machine may be touched. */
  takeUp(): void {
    for (const migration of this.#parts.ferry.recovered()) {
      const { id, vm } = migration.view();
      this.#parts.vms.claimForRecovery(vm, id);
      this.#running.set(id, { migration, ended: this.#finish(migration, vm) });
    }
  }

  /** A person decides about a migration in doubt. Throws ApiError MIGRATION_UNKNOWN, FerryError. */
  resolve(id: string, word: ResolveWord): void {
    this.#parts.ferry.resolve(id, word);
    this.#parts.log.warn('migration.resolved', `A person decided about migration ${id}: ${word}`, { id, word });
    this.#parts.vms.releaseAll(id);
  }

  /** Aborts what is not committed, waits for what is. No migration starts afterwards. */
  async shutdown(): Promise<void> {
    this.#stopping = true;
    for (const { migration } of this.#running.values()) migration.cancel('The agent of the source was stopped');
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
  }

  async #look(wanted: PlanRequest, destination: Peer, signal: AbortSignal): Promise<MovePlan> {
    const { vms, ferry, host } = this.#parts;
    const id = newMigrationId(new Date());
    const vm = await vms.claim(wanted.vm, id);
    try {
      signal.throwIfAborted();
      const { measureMs, strategies } = wanted;
      const lanes = wanted.options.lanes ?? defaultLanes(cpuCount());
      const options = { ...wanted.options, lanes, pull: pullOf(wanted.options) };
      const request = { id, vm, destination, options, predicted: null };
      return await ferry.plan(host, request, { measureMs, strategies, past: this.#pastMoves() }, signal);
    } catch (error) {
      throw untouched(vm.name, error);
    } finally {
      vms.release(vm.name, id);
    }
  }

  async #endLook(vm: string): Promise<void> {
    const look = this.#looks.get(vm);
    look?.giveUp.abort();
    await look?.ended;
  }

  /** What speaks against it, and where `wantsPlan`, what to expect of it: a plan that cannot be made holds nothing up. */
  async #examine(
    request: MigrationRequest,
    wantsPlan: boolean,
    signal: AbortSignal,
  ): Promise<{ readonly problems: readonly Problem[]; readonly request: MigrationRequest }> {
    const { ferry, host, log } = this.#parts;
    if (wantsPlan) {
      const { strategy } = request.options;
      const wish = { measureMs: SHORT_PLAN_MS, strategies: [strategy], past: this.#pastMoves() };
      try {
        const inTime = AbortSignal.any([signal, AbortSignal.timeout(SHORT_PLAN_TIMEOUT_MS)]);
        const { problems, predictions, facts } = await ferry.plan(host, request, wish, inTime);
        const [prediction] = predictions;
        return { problems, request: { ...request, predicted: prediction ? { ...prediction, facts } : null } };
      } catch (error) {
        log.warn('migration.unplanned', `Moving VM "${request.vm.name}" without a prediction`, {
          id: request.id,
          error,
        });
      }
    }
    return { problems: await ferry.preflight(host, request), request };
  }

  #pastMoves(): PastMove[] {
    return pastMoves(this.#parts.history.list({ limit: PAST_MOVES_MAX }));
  }

  async #finish(migration: RunningMigration, vm: string): Promise<void> {
    const { vms, history, log } = this.#parts;
    const report = await migration.done;
    const facts = { id: report.id, vm, totalMs: report.totalMs, downtimeMs: report.downtimeMs };
    try {
      history.add(report);
    } catch (error) {
      log.error('migration.failed', `The report of migration ${report.id} could not be kept`, { ...facts, error });
    }
    this.#parts.onEnded(report);
    // Nobody may touch a machine in doubt: the other host may own the guest. A person's word frees it.
    if (report.guest !== 'in doubt') vms.release(vm, migration.id);
    this.#running.delete(migration.id);
    const message = `Migration of VM "${vm}" ${report.outcome}: ${report.reason}`;
    if (report.outcome === 'completed') log.info('migration.completed', message, facts);
    else if (report.guest === 'in doubt') log.error('migration.inDoubt', message, facts);
    else log.warn(report.outcome === 'aborted' ? 'migration.aborted' : 'migration.failed', message, facts);
  }

  #peer(name: string): Peer {
    const { host, peers: known } = this.#parts;
    if (name === host.name) {
      throw new ApiError('SAME_HOST', `The destination "${name}" is this host itself; the guest was not touched.`);
    }
    const peer = host.findPeer(name);
    if (peer !== null) return peer;
    const advice = known.length === 0 ? 'its configuration names none' : `it knows ${known.join(', ')}`;
    throw new ApiError('PEER_UNKNOWN', `Host "${host.name}" knows no host "${name}": ${advice}.`, {
      destination: name,
      known,
    });
  }
}

function refused(wanted: StartMigrationRequest, problems: readonly Problem[]): ApiError {
  const text =
    `VM "${wanted.vm}" cannot be moved to host "${wanted.destination}" (${problems.length} ` +
    `${problems.length === 1 ? 'problem' : 'problems'}); the guest was not touched.`;
  return new ApiError('PREFLIGHT_REFUSED', text, { vm: wanted.vm, destination: wanted.destination }, { problems });
}

/** What kept the checks from being made (a certificate, an unreachable host), with where the guest is. */
function untouched(vm: string, error: unknown): unknown {
  if (!(error instanceof AppError)) return error;
  return new AppError(error.code, `VM "${vm}" was not moved, and not touched: ${describeError(error)}`, error.fields);
}

/** "20261121-073012-9f3a1c": sorts by time, short enough to type. */
export function newMigrationId(at: Date): string {
  const stamp = at.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  return `${stamp}-${randomBytes(3).toString('hex')}`;
}

/** Post-copy is a pull phase; elsewhere it takes the operator's word. Throws ApiError. */
function pullOf({ pull, strategy }: StartMigrationRequest['options']): boolean {
  if (strategy !== 'postcopy' || pull !== false) return pull ?? strategy === 'postcopy';
  const text =
    'Strategy "postcopy" runs the guest before its pages have come, which --no-pull forbids: choose another one.';
  throw new ApiError('INVALID_REQUEST', text, { strategy });
}
