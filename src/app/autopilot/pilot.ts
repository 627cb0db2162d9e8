/**
 * The autopilot while it is on, with one choice of settings: round after round it hears the hosts, decides, and acts.
 *
 *     leases (by their own clock) ──▶ who takes part
 *     telemetry ──▶ fleet ──▶ history.observe ──▶ decide ──▶ something to look at?  yes: look, next round at once
 *                                                                                   no: write down, order the moves
 *
 * Moves are ordered on a decision for which every prediction was there, and only at hosts whose lease is held at that moment.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AutopilotState, FleetHostStatus } from '../../core/model/autopilot.ts';
import { decide } from '../../core/policy/decide.ts';
import type { Decision, MoveDecision, Prediction } from '../../core/policy/decision.ts';
import { HostState } from '../../core/policy/fleet.ts';
import type { Fleet } from '../../core/policy/fleet.ts';
import type { PolicyHistory } from '../../core/policy/history.ts';
import { cpuShareOf, memoryShareOf } from '../../core/policy/marks.ts';
import { describeError } from '../../core/base/errors.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { DecisionLog } from './decision-log.ts';
import { quickCall } from './fleet-host.ts';
import type { FleetHost } from './fleet-host.ts';
import { FleetView } from './fleet-view.ts';
import type { HostReport } from './fleet-view.ts';
import { Forecasts } from './forecasts.ts';
import type { Wanted } from './forecasts.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { CALL_MS_MAX, LOOK_SETTLE_MS, PLANS_PER_ROUND, RENEWALS_PER_LEASE } from './limits.ts';
import type { Moves } from './moves.ts';
import { keyOfDecision, sentenceFor } from './round-sentences.ts';
import type { AutopilotSettings } from './settings.ts';

export type PilotParts = {
  readonly own: string;
  readonly hosts: readonly FleetHost[];
  readonly history: PolicyHistory;
  readonly moves: Moves;
  readonly log: DecisionLog;
  readonly logger: Logger;
  /** Milliseconds since 1970, but never going back. */
  readonly clockMs: () => number;
};

/** What was decided in a round, and what was missing for it. */
export type Considered = {
  readonly fleet: Fleet;
  readonly decisions: readonly Decision[];
  /** Ways that have to be looked at before anything is done. */
  readonly wanted: readonly Wanted[];
};

const cannotGo: Prediction = { totalMs: Infinity, downtimeMs: Infinity, wireBytes: Infinity };

export class Pilot {
  readonly settings: AutopilotSettings;
  readonly dryRun: boolean;
  readonly #parts: PilotParts;
  readonly #keeper: LeaseKeeper;
  readonly #view: FleetView;
  readonly #forecasts: Forecasts;
  readonly #stop = new AbortController();
  readonly #problems = new Map<string, string>();
  readonly #sentences = new Map<string, string>();
  #fleet: Fleet | null = null;
  #running: Promise<void> | null = null;
  #rounds = 0;
  #lastRoundAtMs: number | null = null;

  constructor(settings: AutopilotSettings, dryRun: boolean, parts: PilotParts) {
    this.settings = settings;
    this.dryRun = dryRun;
    this.#parts = parts;
    this.#keeper = new LeaseKeeper(parts.own, parts.hosts, parts.clockMs);
    this.#view = new FleetView(settings.halfLifeMs);
    this.#forecasts = new Forecasts(parts.clockMs);
  }

  get rounds(): number {
    return this.#rounds;
  }

  get lastRoundAtMs(): number | null {
    return this.#lastRoundAtMs;
  }

  start(): void {
    this.#running = Promise.all([this.#fly(), this.#keepLeases()]).then(() => undefined);
  }

