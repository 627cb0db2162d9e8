/**
 * A small world for tests of the policy: it carries out what is decided, takes its time for it, and keeps its own books, with
 * which what the policy did is judged. It uses none of the policy's own searching and remembering.
 */
import type { AutopilotConfig } from './config.ts';
import { decide } from './decide.ts';
import type { Decision, MoveDecision, Predict } from './decision.ts';
import { Fleet, HostState } from './fleet.ts';
import type { FleetFigures, HostFigures, VmFigures } from './fleet.ts';
import { PolicyHistory } from './history.ts';
import { marksOf } from './marks.ts';

export const GB = 2 ** 30;
const HOUR_MS = 3_600_000;

export const host = (name: string, more: Partial<HostFigures> = {}): HostFigures => ({
  ...{ name, cores: 10, memoryBytes: 100 * GB, figuresAtMs: 0 },
  ...more,
});

export const vm = (name: string, on: string, cores: number, more: Partial<VmFigures> = {}): VmFigures => ({
  ...{ name, host: on, guestCores: cores, overheadCores: 0, memoryBytes: 4 * GB, residentBytes: 2 * GB },
  ...more,
});

/** Seconds for the VM number i of the list; downtime and bytes follow. */
export const predictSeconds =
  (seconds: readonly number[], downtimesMs: readonly number[] = []): Predict =>
  (vm) => ({ totalMs: (seconds[vm] ?? 1) * 1000, downtimeMs: downtimesMs[vm] ?? 50, wireBytes: GB });

type Ended = { readonly vm: number; readonly from: number; readonly endMs: number };
type Charge = { readonly host: number; readonly atMs: number; readonly downtimeMs: number; readonly wireBytes: number };
type Open = { readonly move: MoveDecision; readonly endMs: number };

export class World {
  readonly fleet: Fleet;
  readonly config: AutopilotConfig;
  readonly history = new PolicyHistory();
  readonly predict: Predict;
  readonly faults: string[] = [];
  moveCount = 0;
  lastMoveMs = -Infinity;
  #open: Open[] = [];
  readonly #ended: Ended[] = [];
  readonly #charges: Charge[] = [];

  constructor(figures: FleetFigures, config: AutopilotConfig, predict: Predict) {
    this.fleet = new Fleet(figures);
    this.config = config;
    this.predict = predict;
  }

  /** Hosts of `stale` keep the figures they had. */
  step(atMs: number, stale: ReadonlySet<number> = new Set()): Decision[] {
    const { fleet } = this;
    for (const { move, endMs } of this.#open) if (endMs <= atMs) this.#land(move, atMs);
    this.#open = this.#open.filter(({ endMs }) => endMs > atMs);
    for (let h = 0; h < fleet.hostCount; h++) if (!stale.has(h)) fleet.figuresAtMs[h] = atMs;
    fleet.refresh(atMs);
    this.history.observe(fleet, this.config);
    const decisions = decide(fleet, this.config, this.history, this.predict);
    this.#judgeAnswers(decisions);
    const moves = decisions.filter((each) => each.kind === 'move');
    for (const move of moves) this.#begin(move, atMs);
    this.#judgeHosts(moves);
    return decisions;
  }

  /** Moves until nothing has moved for so long; false: it did not come to rest in time. */
  comesToRest(limitMs: number, stepMs: number, quietMs: number): boolean {
    for (let atMs = 0; atMs <= limitMs; atMs += stepMs) {
      this.step(atMs);
      if (this.faults.length > 0) return false;
      if (this.#open.length === 0 && atMs - Math.max(this.lastMoveMs, 0) > quietMs) return true;
    }
    return false;
  }

  #begin(move: MoveDecision, atMs: number): void {
    this.#judge(move, atMs);
    const { downtimeMs, wireBytes, totalMs } = move.prediction;
    for (const h of [move.from, move.to]) {
      this.#charges.push({ host: h, atMs, downtimeMs, wireBytes });
      const spent = this.#charges.filter((each) => each.host === h && each.atMs > atMs - HOUR_MS);
      const sum = (read: (charge: Charge) => number): number => spent.reduce((total, each) => total + read(each), 0);
      this.#expect(sum((each) => each.downtimeMs) <= this.config.downtimeMsPerHour, 'downtime over budget');
      this.#expect(sum((each) => each.wireBytes) <= this.config.bytesPerHour, 'bytes over budget');
    }
    this.fleet.beginMove(move.vm, move.to);
    const names = { vm: move.vmName, from: move.fromName, to: move.toName };
    this.history.moveBegan({ ...names, atMs, downtimeMs, wireBytes });
    this.#open.push({ move, endMs: atMs + totalMs });
    this.moveCount++;
    this.lastMoveMs = atMs;
  }

  #land(move: MoveDecision, atMs: number): void {
    this.fleet.endMove(move.vm, true);
    const names = { vm: move.vmName, from: move.fromName, to: move.toName };
    const { downtimeMs, wireBytes } = move.prediction;
    this.history.moveEnded({ ...names, atMs, downtimeMs, wireBytes }, true);
    this.#ended.push({ vm: move.vm, from: move.from, endMs: atMs });
    this.lastMoveMs = atMs;
  }

