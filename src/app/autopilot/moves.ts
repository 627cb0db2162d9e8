/**
 * Moves that the autopilot decided: ordered at the hosts of the VMs, followed until they have ended, and remembered.
 *
 * A move that fails is a move all the same: cooldowns begin, and the VM is where its host says that it is. Moves are followed
 * to their end also when the autopilot is turned off, and again after a restart of the agent.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../core/base/errors.ts';
import type { AutopilotLogEntry, LoggedMove, MoveOutcome } from '../../core/model/autopilot.ts';
import type { MigrationReport } from '../../core/model/migration.ts';
import { formatBytes, formatMs } from '../../core/model/units.ts';
import type { PolicyHistory } from '../../core/policy/history.ts';
import type { Logger } from '../../io/log/logger.ts';
import { ClientError } from '../client/errors.ts';
import type { DecisionLog } from './decision-log.ts';
import { quickCall } from './fleet-host.ts';
import type { FleetHost } from './fleet-host.ts';
import { FOLLOW_LOST_MS, FOLLOW_MS, ORDER_MS_MAX } from './limits.ts';
import { recordBegin, recordEnd } from './policy-memory.ts';
import { problemText, withoutStop } from './problem-text.ts';

export type MovesParts = {
  readonly hosts: ReadonlyMap<string, FleetHost>;
  readonly history: PolicyHistory;
  readonly log: DecisionLog;
  readonly logger: Logger;
  readonly clockMs: () => number;
};

type Order = Pick<LoggedMove, 'vm' | 'from' | 'to' | 'predicted'>;
type End = Pick<LoggedMove, 'outcome' | 'measured' | 'error'>;

export class Moves {
  readonly #parts: MovesParts;
  /** By VM. */
  readonly #open = new Map<string, LoggedMove>();
  readonly #following = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(parts: MovesParts) {
    this.#parts = parts;
  }

  get open(): readonly LoggedMove[] {
    return [...this.#open.values()];
  }

  /** Writes the decision down, orders the move, and returns: it goes on by itself. */
  begin(order: Order, lease: string, sentence: string): void {
    const { log, history, logger, clockMs } = this.#parts;
    const atMs = clockMs();
    const move: LoggedMove = {
      ...order,
      ...{ migration: null, outcome: null, endedAtMs: null, measured: null, error: null },
    };
    const sequence = log.add({ kind: 'move', dryRun: false, host: order.from, sentence, atMs, move });
    recordBegin(history, move, atMs);
    logger.info('autopilot.decided', sentence, { vm: order.vm, from: order.from, to: order.to });
    this.#run(order.vm, move, async () => await this.#carryOut(sequence, move, lease));
  }

  /** Goes on with moves that an earlier run of the agent began; the history counts them as under way. */
  resume(entries: readonly AutopilotLogEntry[]): void {
    for (const { sequence, move } of entries) {
      if (move === null || move.outcome !== null) continue;
      this.#run(move.vm, move, async () => await this.#follow(sequence, move));
    }
  }

  /** What is under way goes on without being followed; the next run of the agent takes it up. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#following);
  }

  #run(vm: string, move: LoggedMove, work: () => Promise<void>): void {
    this.#open.set(vm, move);
    const done = work()
      .catch((error: unknown) => {
        if (this.#stop.signal.aborted) return;
        this.#parts.logger.error('autopilot.failed', `The move of "${vm}" cannot be followed`, { vm, error });
      })
      .finally(() => {
        this.#open.delete(vm);
        this.#following.delete(done);
      });
    this.#following.add(done);
  }

  async #carryOut(sequence: number, move: LoggedMove, lease: string): Promise<void> {
    const { hosts, log } = this.#parts;
    const body = { lease, vm: move.vm, destination: move.to };
    let migration: string;
    try {
      const begun = await hosts.get(move.from)!.call('autopilotMove', { body }, { timeoutMs: ORDER_MS_MAX });
      migration = begun.id;
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      this.#ended(sequence, move, { outcome: refusalOutcome(error), measured: null, error: problemText(error) });
      return;
    }
    log.changeMove(sequence, { migration });
    const begun = { ...move, migration };
    this.#open.set(move.vm, begun);
    await this.#follow(sequence, begun);
  }

  async #follow(sequence: number, move: LoggedMove): Promise<void> {
    const { signal } = this.#stop;
    const end = await this.#endOf(move);
    signal.throwIfAborted();
    this.#ended(sequence, move, end);
  }

  async #endOf({ migration, from }: LoggedMove): Promise<End> {
    const { hosts, clockMs } = this.#parts;
    const lost = (why: string): End => ({ outcome: 'unknown', measured: null, error: why });
    const host = hosts.get(from);
    if (migration === null || host === undefined) return lost('It is not known whether it began.');
    for (let heardMs = clockMs(); ;) {
      try {
        const { report } = await quickCall(host, 'autopilotMoveState', { params: { id: migration } });
        heardMs = clockMs();
        if (report !== null) return endOf(report);
      } catch (error) {
        if (error instanceof AppError && (error.code as string) === 'MIGRATION_UNKNOWN')
          return lost(problemText(error));
        if (clockMs() - heardMs > FOLLOW_LOST_MS) return lost(problemText(error));
      }
      await sleep(FOLLOW_MS, undefined, { signal: this.#stop.signal });
    }
  }

  #ended(sequence: number, move: LoggedMove, end: End): void {
    const { log, history, logger, clockMs } = this.#parts;
    const atMs = clockMs();
    const ended: LoggedMove = { ...move, ...end, endedAtMs: atMs };
    log.changeMove(sequence, { migration: move.migration, ...end, endedAtMs: atMs });
    recordEnd(history, ended);
    const sentence = sentenceOfEnd(ended);
    log.add({ kind: 'ended', dryRun: false, host: move.from, sentence, atMs });
    const facts = { vm: move.vm, from: move.from, to: move.to, migration: move.migration, outcome: end.outcome };
    if (end.outcome === 'completed') logger.info('autopilot.moved', sentence, facts);
    else logger.warn('autopilot.moved', sentence, facts);
  }
}

function endOf(report: MigrationReport): End {
  const { outcome, totalMs, downtimeMs, bytes, reason, guest } = report;
  const measured = { totalMs, downtimeMs: downtimeMs ?? 0, wireBytes: bytes.wire };
  const whereabouts = guest === 'running at source' ? '' : ` (guest ${guest})`;
  return { outcome, measured, error: outcome === 'completed' ? null : `${reason}${whereabouts}` };
}

/** Whether a move that could not be ordered may have begun all the same. */
function refusalOutcome(error: unknown): MoveOutcome {
  return error instanceof ClientError && error.code !== 'AGENT_UNREACHABLE' ? 'unknown' : 'refused';
}

export function sentenceOfEnd({ vm, from, to, outcome, measured, error }: LoggedMove): string {
  if (outcome === 'completed' && measured !== null) {
    const { totalMs, downtimeMs, wireBytes } = measured;
    return `${vm} has moved from ${from} to ${to} in ${formatMs(totalMs)}, downtime ${formatMs(downtimeMs)}, ${formatBytes(wireBytes)}.`;
  }
  const why = withoutStop(error ?? '');
  if (outcome === 'unknown') return `What became of the move of ${vm} from ${from} to ${to} is not known: ${why}.`;
  if (outcome === 'refused') return `${vm} is still at ${from}: its move to ${to} did not begin: ${why}.`;
  return `${vm} did not move from ${from} to ${to}: ${why}.`;
}
