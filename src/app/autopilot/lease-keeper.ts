/**
 * The leases that this autopilot holds: it asks every host that it knows, again and again.
 *
 *     own host obeys another ──▶ standby, every lease given back
 *     a host obeys the autopilot of a host with a lower name ──▶ the same: of two that each hold a part, one yields
 *     a host obeys one with a higher name, or does not answer ──▶ that host takes no part
 *
 * Nothing that somebody holds is ever taken from him. In standby nothing is asked for until the host that was in the way is
 * free, so that the one who has it gets the others, too.
 *
 * Invariant: a lease is believed in from the moment of asking, the host counts from the moment of hearing: the belief ends
 * first.
 */
import { randomUUID } from 'node:crypto';
import { describeError } from '../../core/base/errors.ts';
import type { LeaseAnswer } from '../../core/model/autopilot.ts';
import { quickCall } from './fleet-host.ts';
import type { FleetHost } from './fleet-host.ts';
import { CALL_MS_MAX, RENEWALS_PER_LEASE } from './limits.ts';

export type HostLeaseView = {
  /** What it said last; null: it does not answer, and nothing is held. */
  readonly answer: LeaseAnswer | null;
  readonly heldUntilMs: number;
  readonly problem: string | null;
};

/** Who is in the way, at which host. */
export type Obstacle = { readonly host: string; readonly holder: string };

const nothing: HostLeaseView = { answer: null, heldUntilMs: -Infinity, problem: null };

export class LeaseKeeper {
  /** Of this run: a host tells by it an order of now from one of an agent that is gone. */
  readonly id = randomUUID();
  readonly #own: string;
  readonly #hosts: readonly FleetHost[];
  readonly #clockMs: () => number;
  readonly #views = new Map<string, HostLeaseView>();
  #obstacle: Obstacle | null = null;

  /** `hosts`: all of the fleet, the one called `own` among them. `clockMs` never goes back. */
  constructor(own: string, hosts: readonly FleetHost[], clockMs: () => number) {
    this.#own = own;
    this.#hosts = hosts;
    this.#clockMs = clockMs;
  }

  /** Null: nobody keeps this autopilot from acting. */
  get obstacle(): Obstacle | null {
    return this.#obstacle;
  }

  viewOf(host: string): HostLeaseView {
    return this.#views.get(host) ?? nothing;
  }

  holds(host: string): boolean {
    return this.viewOf(host).heldUntilMs > this.#clockMs();
  }

  /** Asks for, or renews, whatever may be had. Never throws. */
  async renew(ttlMs: number): Promise<void> {
    if (this.#obstacle !== null && (await this.#isStillThere(this.#obstacle))) return;
    const own = this.#hosts.filter(({ name }) => name === this.#own);
    const others = this.#hosts.filter(({ name }) => name !== this.#own);
    await this.#askAll(own, ttlMs);
    this.#obstacle = this.#obstacleAmong(own, () => true);
    if (this.#obstacle === null) {
      await this.#askAll(others, ttlMs);
      this.#obstacle = this.#obstacleAmong(others, (holder) => holder < this.#own);
    }
    if (this.#obstacle !== null) await this.release();
  }

  /** Gives every lease back, as far as hosts answer, and looks who else has them. Never throws. */
  async release(): Promise<void> {
    await this.#askAll(this.#hosts, 0);
  }

  /** Only asks hosts what they say of themselves. */
  async look(): Promise<void> {
    await this.release();
  }

  async #isStillThere(obstacle: Obstacle): Promise<boolean> {
    await this.release();
    const holder = this.viewOf(obstacle.host).answer?.holder ?? null;
    return holder !== null && holder !== this.#own;
  }

  #obstacleAmong(hosts: readonly FleetHost[], isInTheWay: (holder: string) => boolean): Obstacle | null {
    for (const { name } of hosts) {
      const holder = this.viewOf(name).answer?.holder ?? null;
      if (holder !== null && holder !== this.#own && isInTheWay(holder)) return { host: name, holder };
    }
    return null;
  }

  async #askAll(hosts: readonly FleetHost[], ttlMs: number): Promise<void> {
    await Promise.all(hosts.map(async (host) => await this.#ask(host, ttlMs)));
  }

  async #ask(host: FleetHost, ttlMs: number): Promise<void> {
    const before = this.viewOf(host.name);
    const atMs = this.#clockMs();
    // What is given back is not relied on while the answer is on its way.
    if (ttlMs === 0) this.#views.set(host.name, { ...before, heldUntilMs: -Infinity });
    try {
      const answer = await quickCall(host, 'autopilotLease', { body: { id: this.id, ttlMs } }, timeoutFor(ttlMs));
      this.#views.set(host.name, {
        answer,
        heldUntilMs: answer.granted && ttlMs > 0 ? atMs + ttlMs : -Infinity,
        problem: null,
      });
    } catch (error) {
      // What was held is held until its time is over: the host may have heard nothing of this.
      const heldUntilMs = ttlMs === 0 ? -Infinity : before.heldUntilMs;
      const answer = heldUntilMs > this.#clockMs() ? before.answer : null;
      this.#views.set(host.name, { answer, heldUntilMs, problem: describeError(error) });
    }
  }
}

/** A host that is silent must not keep the leases of the others from being renewed in time. */
function timeoutFor(ttlMs: number): number {
  return ttlMs === 0 ? CALL_MS_MAX : Math.min(CALL_MS_MAX, Math.ceil(ttlMs / RENEWALS_PER_LEASE));
}
