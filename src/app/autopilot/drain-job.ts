/**
 * Empties its own host: draining state on, plan, moves on the slots, plan again for what failed, and an end.
 *
 *     plan ──▶ begin what has a slot at both hosts ──▶ each end frees one ──▶ all ended ──▶ somebody left who could go?
 *      ▲                                                                                     │ yes, DRAIN_PLANS_MAX times
 *      └─────────────────────────────────────────────────────────────────────────────────────┘
 *
 * Ends for sure: a plan places each VM once, a way that failed is not tried again, and plans are bounded. The host stays
 * drained, also over a restart of the agent, until somebody undrains it; what is under way then is finished.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, describeError } from '../../core/base/errors.ts';
import type { DrainLineView, DrainView, MoveCost } from '../../core/model/autopilot.ts';
import type { MigrationReport } from '../../core/model/migration.ts';
import { formatMs } from '../../core/model/units.ts';
import { HostState } from '../../core/policy/fleet.ts';
import type { Fleet } from '../../core/policy/fleet.ts';
import { drainLines } from './drain-plan.ts';
import { quickCall } from './fleet-host.ts';
import type { FleetHost } from './fleet-host.ts';
import { FleetView } from './fleet-view.ts';
import type { AutopilotParts } from './autopilot.ts';
import { DRAIN_PLANS_MAX, DRAIN_WAIT_MS, FOLLOW_MS, LOOK_SETTLE_MS, ORDER_MS_MAX } from './limits.ts';
import { problemText, withoutStop } from './problem-text.ts';
import { autopilotSettings } from './settings.ts';
import type { AutopilotSettings, GivenSettings } from './settings.ts';

export type DrainParts = AutopilotParts & {
  /** Names of the VMs that are at this host, on their way to it included. */
  readonly vmsHere: () => readonly string[];
  /** Reservations are refused from now on, or no longer. */
  readonly close: (isClosed: boolean) => void;
};

const MEMORY = 'draining';
type Kept = { readonly sinceMs: number };
type Line = { -readonly [Key in keyof DrainLineView]: DrainLineView[Key] };

export class DrainJob {
  readonly #parts: DrainParts;
  #sinceMs: number | null = null;
  #lines: Line[] = [];
  #plans = 0;
  #problem: string | null = null;
  #stop: AbortController | null = null;
  #running: Promise<void> = Promise.resolve();
  readonly #failed = new Map<string, string>();

  constructor(parts: DrainParts) {
    this.#parts = parts;
    const kept = parts.log.recall(MEMORY) as Kept | null;
    if (kept === null) return;
    this.#sinceMs = kept.sinceMs;
    parts.close(true);
  }

  get draining(): boolean {
    return this.#sinceMs !== null;
  }

