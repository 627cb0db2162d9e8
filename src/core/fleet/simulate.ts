/**
 * A day of a fleet under a policy, in steps of half a minute.
 *
 *     loads of the moment ──▶ what the hosts can give ──▶ weighted averages ──▶ policy ──▶ moves, which take their time
 *
 * Pure and deterministic: options in, figures out. The policy sees averages, as in life; time above the threshold is counted
 * by the loads themselves.
 */
import { assert } from '../base/assert.ts';
import { autopilotConfig } from '../policy/config.ts';
import type { AutopilotConfig } from '../policy/config.ts';
import type { Predict, Prediction } from '../policy/decision.ts';
import type { Fleet } from '../policy/fleet.ts';
import { PolicyHistory } from '../policy/history.ts';
import { HOSTS_MAX, VMS_MAX } from '../policy/limits.ts';
import { sampleWeight } from '../policy/load-average.ts';
import { SimError } from './errors.ts';
import { LoadSeries, TICK_MS } from './load-series.ts';
import { costOfMove } from './move-cost.ts';
import { between, fraction } from './noise.ts';
import { createPopulation } from './population.ts';
import type { Population } from './population.ts';
import { simPolicies } from './sim-policies.ts';
import type { SimPolicyName, Wanted } from './sim-policies.ts';

export type SimOptions = {
  readonly hosts: number;
  readonly vms: number;
  readonly policy: SimPolicyName;
  readonly seed: number;
  readonly hours: number;
  readonly config?: Partial<AutopilotConfig>;
  /** Called now and then, for those who watch time and memory. */
  readonly onTick?: (tick: number, tickCount: number) => void;
};

export type SimResult = {
  readonly policy: SimPolicyName;
  /** Host-seconds: how many hosts were above the threshold, added up over the seconds. */
  readonly timeAboveThreshold: number;
  readonly moves: number;
  readonly bytes: number;
  readonly downtimeMs: number;
  /** Moves that brought a VM back to a host that it had left less than six hours before. */
  readonly pingPong: number;
};
/** Means of each hour, for charts. */
export type SimSeries = { readonly hostsAbove: readonly number[]; readonly moves: readonly number[] };

const HOURS_MAX = 24 * 14;
const HOUR_MS = 3_600_000;
export const PING_PONG_MS = 6 * HOUR_MS;
/** What a move costs each of its two hosts while it lasts. */
const MOVE_CORES = 1;
/** What QEMU's own threads use beside the vCPUs. */
const OVERHEAD_CORES = 0.03;
const OVERHEAD_SHARE = 0.04;
/** A prediction is not what comes: measured divided by predicted. */
const PREDICTION_ERROR = [0.9, 1.25] as const;

/** Throws SimError and PolicyError. */
export function simulate(options: SimOptions): { readonly result: SimResult; readonly series: SimSeries } {
  checkOptions(options);
  const day = new SimulatedDay(options, autopilotConfig(options.config));
  const tickCount = Math.round((options.hours * HOUR_MS) / TICK_MS);
  for (let tick = 0; tick < tickCount; tick++) {
    day.advance(tick);
    options.onTick?.(tick, tickCount);
  }
  return day.figures();
}

type OpenMove = Prediction & {
  readonly vm: number;
  readonly from: number;
  readonly to: number;
  readonly endMs: number;
};

class SimulatedDay {
  readonly #options: SimOptions;
  readonly #config: AutopilotConfig;
  readonly #population: Population;
  readonly #fleet: Fleet;
  readonly #loads: LoadSeries;
  readonly #history = new PolicyHistory();
  readonly #predict: Predict;
  readonly #demandCores: Float64Array;
  readonly #hostDemandCores: Float64Array;
  #open: OpenMove[] = [];
  /** When a VM left a host, by both numbers in one. */
  readonly #leftMs = new Map<number, number>();
  readonly #total = { above: 0, moves: 0, bytes: 0, downtimeMs: 0, pingPong: 0 };
  readonly #series: { hostsAbove: number[]; moves: number[] } = { hostsAbove: [], moves: [] };

  constructor(options: SimOptions, config: AutopilotConfig) {
    this.#options = options;
    this.#config = config;
    this.#population = createPopulation(options.hosts, options.vms, options.seed);
    this.#fleet = this.#population.fleet;
    this.#loads = new LoadSeries(this.#population.vcpus, options.seed);
    this.#demandCores = new Float64Array(options.vms);
    this.#hostDemandCores = new Float64Array(options.hosts);
    this.#predict = (vm, from, to) => costOfMove(this.#population, [vm, from, to]);
  }