  /** Returns when no further order can come from it. Leases are given back as far as hosts answer. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    if (!this.dryRun) await this.#keeper.release();
  }

  get state(): { readonly state: AutopilotState; readonly because: string } {
    const { own } = this.#parts;
    if (this.dryRun) return { state: 'dry run', because: `The autopilot of ${own} decides, and moves nothing.` };
    const { obstacle } = this.#keeper;
    if (obstacle !== null) {
      const because = `The autopilot of ${own} stands by: host ${obstacle.host} obeys the autopilot of host ${obstacle.holder}.`;
      return { state: 'standby', because };
    }
    const held = this.#parts.hosts.filter(({ name }) => this.#keeper.holds(name)).map(({ name }) => name);
    if (held.length === 0) {
      return { state: 'standby', because: `The autopilot of ${own} stands by: no host has answered yet.` };
    }
    return { state: 'acting', because: `The autopilot of ${own} acts for ${held.join(', ')}.` };
  }

  hostStatuses(): FleetHostStatus[] {
    return this.#parts.hosts.map(({ name }) => this.#hostStatus(name));
  }

  /** One round: what would be done. Nothing is written down, ordered, or remembered but the view. */
  async consider(observe: (fleet: Fleet) => PolicyHistory): Promise<Considered> {
    const { clockMs, moves } = this.#parts;
    await this.#hear();
    const reports = this.#parts.hosts.map(({ name }) => this.#reportOf(name));
    const ordered = new Map(moves.open.map(({ vm, to }) => [vm, to]));
    const fleet = this.#view.fleet(reports, ordered, clockMs());
    this.#fleet = fleet;
    const history = observe(fleet);
    this.#forecasts.begin();
    const decisions = decide(fleet, this.settings, history, (vm, from, to) => this.#predict(fleet, vm, [from, to]));
    const chosen = decisions
      .filter((each) => each.kind === 'move')
      .map((move) => wayOf(fleet, move))
      .filter((way) => !this.#forecasts.isExact(way));
    return { fleet, decisions, wanted: [...this.#forecasts.wanted(), ...chosen] };
  }

  /** Has the hosts look at their VMs: different hosts at the same time, each at one VM after the other. */
  async look(wanted: readonly Wanted[]): Promise<void> {
    const { signal } = this.#stop;
    const { measureMs } = this.settings;
    const now = Map.groupBy(wanted.slice(0, PLANS_PER_ROUND), ({ from }) => from);
    await Promise.all(
      this.#parts.hosts.map(async (host) => {
        for (const way of now.get(host.name) ?? []) {
          if (!signal.aborted) await this.#forecasts.look(host, way, { measureMs, signal });
        }
      }),
    );
    // A VM that is looked at is in the hands of that look: figures of that moment would call it busy.
    await sleep(LOOK_SETTLE_MS, undefined, { signal }).catch(() => undefined);
  }

  /** For a round by itself, without leases: what hosts say of themselves. */
  async lookAround(): Promise<void> {
    await this.#keeper.look();
  }

  /** Why VMs of the host could not be planned. */
  detailsOf(host: string): string[] {
    return this.#forecasts.problemsOf(host);
  }

  sentenceOf(decision: Decision): string {
    const { own } = this.#parts;
    const host = decision.kind === 'move' ? decision.fromName : decision.hostName;
    const { answer, problem } = this.#keeper.viewOf(host);
    const obeys = host === own || (answer?.obeys ?? true);
    return sentenceFor(decision, { own, obeys, problem: this.#problems.get(host) ?? problem });
  }

  async #keepLeases(): Promise<void> {
    const { signal } = this.#stop;
    const { leaseMs } = this.settings;
    let before = '';
    while (!signal.aborted) {
      if (this.dryRun) await this.#keeper.look();
      else await this.#keeper.renew(leaseMs);
      const { state, because } = this.state;
      if (because !== before && !signal.aborted) this.#noteState(state, because);
      before = because;
      await sleep(leaseMs / RENEWALS_PER_LEASE, undefined, { signal }).catch(() => undefined);
    }
  }

  #noteState(state: AutopilotState, because: string): void {
    const { log, logger, clockMs } = this.#parts;
    log.add({ kind: 'state', dryRun: this.dryRun, host: null, sentence: because, atMs: clockMs() });
    logger.info('autopilot.state', because, { state });
  }

  async #fly(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let isComplete = true;
      try {
        isComplete = await this.#round();
      } catch (error) {
        // One round is lost, not the autopilot.
        this.#parts.logger.error('autopilot.failed', 'A round of the autopilot failed', { error });
      }
      if (isComplete) await sleep(this.settings.roundMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** False: something had to be looked at first, so the next round comes at once. */
  async #round(): Promise<boolean> {
    const { history, clockMs } = this.#parts;
    // What is not held is not decided about; a dry run decides about all that answer.
    if (!this.dryRun && this.state.state !== 'acting') return true;
    const considered = await this.consider((fleet) => {
      history.observe(fleet, this.settings);
      return history;
    });
    if (this.#stop.signal.aborted) return true;
    this.#rounds++;
    this.#lastRoundAtMs = clockMs();
    const waiting = new Set(considered.wanted.map(({ from }) => from));
    for (const decision of considered.decisions) {
      const host = decision.kind === 'move' ? decision.fromName : decision.hostName;
      if (!waiting.has(host)) this.#carryOut(decision, host);
    }
    this.#parts.log.save();
    if (waiting.size === 0) return true;
    await this.look(considered.wanted);
    return false;
  }

  #carryOut(decision: Decision, host: string): void {
    const { log, clockMs, moves } = this.#parts;
    const sentence = this.sentenceOf(decision);
    this.#sentences.set(host, sentence);
    const entry = { dryRun: this.dryRun, host, sentence, details: this.#detailsFor(decision), atMs: clockMs() };
    if (decision.kind === 'stay') {
      log.addOrCount(host, keyOfDecision(decision), { ...entry, kind: 'stay' });
      return;
    }
    const { vmName: vm, fromName: from, toName: to, prediction: predicted } = decision;
    if (this.dryRun) {
      const none = { migration: null, outcome: null, endedAtMs: null, measured: null, error: null };
      log.addOrCount(host, keyOfDecision(decision), {
        ...entry,
        kind: 'move',
        move: { vm, from, to, predicted, ...none },
      });
      return;
    }
    // A lease may have run out while the round went on: its host and those that it knows of are left alone.
    if (this.#keeper.holds(from) && this.#keeper.holds(to)) {
      log.forgetLatest();
      moves.begin({ vm, from, to, predicted }, this.#keeper.id, sentence);
    }
  }

  #detailsFor(decision: Decision): string[] {
    if (decision.kind === 'move' || decision.reason.why !== 'no VM can go') return [];
    return decision.reason.refused['no prediction'] === 0 ? [] : this.detailsOf(decision.hostName);
  }

  async #hear(): Promise<void> {
    const { clockMs, hosts } = this.#parts;
    // The figures of those that answer grow old while one that is silent is waited for.
    const timeoutMs = Math.min(CALL_MS_MAX, Math.ceil(this.settings.figuresAgeMsMax / 3));
    await Promise.all(
      hosts.map(async (host) => {
        try {
          this.#view.hear(await quickCall(host, 'telemetry', {}, timeoutMs), clockMs());
          this.#problems.delete(host.name);
        } catch (error) {
          this.#problems.set(host.name, describeError(error));
        }
      }),
    );
  }

  #reportOf(name: string): HostReport {
    const { answer } = this.#keeper.viewOf(name);
    const takesPart = this.dryRun ? answer !== null : this.#keeper.holds(name);
    const state = answer?.draining === true ? HostState.Draining : HostState.Active;
    return {
      ...{ name, state: takesPart ? state : HostState.Silent, capacityBytes: answer?.capacityBytes ?? null },
      keepsVms: name !== this.#parts.own && answer?.obeys !== true,
    };
  }

  #predict(fleet: Fleet, vm: number, [from, to]: readonly [number, number]): Prediction {
    const way = wayBetween(fleet, vm, [from, to]);
    const known = this.#view.telemetryOf(way.from)?.peers.some(({ name }) => name === way.to) ?? false;
    return known ? this.#forecasts.predict(way) : cannotGo;
  }

