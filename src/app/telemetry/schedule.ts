/** When something that is done now and then is due; after failures ever later. Pure but for what it remembers. */
import { RETRY_MS_MAX, RETRY_MS_MIN } from './limits.ts';

export class Schedule {
  readonly #intervalMs: number;
  readonly #retryMsMax: number;
  #dueMs = -Infinity;
  #retryMs = RETRY_MS_MIN;

  constructor(intervalMs: number, retryMsMax = RETRY_MS_MAX) {
    this.#intervalMs = intervalMs;
    this.#retryMsMax = retryMsMax;
  }

  isDue(nowMs: number): boolean {
    return nowMs >= this.#dueMs;
  }

  succeeded(nowMs: number): void {
    this.#dueMs = nowMs + this.#intervalMs;
    this.#retryMs = RETRY_MS_MIN;
  }

  failed(nowMs: number): void {
    this.#dueMs = nowMs + this.#retryMs;
    this.#retryMs = Math.min(this.#retryMsMax, 2 * this.#retryMs);
  }
}
