/** When the next request of a client is due, and the longest time in which none of its requests was answered. */
export class LoadClock {
  readonly #intervalMs: number;
  #dueMs = performance.now();
  #answeredMs = performance.now();
  #longestGapMs = 0;

  /** `perS` 0: at once. */
  constructor(perS: number) {
    this.#intervalMs = perS === 0 ? 0 : 1000 / perS;
  }

  /** Milliseconds until the next request may be sent. What was not reached is not made good by a burst. */
  waitMs(): number {
    const nowMs = performance.now();
    this.#dueMs = Math.max(this.#dueMs, nowMs - 50) + this.#intervalMs;
    return this.#dueMs - this.#intervalMs - nowMs;
  }

  answered(): void {
    const nowMs = performance.now();
    this.#longestGapMs = Math.max(this.#longestGapMs, nowMs - this.#answeredMs);
    this.#answeredMs = nowMs;
  }

  /** The longest gap since the last call, the one that lasts included. */
  takeGapMs(): number {
    const longestMs = Math.max(this.#longestGapMs, performance.now() - this.#answeredMs);
    this.#longestGapMs = 0;
    return longestMs;
  }
}
