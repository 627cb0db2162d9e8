/** Turns a counter that only grows into a rate. Pure but for what it remembers: the value before. */
export class Meter {
  #value: number | null = null;
  #atMs = 0;

  /** Per second since the last call; null at first, and when the counter is not known or began anew. */
  rate(value: number | null, nowMs: number): number | null {
    const before = this.#value;
    const seconds = (nowMs - this.#atMs) / 1000;
    this.#value = value;
    this.#atMs = nowMs;
    if (value === null || before === null || value < before || seconds <= 0) return null;
    return (value - before) / seconds;
  }
}
