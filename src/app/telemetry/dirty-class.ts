/** From looks at some pages of a guest to the rate at which it writes to its memory, and the class of that rate. Pure. */
import type { DirtyClass } from '../../core/model/telemetry.ts';

/** Below so much of its memory per second. */
const IDLE_BELOW = 0.005;
const LOW_BELOW = 0.03;
const MEDIUM_BELOW = 0.15;

/** `share`: of its memory, 0 to 1, that was written to within a second. */
export function dirtyClassOf(share: number): DirtyClass {
  if (share < IDLE_BELOW) return 'idle';
  if (share < LOW_BELOW) return 'low';
  return share < MEDIUM_BELOW ? 'medium' : 'high';
}

/** The mean of the last few values. */
export class RecentMean {
  readonly #values: number[] = [];
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  add(value: number): void {
    this.#values.push(value);
    if (this.#values.length > this.#count) this.#values.shift();
  }

  /** Null before the first value. */
  get mean(): number | null {
    const { length } = this.#values;
    return length === 0 ? null : this.#values.reduce((sum, value) => sum + value, 0) / length;
  }
}
