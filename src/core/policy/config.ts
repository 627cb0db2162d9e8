/**
 * What a person may set of the autopilot, with its defaults, their reasons, and the ranges that make sense.
 *
 * The one number of the paper is the threshold: 65 % of the host's CPU (Shreya R et al., Performance Analysis during Live
 * Migration, IJERT 2013, section VII). All others answer what its section VIII leaves to further study.
 */
import { PolicyError } from './errors.ts';

export const goals = ['threshold', 'balance', 'consolidate'] as const;
export type Goal = (typeof goals)[number];

export type AutopilotConfig = {
  readonly goal: Goal;
  /** The autopilot acts on a host whose VMs use more than this share of its CPU, */
  readonly thresholdShare: number;
  /** and stops at this one. No move may bring its destination above it. */
  readonly lowShare: number;
  /** No move may bring its destination above this share of memory; `balance` also acts on it. */
  readonly memoryShare: number;
  /** Goal `balance`: a host may be so far above the fleet's mean share. */
  readonly balanceMargin: number;
  /** Goal `consolidate`: hosts at or below this share are emptied, when all their VMs find a place. */
  readonly emptyBelowShare: number;
  /** How long a host has to be above before anything is done. */
  readonly sustainMs: number;
  readonly vmCooldownMs: number;
  readonly hostCooldownMs: number;
  /** A VM does not come back to a host that it left less than this ago. */
  readonly returnMs: number;
  /** Moves under way from or to one host. */
  readonly movesAtATime: number;
  /** Per host, as source and destination together, in any hour. */
  readonly downtimeMsPerHour: number;
  readonly bytesPerHour: number;
  /** A VM that would take less than this share from its host does not relieve it. */
  readonly reliefShareMin: number;
  /** No overload is expected to last longer than this, however long it has lasted. */
  readonly reliefMsMax: number;
  /** Figures older than this decide nothing. */
  readonly figuresAgeMsMax: number;
};

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

export const defaultConfig: AutopilotConfig = {
  goal: 'threshold',
  thresholdShare: 0.65,
  // Ten points below: one ordinary VM. A narrower gap makes every wave of a load a reason to move.
  lowShare: 0.55,
  // The host itself needs memory: page tables, QEMU's own, the file cache.
  memoryShare: 0.92,
  // Wider than the gap between threshold and low mark, so that balancing does not chase noise.
  balanceMargin: 0.12,
  emptyBelowShare: 0.25,
  // On top of the average's half-life. A minute, with three minutes of cooldown, left simulated hosts above for a fifth longer
  // and saved a fifth of the moves, but no byte.
  sustainMs: MINUTE / 2,
  vmCooldownMs: HOUR,
  // A VM's average goes with it, so what a move did is seen at once; what the moving itself cost takes a half-life to be forgotten.
  hostCooldownMs: MINUTE,
  // A quarter of a day: who returns sooner follows the daily wave instead of avoiding it.
  returnMs: 6 * HOUR,
  movesAtATime: 1,
  downtimeMsPerHour: 3_000,
  // 100 GB: 3 % of what a link of 10 Gbit/s carries in an hour.
  bytesPerHour: 100e9,
  reliefShareMin: 0.02,
  reliefMsMax: HOUR,
  figuresAgeMsMax: 30_000,
};

type Range = readonly [min: number, max: number];

const ranges: Readonly<Record<Exclude<keyof AutopilotConfig, 'goal'>, Range>> = {
  thresholdShare: [0.05, 0.95],
  lowShare: [0.01, 0.94],
  memoryShare: [0.1, 1],
  balanceMargin: [0.02, 0.5],
  emptyBelowShare: [0, 0.9],
  sustainMs: [0, 24 * HOUR],
  vmCooldownMs: [0, 7 * 24 * HOUR],
  hostCooldownMs: [0, 24 * HOUR],
  returnMs: [0, 7 * 24 * HOUR],
  movesAtATime: [1, 64],
  downtimeMsPerHour: [0, HOUR],
  bytesPerHour: [0, 1e15],
  reliefShareMin: [0, 0.5],
  reliefMsMax: [1_000, 7 * 24 * HOUR],
  figuresAgeMsMax: [1_000, HOUR],
};

/** The defaults with what was given. Throws PolicyError POLICY_CONFIG, which names the field and its range. */
export function autopilotConfig(given: Partial<AutopilotConfig> = {}): AutopilotConfig {
  const config = { ...defaultConfig, ...given };
  for (const field of Object.keys(given)) {
    if (!(field in defaultConfig))
      refuse(field, 'is not a setting of the autopilot', Object.keys(defaultConfig).join(', '));
  }
  if (!goals.includes(config.goal)) refuse('goal', `is "${config.goal}"`, goals.join(', '));
  for (const [field, [min, max]] of Object.entries(ranges) as [keyof typeof ranges, Range][]) {
    const value: unknown = config[field];
    const isNumber = typeof value === 'number' && value >= min && value <= max;
    if (!isNumber) refuse(field, `is ${String(value)}`, `a number from ${min} to ${max}`);
  }
  if (!Number.isInteger(config.movesAtATime)) refuse('movesAtATime', `is ${config.movesAtATime}`, 'a whole number');
  below(config, 'lowShare', 'thresholdShare');
  // A host above the low mark is nowhere a destination; one that is to be emptied must be far from it.
  below(config, 'emptyBelowShare', 'lowShare');
  return config;
}

function below(
  config: AutopilotConfig,
  low: 'lowShare' | 'emptyBelowShare',
  high: 'thresholdShare' | 'lowShare',
): void {
  if (config[low] < config[high]) return;
  refuse(low, `is ${config[low]}`, `less than ${high}, which is ${config[high]}`);
}

function refuse(field: string, actual: string, range: string): never {
  throw new PolicyError('POLICY_CONFIG', `The autopilot's ${field} ${actual}; expected: ${range}`, { field, range });
}