  view(): DrainView {
    return {
      ...{ host: this.#parts.own, draining: this.draining, sinceMs: this.#sinceMs, running: this.#stop !== null },
      ...{ empty: this.#parts.vmsHere().length === 0, plans: this.#plans, problem: this.#problem },
      lines: this.#lines.map((line) => ({ ...line })),
    };
  }

  /** What would be done. Throws PolicyError POLICY_CONFIG. */
  async plan(given: GivenSettings): Promise<DrainView> {
    const lines = await this.#plan(autopilotSettings({ ...this.#parts.defaults, ...given }));
    return { ...this.view(), running: false, plans: 1, lines, problem: null };
  }

  /** Begins, or goes on where a run before ended; one that runs goes on. Throws PolicyError POLICY_CONFIG. */
  begin(given: GivenSettings): DrainView {
    const settings = autopilotSettings({ ...this.#parts.defaults, ...given });
    if (this.#stop !== null) return this.view();
    const { log, close, clockMs, own } = this.#parts;
    close(true);
    this.#sinceMs ??= clockMs();
    log.keep(MEMORY, { sinceMs: this.#sinceMs } satisfies Kept);
    this.#note(`Host ${own} is being drained.`);
    const stop = new AbortController();
    this.#stop = stop;
    [this.#lines, this.#plans, this.#problem] = [[], 0, null];
    this.#failed.clear();
    this.#running = this.#run(settings, stop.signal)
      .catch((error: unknown) => {
        if (!stop.signal.aborted) this.#problem = describeError(error);
      })
      .finally(() => this.#ended(stop));
    return this.view();
  }

  /** Moves that have begun are finished; no further one begins. */
  undrain(): DrainView {
    const { log, close, own } = this.#parts;
    if (this.#sinceMs !== null) this.#note(`Host ${own} is not drained any more.`);
    this.#stop?.abort();
    this.#sinceMs = null;
    log.keep(MEMORY, null);
    close(false);
    return this.view();
  }

  /** The host stays drained. */
  async close(): Promise<void> {
    this.#stop?.abort();
    await this.#running;
  }

  #ended(stop: AbortController): void {
    if (this.#stop === stop) this.#stop = null;
    if (stop.signal.aborted) return;
    const { own, vmsHere } = this.#parts;
    const left = vmsHere();
    this.#note(left.length === 0 ? `Host ${own} is empty.` : `Host ${own} is drained but for ${left.join(', ')}.`);
  }

  async #run(settings: AutopilotSettings, signal: AbortSignal): Promise<void> {
    for (this.#plans = 1; ; this.#plans++) {
      const lines = await this.#plan(settings);
      signal.throwIfAborted();
      const known = new Set(lines.map(({ vm }) => vm));
      const hasMoves = lines.some(({ state }) => state !== 'stays');
      this.#lines = [...this.#lines.filter(({ vm, state }) => state === 'moved' && !known.has(vm)), ...lines];
      await this.#carryOut(settings, signal);
      await this.#followOthers(signal);
      const left = this.#parts.vmsHere();
      // Who could not go by the plan cannot go by another one, unless a move failed or somebody came.
      const mayGo = (vm: string): boolean => hasMoves && this.#failed.has(vm);
      const isFinal = left.every((vm) => this.#lines.some((line) => line.vm === vm) && !mayGo(vm));
      if (left.length === 0 || isFinal || this.#plans >= DRAIN_PLANS_MAX) break;
      await this.#untilSettled(signal);
    }
    this.#nameLeftovers();
  }

  /** Every slot of both hosts is used as soon as it is free, in the order of the plan. */
  async #carryOut({ movesAtATime }: AutopilotSettings, signal: AbortSignal): Promise<void> {
    const moving = new Map<Line, Promise<void>>();
    for (;;) {
      for (const line of signal.aborted ? [] : this.#lines) {
        const at = (host: string | null): number => [...moving.keys()].filter(({ to }) => to === host).length;
        if (line.state !== 'waiting' || moving.size >= movesAtATime || at(line.to) >= movesAtATime) continue;
        moving.set(
          line,
          this.#move(line).finally(() => moving.delete(line)),
        );
      }
      if (moving.size === 0) break;
      await Promise.race(moving.values());
    }
    signal.throwIfAborted();
  }

  /** VMs that somebody else was moving away when the plan was made. */
  async #followOthers(signal: AbortSignal): Promise<void> {
    const leaving = this.#lines.filter(({ state }) => state === 'moving');
    if (leaving.length === 0) return;
    await this.#untilSettled(signal);
    const here = this.#parts.vmsHere();
    for (const line of leaving) {
      if (here.includes(line.vm)) this.#failedWith(line, 'it was moved by somebody else, and came to nothing', true);
      else Object.assign(line, { state: 'moved', progress: 1, sentence: `${line.vm} has left for ${line.to}.` });
    }
  }

  /** Never throws: what goes wrong is in the line. */
  async #move(line: Line): Promise<void> {
    const { hosts, own } = this.#parts;
    const host = hosts.find(({ name }) => name === own)!;
    const { vm, to } = line;
    Object.assign(line, { state: 'moving', sentence: `${vm} is moving to ${to}.` });
    try {
      const body = { vm, destination: to! };
      const { id } = await host.call('startMigration', { body }, { timeoutMs: ORDER_MS_MAX });
      line.migration = id;
      const report = await this.#follow(host, line, id);
      if (report.outcome === 'completed') this.#moved(line, report);
      else this.#failedWith(line, report.reason);
    } catch (error) {
      // Somebody else has the VM: the way itself is as good as before.
      const isTaken = error instanceof AppError && (error.code as string) === 'VM_MIGRATING';
      this.#failedWith(line, problemText(error), isTaken);
    }
  }

  async #follow(host: FleetHost, line: Line, id: string): Promise<MigrationReport> {
    for (;;) {
      const { view, report } = await quickCall(host, 'showMigration', { params: { id } });
      if (report !== null) return report as MigrationReport;
      line.progress = view.progress;
      await sleep(FOLLOW_MS);
    }
  }

  #moved(line: Line, { totalMs, downtimeMs, bytes }: MigrationReport): void {
    const measured: MoveCost = { totalMs, downtimeMs: downtimeMs ?? 0, wireBytes: bytes.wire };
    const sentence = `${line.vm} is at ${line.to} now: ${formatMs(totalMs)}, downtime ${formatMs(measured.downtimeMs)}.`;
    Object.assign(line, { state: 'moved', progress: 1, measured, sentence });
    this.#failed.delete(line.vm);
    this.#parts.logger.info('drain.state', sentence, { vm: line.vm, to: line.to });
  }

  #failedWith(line: Line, why: string, mayTryAgain = false): void {
    const sentence = `${line.vm} stays, because its move to ${line.to} failed: ${withoutStop(why)}.`;
    Object.assign(line, { state: 'stays', progress: 0, sentence });
    this.#failed.set(line.vm, sentence);
    if (!mayTryAgain) this.#failed.set(`${line.vm} ${line.to}`, sentence);
    this.#parts.logger.warn('drain.state', sentence, { vm: line.vm, to: line.to });
  }

  /** A VM that has no other place to go stays because of the move that failed, not because of the plan after it. */
  #nameLeftovers(): void {
    for (const line of this.#lines) {
      const failure = this.#failed.get(line.vm);
      if (line.state === 'stays' && failure !== undefined) line.sentence = failure;
    }
  }

  async #plan(settings: AutopilotSettings): Promise<Line[]> {
    const view = new FleetView(settings.halfLifeMs);
    const fleet = await this.#look(view);
    const { own } = this.#parts;
    // Hosts tell what was a second ago: who is here is known better.
    const here = new Set(this.#parts.vmsHere());
    const lines = drainLines(fleet, {
      ...{ own, settings, telemetry: view.telemetryOf(own) },
      hasFailed: (vm, to) => this.#failed.has(`${vm} ${to}`),
    });
    return lines.filter(({ vm }) => here.has(vm));
  }

  /** What hosts tell of themselves now; the own host counts as drained, others as they say. */
  async #look(view: FleetView): Promise<Fleet> {
    const { hosts, clockMs, own } = this.#parts;
    const reports = await Promise.all(
      hosts.map(async (host) => {
        const silent = { name: host.name, state: HostState.Silent, capacityBytes: null, keepsVms: false };
        try {
          const [telemetry, answer] = await Promise.all([
            quickCall(host, 'telemetry', {}),
            quickCall(host, 'autopilotLease', { body: { id: LOOK_ID, ttlMs: 0 } }),
          ]);
          view.hear(telemetry, clockMs());
          const isDraining = answer.draining || host.name === own;
          const state = isDraining ? HostState.Draining : HostState.Active;
          return { ...silent, state, capacityBytes: answer.capacityBytes };
        } catch {
          return silent;
        }
      }),
    );
    return view.fleet(reports, new Map(), clockMs());
  }

  /** Until VMs that somebody else moves have come or gone, for a while. */
  async #untilSettled(signal: AbortSignal): Promise<void> {
    const { hosts, own, clockMs } = this.#parts;
    const host = hosts.find(({ name }) => name === own)!;
    const untilMs = clockMs() + DRAIN_WAIT_MS;
    // So that hosts have told of what has happened.
    await sleep(LOOK_SETTLE_MS, undefined, { signal });
    for (;;) {
      const { vms } = await quickCall(host, 'listVms', {});
      const isSettled = vms.every(({ state, migration }) => migration === null && state !== 'incoming');
      if (isSettled || clockMs() > untilMs) return;
      await sleep(FOLLOW_MS, undefined, { signal });
    }
  }

  #note(sentence: string): void {
    const { log, logger, clockMs, own } = this.#parts;
    log.add({ kind: 'state', dryRun: false, host: own, sentence, atMs: clockMs() });
    logger.info('drain.state', sentence);
  }
}

/** Of nobody who ever holds a lease: it only asks. */
const LOOK_ID = 'drain-look';
