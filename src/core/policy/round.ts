/**
 * One round of decisions: the fleet as it is, and what was decided so far in this round, so that every later decision counts
 * the earlier ones in. Nothing outside is changed.
 */
import type { AutopilotConfig } from './config.ts';
import type { Predict, Prediction } from './decision.ts';
import { HostState } from './fleet.ts';
import type { Fleet } from './fleet.ts';
import { isKnown } from './history.ts';
import type { PolicyHistory } from './history.ts';
import { marksOf } from './marks.ts';
import type { Marks } from './marks.ts';
import { Places } from './places.ts';

export class Round {
  readonly fleet: Fleet;
  readonly config: AutopilotConfig;
  readonly history: PolicyHistory;
  readonly predict: Predict;
  readonly marks: Marks;
  readonly #charged = new Map<number, { downtimeMs: number; wireBytes: number }>();
  #places: Places | null = null;

  constructor(fleet: Fleet, config: AutopilotConfig, history: PolicyHistory, predict: Predict) {
    this.fleet = fleet;
    this.config = config;
    this.history = history;
    this.predict = predict;
    this.marks = marksOf(fleet, config);
  }

  /** Built when it is first asked for: in most rounds nothing moves. */
  get places(): Places {
    this.#places ??= new Places(this.fleet, (host) => this.#mayReceive(host));
    return this.#places;
  }

  /** Zero or less: the cooldown is over. */
  coolingLeftMs(host: number): number {
    const sinceMs = this.fleet.atMs - this.history.lastHostMoveMs(this.fleet.hostNames[host]!);
    return this.config.hostCooldownMs - sinceMs;
  }

  movesOf(host: number): number {
    return this.#places === null ? this.fleet.moves[host]! : this.#places.moves[host]!;
  }

  /** Both hosts pay for a move; what cannot be predicted cannot be paid. */
  affords(host: number, { downtimeMs, wireBytes }: Prediction): boolean {
    const spent = this.history.spentBy(this.fleet.hostNames[host]!, this.fleet.atMs);
    const charged = this.#charged.get(host);
    return (
      spent.downtimeMs + (charged?.downtimeMs ?? 0) + downtimeMs <= this.config.downtimeMsPerHour &&
      spent.wireBytes + (charged?.wireBytes ?? 0) + wireBytes <= this.config.bytesPerHour
    );
  }

  take(vm: number, to: number, { downtimeMs, wireBytes }: Prediction): void {
    this.places.take(vm, to);
    for (const host of [this.fleet.vmHost[vm]!, to]) {
      const before = this.#charged.get(host) ?? { downtimeMs: 0, wireBytes: 0 };
      this.#charged.set(host, {
        downtimeMs: before.downtimeMs + downtimeMs,
        wireBytes: before.wireBytes + wireBytes,
      });
    }
  }

  #mayReceive(host: number): boolean {
    const { fleet, config } = this;
    return (
      fleet.hostState[host] === HostState.Active &&
      fleet.moves[host]! < config.movesAtATime &&
      isKnown(fleet, host, config) &&
      this.coolingLeftMs(host) <= 0
    );
  }
}
