/**
 * Whom this host obeys: the autopilot of one host at a time, for as long as it asks again.
 *
 * Invariant: at every moment at most one (holder, id) may give orders, and none whose time is over. The holder is the name in
 * the certificate of whoever asks; the id tells one run of its agent from the next. The clock is a parameter.
 */

export type LeaseAsk = { readonly holder: string; readonly id: string; readonly ttlMs: number };
export type LeaseState = { readonly granted: boolean; readonly holder: string | null; readonly leftMs: number };

type Held = { readonly holder: string; readonly id: string; readonly untilMs: number };

export class HostLease {
  readonly #clockMs: () => number;
  #held: Held | null = null;

  /** `clockMs` never goes back. */
  constructor(clockMs: () => number) {
    this.#clockMs = clockMs;
  }

  /** Takes, renews, or with `ttlMs` 0 gives back. A new run of the same holder takes over from its old one. */
  ask({ holder, id, ttlMs }: LeaseAsk): LeaseState {
    const held = this.#current();
    if (held !== null && held.holder !== holder) return this.#state(false);
    const isMine = held?.id === id;
    if (ttlMs > 0) {
      // Never shorter than what was promised before: that answer may be all that the holder has heard.
      const untilMs = Math.max(this.#clockMs() + ttlMs, isMine ? held.untilMs : -Infinity);
      this.#held = { holder, id, untilMs };
    } else if (isMine) this.#held = null;
    return this.#state(ttlMs > 0);
  }

  isHeldBy(holder: string, id: string): boolean {
    const held = this.#current();
    return held !== null && held.holder === holder && held.id === id;
  }

  /** Null: nobody. */
  get holder(): string | null {
    return this.#current()?.holder ?? null;
  }

  #current(): Held | null {
    if (this.#held !== null && this.#held.untilMs <= this.#clockMs()) this.#held = null;
    return this.#held;
  }

  #state(granted: boolean): LeaseState {
    const held = this.#current();
    return { granted, holder: held?.holder ?? null, leftMs: held === null ? 0 : held.untilMs - this.#clockMs() };
  }
}
