/**
 * Signs of life: a ping every second, a smoothed round-trip time, and a notice when the peer has been silent for long.
 *
 * Silence is counted in ticks of our own timer, not by the clock: when this process was stopped, or its event loop was
 * busy, for ten seconds, the peer may well have talked, and its bytes lie unread in the kernel.
 */
export const PING_INTERVAL_MS = 1000;
/** Weight of a new sample, as TCP does it (RFC 6298). */
const RTT_WEIGHT = 1 / 8;
/** Unanswered pings that are remembered. */
const PINGS_MAX = 64;

export type KeepAliveOptions = {
  readonly ping: (id: number) => void;
  /** True while we do not read on purpose: then silence says nothing about the peer. */
  readonly isPaused: () => boolean;
  readonly intervalMs?: number;
};

export class KeepAlive {
  readonly #options: KeepAliveOptions;
  readonly #intervalMs: number;
  readonly #sentAtMs = new Map<number, number>();
  #timer: NodeJS.Timeout | null = null;
  #lastTickMs = 0;
  #silentMs = 0;
  #nextId = 1;
  #rttMs: number | null = null;
  #stall: { readonly timeoutMs: number; readonly handler: (silentMs: number) => void } | null = null;
  #reported = false;

  constructor(options: KeepAliveOptions) {
    this.#options = options;
    this.#intervalMs = options.intervalMs ?? PING_INTERVAL_MS;
  }

  get rttMs(): number | null {
    return this.#rttMs;
  }

  start(): void {
    if (this.#timer !== null) return;
    this.#lastTickMs = performance.now();
    this.#sendPing();
    this.#schedule();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Short stall time-outs make the timer tick faster, so that they are kept within a quarter. */
  onStalled(timeoutMs: number, handler: (silentMs: number) => void): void {
    this.#stall = { timeoutMs, handler };
    this.#reported = false;
    if (this.#timer !== null) this.#schedule();
  }

  heard(): void {
    this.#silentMs = 0;
    this.#reported = false;
  }

  pong(id: number): void {
    const sentAtMs = this.#sentAtMs.get(id);
    if (sentAtMs === undefined) return;
    const sample = performance.now() - sentAtMs;
    this.#rttMs = this.#rttMs === null ? sample : this.#rttMs + (sample - this.#rttMs) * RTT_WEIGHT;
    for (const older of this.#sentAtMs.keys()) if (older <= id) this.#sentAtMs.delete(older);
  }

  /** What was measured until now lay behind other bytes: forgets it, and asks anew. */
  renewRtt(): void {
    this.#rttMs = null;
    this.#sentAtMs.clear();
    if (this.#timer !== null) this.#sendPing();
  }

  #schedule(): void {
    this.stop();
    const periodMs = Math.max(10, Math.min(this.#intervalMs, (this.#stall?.timeoutMs ?? Infinity) / 4));
    this.#timer = setInterval(() => this.#tick(periodMs), periodMs);
    this.#timer.unref();
  }

  #tick(periodMs: number): void {
    const now = performance.now();
    const elapsedMs = Math.min(now - this.#lastTickMs, 2 * periodMs);
    this.#lastTickMs = now;
    this.#silentMs = this.#options.isPaused() ? 0 : this.#silentMs + elapsedMs;
    this.#sendPing();
    if (this.#stall === null || this.#reported || this.#silentMs < this.#stall.timeoutMs) return;
    this.#reported = true;
    this.#stall.handler(this.#silentMs);
  }

  #sendPing(): void {
    const id = this.#nextId++;
    this.#sentAtMs.set(id, performance.now());
    if (this.#sentAtMs.size > PINGS_MAX) this.#sentAtMs.delete(id - PINGS_MAX);
    this.#options.ping(id);
  }
}