  /** What must hold for each move by itself, before it begins. */
  #judge({ vm, from, to, prediction }: MoveDecision, atMs: number): void {
    const { fleet, config } = this;
    const { vmHost, vmTarget } = fleet;
    this.#expect(fleet.isPinned[vm] === 0, 'a pinned VM moved');
    this.#expect(vmTarget[vm] === -1 && vmHost[vm] === from && from !== to, 'a move of a VM that is not there');
    for (const h of [from, to]) {
      this.#expect(fleet.hostState[h] === HostState.Active, 'a host that is not active took part');
      this.#expect(atMs - fleet.figuresAtMs[h]! <= config.figuresAgeMsMax, 'a decision on stale figures');
    }
    for (let other = 0; other < fleet.vmCount; other++) {
      if (other === vm) continue;
      const isRival = fleet.antiAffinity[vm]! >= 0 && fleet.antiAffinity[other] === fleet.antiAffinity[vm];
      this.#expect(!isRival || (vmHost[other] !== to && vmTarget[other] !== to), 'rivals met');
      const isKin = fleet.affinity[vm]! >= 0 && fleet.affinity[other] === fleet.affinity[vm];
      this.#expect(!isKin || vmHost[other] !== from, 'kin were parted');
    }
    const own = this.#ended.filter((each) => each.vm === vm);
    this.#expect(
      own.every((each) => atMs - each.endMs >= config.vmCooldownMs),
      'a VM moved in its cooldown',
    );
    const isBack = own.some((each) => each.from === to && atMs - each.endMs < config.returnMs);
    this.#expect(!isBack, 'a VM came back too soon');
    this.#expect(prediction.totalMs <= config.reliefMsMax, 'a move longer than any relief');
  }

  /** What must hold when all moves of the round are under way. */
  #judgeHosts(moves: readonly MoveDecision[]): void {
    const { fleet, config } = this;
    const highest = marksOf(fleet, config).act.cpu;
    for (const { from, to } of moves) {
      this.#expect(
        sumAt(fleet, to, (vm) => fleet.vmCores(vm)) <= highest * fleet.cores[to]! + 1e-9,
        'a host passed its mark',
      );
      const bytes = sumAt(fleet, to, (vm) => fleet.vmMemoryBytes[vm]!);
      this.#expect(bytes <= config.memoryShare * fleet.memoryBytes[to]!, 'a memory overflowed');
      for (const h of [from, to]) this.#expect(fleet.moves[h]! <= config.movesAtATime, 'too many moves at a time');
    }
  }

  #judgeAnswers(decisions: readonly Decision[]): void {
    const answered = new Set(decisions.map((each) => (each.kind === 'move' ? each.from : each.host)));
    this.#expect(answered.size === this.fleet.hostCount, 'a host without an answer');
  }

  #expect(condition: boolean, fault: string): void {
    if (!condition) this.faults.push(fault);
  }
}

/** Over the VMs that are at the host or on their way to it. */
export function sumAt(fleet: Fleet, host: number, read: (vm: number) => number): number {
  let sum = 0;
  for (let vm = 0; vm < fleet.vmCount; vm++) {
    if (fleet.vmHost[vm] === host || fleet.vmTarget[vm] === host) sum += read(vm);
  }
  return sum;
}
