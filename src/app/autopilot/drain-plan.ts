/**
 * The plan of a drain (core/policy/drain.ts) from what hosts tell, and its lines as views.
 *
 * A drain does not look at the guests first: for the order it is enough to know about how long each takes, which is its memory
 * over the link, and the first move can begin at once.
 */
import type { DrainLineView } from '../../core/model/autopilot.ts';
import type { HostTelemetry } from '../../core/model/telemetry.ts';
import { planDrain } from '../../core/policy/drain.ts';
import { sentenceOfLine } from '../../core/policy/drain-sentence.ts';
import type { Fleet } from '../../core/policy/fleet.ts';
import { vmNameOf } from './fleet-view.ts';
import type { AutopilotSettings } from './settings.ts';

/** A link that was never measured is taken to be 1 Gbit/s. */
const ASSUMED_BYTES_PER_S = 125e6;
/** Checks, reservation, the start of a QEMU, switchover. */
const FIXED_MS = 1_000;
const DOWNTIME_MS = 100;

export type DrainPlanParts = {
  readonly own: string;
  readonly settings: AutopilotSettings;
  readonly telemetry: HostTelemetry | null;
  /** It failed on this way already. */
  readonly hasFailed: (vm: string, to: string) => boolean;
};

/** In the order in which the moves begin; who stays comes last. */
export function drainLines(fleet: Fleet, { own, settings, telemetry, hasFailed }: DrainPlanParts): DrainLineView[] {
  const rates = new Map((telemetry?.peers ?? []).map(({ name, linkBytesPerS }) => [name, linkBytesPerS]));
  const nameOf = (vm: number): string => vmNameOf(fleet.vmNames[vm]!);
  const lines = planDrain(fleet, fleet.hostNamed(own), settings, (vm, _from, to) => {
    const name = fleet.hostNames[to]!;
    const isPossible = rates.has(name) && !hasFailed(nameOf(vm), name);
    const wireBytes = fleet.residentBytes[vm]!;
    const ms = FIXED_MS + (wireBytes / (rates.get(name) ?? ASSUMED_BYTES_PER_S)) * 1000;
    return { totalMs: isPossible ? ms : Infinity, downtimeMs: DOWNTIME_MS, wireBytes };
  });
  return lines.map((line) => ({
    vm: nameOf(line.vm),
    state: line.kind === 'goes' ? 'waiting' : line.kind === 'stays' ? 'stays' : 'moving',
    to: line.kind === 'stays' ? null : fleet.hostNames[line.to]!,
    ...{ migration: null, progress: 0, measured: null },
    sentence: sentenceOfLine(fleet, line),
  }));
}
