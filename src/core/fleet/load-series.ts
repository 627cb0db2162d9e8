/**
 * What the VMs of the simulated fleet want to do: a daily pattern, bursts, and noise.
 *
 * Nothing is stored but the parameters of each VM and its running burst; the load of a moment is computed when it is that
 * moment. 100,000 VMs take 2.5 MB.
 */
import { below, between, fraction, noise } from './noise.ts';

export const TICK_MS = 30_000;
const TICKS_PER_MINUTE = 60_000 / TICK_MS;
const DAY_MINUTES = 1_440;

/** Share of the VMs, and the hours between which their pattern is high; none: it is always half high. */
const patterns: readonly { readonly share: number; readonly hours: readonly [number, number] | null }[] = [
  { share: 0.45, hours: [7, 18] },
  { share: 0.25, hours: [16, 24] },
  { share: 0.1, hours: [0, 6] },
  { share: 0.2, hours: null },
];
/** VMs of one pattern do not rise in the same minute. */
const PHASE_MINUTES = 90;
/** Shares of the VM's vCPUs. */
const BASE = [0.04, 0.22] as const;
const SWING = [0.1, 0.55] as const;
const BURST = [0.2, 0.7] as const;
/** One burst in eight hours, most of them short. */
const BURST_PROBABILITY = TICK_MS / (8 * 3_600_000);
const BURST_TICKS_MAX = 40 * TICKS_PER_MINUTE;
/** Up and down from one moment to the next, as a share of the load. */
const JITTER = 0.15;

export class LoadSeries {
  readonly #seed: number;
  readonly #vcpus: Float32Array;
  readonly #base: Float32Array;
  readonly #swing: Float32Array;
  readonly #pattern: Uint8Array;
  readonly #phase: Uint16Array;
  readonly #burst: Float32Array;
  readonly #burstEndTick: Int32Array;
  readonly #tables = patterns.map(({ hours }) => patternTable(hours));

  constructor(vcpus: Float32Array, seed: number) {
    const count = vcpus.length;
    this.#seed = seed;
    this.#vcpus = vcpus;
    const draw = (what: number, [low, high]: readonly [number, number]) =>
      Float32Array.from({ length: count }, (_, vm) => between(low, high, fraction(seed, vm, what)));
    this.#base = draw(1, BASE);
    this.#swing = draw(2, SWING);
    this.#pattern = Uint8Array.from({ length: count }, (_, vm) => patternOf(fraction(seed, vm, 3)));
    this.#phase = Uint16Array.from({ length: count }, (_, vm) => below(PHASE_MINUTES, fraction(seed, vm, 4)));
    this.#burst = new Float32Array(count);
    this.#burstEndTick = new Int32Array(count).fill(-1);
  }

  /** Cores that each VM wants at the tick; ticks are asked for in ascending order. Hot: no allocation. */
  at(tick: number, demandCores: Float64Array): void {
    const minute = Math.floor(tick / TICKS_PER_MINUTE);
    const seed = this.#seed ^ 0x5bd1e995;
    for (let vm = 0; vm < demandCores.length; vm++) {
      const random = noise(seed, vm, tick) / 2 ** 32;
      if (random < BURST_PROBABILITY) this.#beginBurst(vm, tick);
      const burst = tick < this.#burstEndTick[vm]! ? this.#burst[vm]! : 0;
      const table = this.#tables[this.#pattern[vm]!]!;
      const daily = this.#swing[vm]! * table[(minute + this.#phase[vm]!) % DAY_MINUTES]!;
      const share = (this.#base[vm]! + daily + burst) * (1 + JITTER * (2 * random - 1));
      demandCores[vm] = Math.min(1, share) * this.#vcpus[vm]!;
    }
  }

  #beginBurst(vm: number, tick: number): void {
    const [height, length] = [fraction(this.#seed, vm, tick + 1_000_003), fraction(this.#seed, tick + 7, vm + 11)];
    this.#burst[vm] = between(...BURST, height);
    this.#burstEndTick[vm] = tick + 1 + below(BURST_TICKS_MAX, length * length);
  }
}

function patternOf(fraction: number): number {
  let left = fraction;
  for (const [index, { share }] of patterns.entries()) {
    left -= share;
    if (left < 0) return index;
  }
  return patterns.length - 1;
}

/** By the minute of the day, from 0 to 1: half a sine wave over the hours. */
function patternTable(hours: readonly [number, number] | null): Float32Array {
  return Float32Array.from({ length: DAY_MINUTES }, (_, minute) => {
    if (hours === null) return 0.5;
    const [from, to] = hours;
    const at = (minute / 60 - from) / (to - from);
    return at < 0 || at > 1 ? 0 : Math.sin(Math.PI * at);
  });
}
