/**
 * The policy's memory after a restart of the agent, rebuilt from the log: cooldowns, budgets, and which hosts VMs have left.
 *
 * Since when hosts are above their marks is not rebuilt: they have to show again that they stay there.
 */
import type { AutopilotLogEntry, LoggedMove } from '../../core/model/autopilot.ts';
import type { AutopilotConfig } from '../../core/policy/config.ts';
import { PolicyHistory } from '../../core/policy/history.ts';
import { BUDGET_WINDOW_MS } from '../../core/policy/limits.ts';

const nothing = { downtimeMs: 0, wireBytes: 0 } as const;

/** For so long any rule may ask for a move. */
export function memoryMs({ vmCooldownMs, hostCooldownMs, returnMs }: AutopilotConfig): number {
  return Math.max(vmCooldownMs, hostCooldownMs, returnMs, BUDGET_WINDOW_MS);
}

/** Tells a history that a move begins. */
export function recordBegin(history: PolicyHistory, move: LoggedMove, atMs: number): void {
  const { vm, from, to, predicted } = move;
  const { downtimeMs, wireBytes } = predicted;
  history.moveBegan({ vm, from, to, atMs, downtimeMs, wireBytes });
}

/** Tells a history how a move ended: with what it cost, and nothing where it never began. */
export function recordEnd(history: PolicyHistory, move: LoggedMove): void {
  const { vm, from, to, outcome, measured, endedAtMs } = move;
  if (outcome === null || endedAtMs === null) return;
  const { downtimeMs, wireBytes } = measured ?? nothing;
  history.moveEnded({ vm, from, to, atMs: endedAtMs, downtimeMs, wireBytes }, outcome === 'completed');
}

/** `entries`: moves in any order; those that have not ended count as under way. */
export function rebuildHistory(entries: readonly AutopilotLogEntry[]): PolicyHistory {
  const history = new PolicyHistory();
  const events = entries.flatMap(({ move, atMs, sequence }) => {
    if (move === null) return [];
    const begin = { atMs, sequence, tell: () => recordBegin(history, move, atMs) };
    const end = { atMs: move.endedAtMs ?? Infinity, sequence: sequence + 0.5, tell: () => recordEnd(history, move) };
    return [begin, end];
  });
  // An end and a beginning of the same moment happened in this order.
  events.sort((a, b) => a.atMs - b.atMs || a.sequence - b.sequence);
  for (const { tell } of events) tell();
  return history;
}
