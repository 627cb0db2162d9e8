/** All that a person may set: the policy's numbers, and those of the loop that feeds it. */
import { LEASE_MS_MAX, PLAN_MS_MAX, PLAN_MS_MIN } from '../../core/api/limits.ts';
import { autopilotConfig } from '../../core/policy/config.ts';
import type { AutopilotConfig } from '../../core/policy/config.ts';
import { PolicyError } from '../../core/policy/errors.ts';
import { HALF_LIFE_MS } from '../../core/policy/load-average.ts';

export type LoopSettings = {
  /** From one round to the next. */
  readonly roundMs: number;
  /** Hosts obey so long after they were last asked to. */
  readonly leaseMs: number;
  /** A guest is looked at for so long before its move is predicted. */
  readonly measureMs: number;
  /** Of the averages of loads. */
  readonly halfLifeMs: number;
};

export type AutopilotSettings = AutopilotConfig & LoopSettings;
/** As it comes from a file or a command line. */
export type GivenSettings = Readonly<Record<string, unknown>>;

const loopDefaults: LoopSettings = { roundMs: 5_000, leaseMs: 20_000, measureMs: 3_000, halfLifeMs: HALF_LIFE_MS };

const loopRanges: Readonly<Record<keyof LoopSettings, readonly [min: number, max: number]>> = {
  roundMs: [200, 600_000],
  leaseMs: [1_000, LEASE_MS_MAX],
  measureMs: [PLAN_MS_MIN, PLAN_MS_MAX],
  halfLifeMs: [1, 3_600_000],
};

/** The defaults with what was given. Throws PolicyError POLICY_CONFIG, which names the field and its range. */
export function autopilotSettings(given: GivenSettings = {}): AutopilotSettings {
  const own = Object.entries(given).filter(([field]) => field in loopDefaults);
  const others = Object.entries(given).filter(([field]) => !(field in loopDefaults));
  // It checks every value that it takes: what is no number is refused by name.
  const policy = autopilotConfig(Object.fromEntries(others) as Partial<AutopilotConfig>);
  const loop = { ...loopDefaults, ...(Object.fromEntries(own) as Partial<LoopSettings>) };
  for (const [field, [min, max]] of Object.entries(loopRanges) as [keyof LoopSettings, [number, number]][]) {
    const value: unknown = loop[field];
    if (typeof value === 'number' && value >= min && value <= max) continue;
    const range = `a number from ${min} to ${max}`;
    const text = `The autopilot's ${field} is ${String(value)}; expected: ${range}`;
    throw new PolicyError('POLICY_CONFIG', text, { field, range });
  }
  return { ...policy, ...loop };
}
