/**
 * What the policy remembers: since when hosts are above their marks, when which VM and host was last part of a move, which
 * hosts a VM has left, and what moves have cost each host in the last hour.
 *
 * By names, because it outlives the figures of one moment, and bounded: what no rule asks for any more is forgotten.
 */
import type { AutopilotConfig } from './config.ts';
import { HostState } from './fleet.ts';
import type { Fleet } from './fleet.ts';
import * as limits from './limits.ts';
import { marksOf, pressedResource } from './marks.ts';

/** A move that begins, with its predicted cost, or that has ended, with its measured one. */
export type MoveRecord = {
  readonly vm: string;
  readonly from: string;
  readonly to: string;
  readonly atMs: number;
  readonly downtimeMs: number;
  readonly wireBytes: number;
};

export type Pressure = {
  /** Since when the host is above the mark to act. */
  readonly sinceMs: number;
  /** It has been above for long enough, and stays acted on until it is at the mark to stop. */
  readonly isActing: boolean;
};

export type Cost = { readonly downtimeMs: number; readonly wireBytes: number };
type Charge = { readonly atMs: number; downtimeMs: number; wireBytes: number };
type VmMoves = { lastMs: number; left: { readonly host: string; readonly atMs: number }[] };
type HostMoves = { lastMs: number; charges: Charge[] };

export class PolicyHistory {
  readonly #pressures = new Map<string, Pressure>();
  readonly #vms = new Map<string, VmMoves>();
  readonly #hosts = new Map<string, HostMoves>();
  /** Of moves under way, by VM: the charge that both hosts share. */
  readonly #open = new Map<string, Charge>();
  #forgottenMs = -Infinity;

  /** To be called with each new view of the fleet, before decide. */
  observe(fleet: Fleet, config: AutopilotConfig): void {
    const marks = marksOf(fleet, config);
    for (let host = 0; host < fleet.hostCount; host++) {
      const name = fleet.hostNames[host]!;
      const before = this.#pressures.get(name);
      // A silent host, or one whose figures are old, has to show again that it stays above.
      if (!isKnown(fleet, host, config)) {
        if (before !== undefined) this.#pressures.delete(name);
        continue;
      }
      const isAbove = pressedResource(fleet, host, marks.act) !== null;
      if (before === undefined) {
        if (isAbove) this.#pressures.set(name, { sinceMs: fleet.atMs, isActing: config.sustainMs === 0 });
        continue;
      }
      const isOver = before.isActing ? pressedResource(fleet, host, marks.stop) === null : !isAbove;
      if (isOver) this.#pressures.delete(name);
      else if (!before.isActing && fleet.atMs - before.sinceMs >= config.sustainMs) {
        this.#pressures.set(name, { ...before, isActing: true });
      }
    }
    this.#forget(fleet.atMs, config);
  }

  pressureOf(host: string): Pressure | null {
    return this.#pressures.get(host) ?? null;
  }

  moveBegan({ vm, from, to, atMs, downtimeMs, wireBytes }: MoveRecord): void {
    const charge = { atMs, downtimeMs, wireBytes };
    this.#open.set(vm, charge);
    this.#vmMoves(vm).lastMs = atMs;
    for (const host of [from, to]) {
      const moves = this.#hostMoves(host);
      moves.lastMs = atMs;
      moves.charges.push(charge);
    }
  }

  /** Cooldowns begin again, also after a move that failed: what made it fail is probably still there. */
  moveEnded({ vm, from, to, atMs, downtimeMs, wireBytes }: MoveRecord, hasLanded: boolean): void {
    const charge = this.#open.get(vm);
    if (charge !== undefined) Object.assign(charge, { downtimeMs, wireBytes });
    this.#open.delete(vm);
    const moves = this.#vmMoves(vm);
    moves.lastMs = atMs;
    if (hasLanded) moves.left = [...moves.left, { host: from, atMs }].slice(-limits.LEFT_HOSTS_MAX);
    for (const host of [from, to]) this.#hostMoves(host).lastMs = atMs;
  }

  /** When the VM or host was last part of a move; -Infinity: not in living memory. */
  lastVmMoveMs(vm: string): number {
    return this.#vms.get(vm)?.lastMs ?? -Infinity;
  }

  lastHostMoveMs(host: string): number {
    return this.#hosts.get(host)?.lastMs ?? -Infinity;
  }

  lastLeftMs(vm: string, host: string): number {
    const left = this.#vms.get(vm)?.left ?? [];
    return left.findLast((each) => each.host === host)?.atMs ?? -Infinity;
  }

  /** What the moves that began in the last hour cost the host. */
  spentBy(host: string, atMs: number): Cost {
    let [downtimeMs, wireBytes] = [0, 0];
    for (const charge of this.#hosts.get(host)?.charges ?? []) {
      if (charge.atMs <= atMs - limits.BUDGET_WINDOW_MS) continue;
      downtimeMs += charge.downtimeMs;
      wireBytes += charge.wireBytes;
    }
    return { downtimeMs, wireBytes };
  }

  #vmMoves(vm: string): VmMoves {
    const moves = this.#vms.get(vm) ?? { lastMs: -Infinity, left: [] };
    this.#vms.set(vm, moves);
    return moves;
  }

  #hostMoves(host: string): HostMoves {
    const moves = this.#hosts.get(host) ?? { lastMs: -Infinity, charges: [] };
    this.#hosts.set(host, moves);
    return moves;
  }

  /** Now and then; between that, what is old is only not looked at. */
  #forget(atMs: number, config: AutopilotConfig): void {
    if (atMs - this.#forgottenMs < limits.BUDGET_WINDOW_MS / 4) return;
    this.#forgottenMs = atMs;
    const keptMs = Math.max(config.vmCooldownMs, config.hostCooldownMs, config.returnMs, limits.BUDGET_WINDOW_MS);
    for (const [name, { lastMs }] of this.#vms) {
      if (atMs - lastMs > keptMs && !this.#open.has(name)) this.#vms.delete(name);
    }
    for (const [name, moves] of this.#hosts) {
      moves.charges = moves.charges.filter((charge) => charge.atMs > atMs - limits.BUDGET_WINDOW_MS);
      if (atMs - moves.lastMs > keptMs && moves.charges.length === 0) this.#hosts.delete(name);
    }
  }
}

/** It speaks, and its figures are of now. */
export function isKnown(fleet: Fleet, host: number, config: AutopilotConfig): boolean {
  return fleet.hostState[host] !== HostState.Silent && fleet.atMs - fleet.figuresAtMs[host]! <= config.figuresAgeMsMax;
}