  advance(tick: number): void {
    const atMs = tick * TICK_MS;
    this.#landMoves(atMs);
    this.#loads.at(tick, this.#demandCores);
    this.#addUpDemand();
    this.#countHostsAbove(atMs);
    this.#measure(tick === 0 ? 1 : sampleWeight(TICK_MS));
    this.#fleet.figuresAtMs.fill(atMs);
    this.#fleet.refresh(atMs);
    const { seed, policy } = this.#options;
    const [fleet, config, history, predict] = [this.#fleet, this.#config, this.#history, this.#predict];
    for (const wanted of simPolicies[policy]({ fleet, config, history, predict, seed, tick }))
      this.#begin(wanted, atMs);
  }

  figures(): { result: SimResult; series: SimSeries } {
    const { above, moves, bytes, downtimeMs, pingPong } = this.#total;
    const timeAboveThreshold = (above * TICK_MS) / 1000;
    const result = { policy: this.#options.policy, timeAboveThreshold, moves, bytes, downtimeMs, pingPong };
    return { result, series: this.#series };
  }

  /** Hot: no allocation. */
  #addUpDemand(): void {
    const [sums, demand] = [this.#hostDemandCores, this.#demandCores];
    sums.fill(0);
    for (let vm = 0; vm < demand.length; vm++) {
      const cores = demand[vm]!;
      sums[this.#fleet.vmHost[vm]!]! += cores + OVERHEAD_CORES + cores * OVERHEAD_SHARE;
    }
    for (const { from, to } of this.#open) {
      sums[from]! += MOVE_CORES;
      sums[to]! += MOVE_CORES;
    }
  }

  #countHostsAbove(atMs: number): void {
    let count = 0;
    for (let host = 0; host < this.#hostDemandCores.length; host++) {
      if (this.#hostDemandCores[host]! > this.#config.thresholdShare * this.#fleet.cores[host]!) count++;
    }
    this.#total.above += count;
    const hour = Math.floor(atMs / HOUR_MS);
    this.#series.hostsAbove[hour] = (this.#series.hostsAbove[hour] ?? 0) + (count * TICK_MS) / HOUR_MS;
    this.#series.moves[hour] ??= 0;
  }

  /** What VMs get is what can be seen of them: less than they want where the host has no more. Hot: no allocation. */
  #measure(weight: number): void {
    const { guestCores, overheadCores, vmHost, cores } = this.#fleet;
    for (let vm = 0; vm < guestCores.length; vm++) {
      const host = vmHost[vm]!;
      const given = this.#demandCores[vm]! * Math.min(1, cores[host]! / this.#hostDemandCores[host]!);
      guestCores[vm]! += (given - guestCores[vm]!) * weight;
      overheadCores[vm] = OVERHEAD_CORES + guestCores[vm]! * OVERHEAD_SHARE;
    }
  }

  #begin({ vm, to }: Wanted, atMs: number): void {
    const from = this.#fleet.vmHost[vm]!;
    const predicted = this.#predict(vm, from, to);
    const factor = between(...PREDICTION_ERROR, fraction(this.#options.seed, vm, Math.round(atMs / TICK_MS)));
    const [totalMs, downtimeMs] = [predicted.totalMs * factor, predicted.downtimeMs * factor];
    const wireBytes = Math.round(predicted.wireBytes * factor);
    this.#fleet.beginMove(vm, to);
    this.#history.moveBegan({ ...this.#names(vm, from, to), atMs, ...predicted });
    this.#open.push({ vm, from, to, endMs: atMs + totalMs, totalMs, downtimeMs, wireBytes });
    this.#series.moves[Math.floor(atMs / HOUR_MS)]!++;
  }

  #landMoves(atMs: number): void {
    if (this.#open.length === 0) return;
    for (const move of this.#open) if (move.endMs <= atMs) this.#land(move, atMs);
    this.#open = this.#open.filter(({ endMs }) => endMs > atMs);
    if (atMs % HOUR_MS === 0) {
      for (const [key, leftMs] of this.#leftMs) if (atMs - leftMs > PING_PONG_MS) this.#leftMs.delete(key);
    }
  }

  #land({ vm, from, to, downtimeMs, wireBytes }: OpenMove, atMs: number): void {
    const keyOf = (host: number): number => vm * this.#fleet.hostCount + host;
    this.#fleet.endMove(vm, true);
    this.#history.moveEnded({ ...this.#names(vm, from, to), atMs, downtimeMs, wireBytes }, true);
    this.#total.moves++;
    this.#total.bytes += wireBytes;
    this.#total.downtimeMs += downtimeMs;
    if (atMs - (this.#leftMs.get(keyOf(to)) ?? -Infinity) < PING_PONG_MS) this.#total.pingPong++;
    this.#leftMs.set(keyOf(from), atMs);
    assert(this.#fleet.usedBytes[to]! <= this.#fleet.memoryBytes[to]!, 'no policy may overfill a memory');
  }

  #names(vm: number, from: number, to: number): { vm: string; from: string; to: string } {
    const { vmNames, hostNames } = this.#fleet;
    return { vm: vmNames[vm]!, from: hostNames[from]!, to: hostNames[to]! };
  }
}

function checkOptions({ hosts, vms, seed, hours }: SimOptions): void {
  const check = (name: string, value: number, [min, max]: readonly [number, number]): void => {
    if (Number.isInteger(value) && value >= min && value <= max) return;
    throw new SimError('SIM_OPTIONS', `${name} is ${value}; expected: a whole number from ${min} to ${max}`, { name });
  };
  check('hosts', hosts, [1, HOSTS_MAX]);
  check('vms', vms, [0, VMS_MAX]);
  check('seed', seed, [0, 2 ** 32 - 1]);
  check('hours', hours, [1, HOURS_MAX]);
}