  #hostStatus(name: string): FleetHostStatus {
    const { answer, problem } = this.#keeper.viewOf(name);
    const fleet = this.#fleet;
    const host = fleet === null || this.#view.telemetryOf(name) === null ? null : fleet.hostNamed(name);
    const holder = answer?.holder ?? null;
    const lease = this.#keeper.holds(name) ? 'held' : answer === null ? 'silent' : holder === null ? 'free' : 'other';
    return {
      ...{ name, lease, holder, obeys: answer?.obeys ?? false, draining: answer?.draining ?? false },
      cpuShare: host === null ? null : cpuShareOf(fleet!, host),
      memoryShare: host === null ? null : memoryShareOf(fleet!, host),
      vms: host === null ? null : fleet!.vmsAt(host).length,
      figuresAgeMs: host === null ? null : Math.max(0, this.#parts.clockMs() - fleet!.figuresAtMs[host]!),
      problem: this.#problems.get(name) ?? problem,
      sentence: this.#sentences.get(name) ?? null,
    };
  }
}

function wayOf(fleet: Fleet, { vm, from, to }: MoveDecision): Wanted {
  return wayBetween(fleet, vm, [from, to]);
}

function wayBetween(fleet: Fleet, vm: number, [from, to]: readonly [number, number]): Wanted {
  return {
    vm: fleet.vmNames[vm]!,
    from: fleet.hostNames[from]!,
    to: fleet.hostNames[to]!,
    residentBytes: fleet.residentBytes[vm]!,
  };
}
