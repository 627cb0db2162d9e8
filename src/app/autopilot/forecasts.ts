/**
 * What moves would take, as the hosts of the VMs predict it by looking at the guests for some seconds (docs/prediction.md).
 *
 * The policy asks for a prediction of every VM that could go, and gets one at once: that of the same way, else of the VM to
 * another host, which differs by the link alone, else none. What it asked for in vain, and the ways of the moves that it
 * chose, are looked at then, some in each round, and it is asked again. So only VMs of hosts that could act now are ever
 * looked at, and a move that is made was predicted for its own way.
 */
import type { Prediction } from '../../core/policy/decision.ts';
import type { FleetHost } from './fleet-host.ts';
import { PLANS_PER_HOST, PLAN_EXTRA_MS, PLAN_FRESH_MS, PLAN_RETRY_MS, VMS_LOOKED_AT_MAX } from './limits.ts';
import { problemText, withoutStop } from './problem-text.ts';

export type Way = { readonly vm: string; readonly from: string; readonly to: string };
/** A way that the policy would like to know about. */
export type Wanted = Way & { readonly residentBytes: number };

type Known =
  | { readonly way: Way; readonly atMs: number; readonly prediction: Prediction }
  | { readonly way: Way; readonly atMs: number; readonly problem: string };

/** Not finite: it cannot be said. */
const unknown: Prediction = { totalMs: Infinity, downtimeMs: Infinity, wireBytes: Infinity };

export class Forecasts {
  readonly #clockMs: () => number;
  /** By VM and its host, then by destination. */
  readonly #known = new Map<string, Map<string, Known>>();
  /** Asked for since `begin`, by VM: the first way of each. */
  #wanted = new Map<string, Wanted>();

  /** `clockMs` never goes back. */
  constructor(clockMs: () => number) {
    this.#clockMs = clockMs;
  }

  /** Before the policy is asked. */
  begin(): void {
    this.#wanted = new Map();
  }

  /** For the policy. Pure between `begin` and `look`, but for noting what is asked. */
  predict(way: Wanted): Prediction {
    const known = this.#freshOf(way);
    const exact = known.find((each) => each.way.to === way.to);
    if (exact !== undefined) return 'prediction' in exact ? exact.prediction : unknown;
    for (const similar of known) if ('prediction' in similar) return similar.prediction;
    if (!this.#wanted.has(way.vm)) this.#wanted.set(way.vm, way);
    return unknown;
  }

  /** It was predicted for this way, and not only for the VM. */
  isExact(way: Way): boolean {
    return this.#freshOf(way).some((each) => each.way.to === way.to);
  }

  /**
   * What the policy asked for in vain since `begin`: of each host the VMs with the least memory in use first, which are likely
   * to be the quickest, and no more than PLANS_PER_HOST of them, those known already among them.
   */
  wanted(): Wanted[] {
    const byHost = Map.groupBy(this.#wanted.values(), ({ from }) => from);
    return [...byHost].flatMap(([host, wanted]) => {
      // One that could not go to another host is asked about again, for this one.
      const [again, anew] = [true, false].map((is) => wanted.filter((way) => this.#freshOf(way).length > 0 === is));
      const room = Math.max(0, PLANS_PER_HOST - this.#countOf(host));
      const smallest = anew!.toSorted((a, b) => a.residentBytes - b.residentBytes || compare(a.vm, b.vm));
      return [...again!, ...smallest.slice(0, room)];
    });
  }

  /** Has a VM's host look at it. Throws nothing: what goes wrong is why the VM cannot be planned. */
  async look(host: FleetHost, { vm, from, to }: Way, how: LookOptions): Promise<void> {
    const way = { vm, from, to };
    const known = await this.#ask(host, way, how);
    if (how.signal.aborted) return;
    const ofVm = this.#known.get(keyOf(way)) ?? new Map<string, Known>();
    this.#known.delete(keyOf(way));
    this.#known.set(keyOf(way), ofVm.set(way.to, known));
    while (this.#known.size > VMS_LOOKED_AT_MAX) this.#known.delete(this.#known.keys().next().value!);
  }

  /** Why VMs of a host could not be planned, one sentence each. */
  problemsOf(host: string): string[] {
    return this.#freshAt(host).flatMap((known) =>
      'problem' in known ? [`${known.way.vm} cannot be moved to ${known.way.to}: ${withoutStop(known.problem)}.`] : [],
    );
  }

  async #ask(host: FleetHost, way: Way, { measureMs, signal }: LookOptions): Promise<Known> {
    try {
      const body = { vm: way.vm, destination: way.to, measureMs };
      const plan = await host.call('autopilotPlan', { body }, { timeoutMs: measureMs + PLAN_EXTRA_MS, signal });
      const [found] = plan.predictions;
      const problem = plan.problems.map(({ message }) => message).join(' ');
      if (problem !== '' || found === undefined) return { way, atMs: this.#clockMs(), problem };
      const { totalMs, downtimeMs, wireBytes } = found;
      const prediction = {
        totalMs: totalMs.expected,
        downtimeMs: downtimeMs.expected,
        wireBytes: wireBytes.expected,
      };
      return { way, atMs: this.#clockMs(), prediction };
    } catch (error) {
      return { way, atMs: this.#clockMs(), problem: problemText(error) };
    }
  }

  #freshOf(way: Way): Known[] {
    return [...(this.#known.get(keyOf(way))?.values() ?? [])].filter((known) => this.#isFresh(known));
  }

  #freshAt(host: string): Known[] {
    return [...this.#known.values()].flatMap((ofVm) =>
      [...ofVm.values()].filter((known) => known.way.from === host && this.#isFresh(known)),
    );
  }

  #countOf(host: string): number {
    return new Set(this.#freshAt(host).map(({ way }) => way.vm)).size;
  }

  #isFresh(known: Known): boolean {
    return this.#clockMs() - known.atMs < ('prediction' in known ? PLAN_FRESH_MS : PLAN_RETRY_MS);
  }
}

export type LookOptions = { readonly measureMs: number; readonly signal: AbortSignal };

function keyOf({ vm, from }: Way): string {
  return `${vm} ${from}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
