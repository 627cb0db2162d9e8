/**
 * What a move costs in the simulated fleet: pre-copy rounds over the link, each sending what was written during the one
 * before (the model of Akoush et al. 2010), until the rest is short or the rounds are used up.
 */
import type { Prediction } from '../policy/decision.ts';
import type { Population } from './population.ts';

/** 10 Gbit/s within a network group; between groups many moves share the way. */
const NEAR_BYTES_PER_SECOND = 1.1e9;
const FAR_BYTES_PER_SECOND = 0.6e9;
/** Bytes on the wire per byte of memory, with compression and without free pages. */
const WIRE_SHARE = 0.5;
const ROUNDS_MAX = 6;
const DOWNTIME_TARGET_MS = 100;
/** Stopping, device state, starting; and the stages before and after the copying. */
const SWITCHOVER_MS = 60;
const STAGES_MS = 400;

export function costOfMove(
  { fleet, dirtyBytesPerCoreSecond }: Population,
  [vm, from, to]: readonly [number, number, number],
) {
  const isNear = fleet.networkGroup[from] === fleet.networkGroup[to];
  const bytesPerMs = (isNear ? NEAR_BYTES_PER_SECOND : FAR_BYTES_PER_SECOND) / WIRE_SHARE / 1000;
  const resident = fleet.residentBytes[vm]!;
  const dirtyBytesPerMs = (dirtyBytesPerCoreSecond[vm]! * fleet.guestCores[vm]!) / 1000;
  let [left, sent] = [resident, 0];
  for (let round = 0; round < ROUNDS_MAX; round++) {
    sent += left;
    left = Math.min(resident, (dirtyBytesPerMs * left) / bytesPerMs);
    if (left / bytesPerMs <= DOWNTIME_TARGET_MS) break;
  }
  const downtimeMs = SWITCHOVER_MS + left / bytesPerMs;
  const totalMs = STAGES_MS + sent / bytesPerMs + downtimeMs;
  return { totalMs, downtimeMs, wireBytes: (sent + left) * WIRE_SHARE } satisfies Prediction;
}
