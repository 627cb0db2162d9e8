/**
 * Fields of a push parser that may be cut by chunk edges.
 *
 * `take` makes the next `need` bytes contiguous: in place when the chunk holds them all (no copy), else in a small
 * buffer that is filled over several chunks. Invariant: #held < need between calls, and need never changes while #held > 0.
 */
export class FieldBuffer {
  /** Where the field taken last lies; valid until the next call. */
  bytes: Uint8Array;
  at = 0;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  #held = 0;

  constructor(maxNeed: number) {
    this.#buffer = new Uint8Array(maxNeed);
    this.bytes = this.#buffer;
  }

  /** Bytes of an unfinished field. */
  get held(): number {
    return this.#held;
  }

  /** The position after the field, or -1 when the chunk ended first (all of it was kept). `need` is 1 to maxNeed. */
  take(chunk: Uint8Array, from: number, need: number): number {
    if (this.#held === 0 && chunk.length - from >= need) {
      this.bytes = chunk;
      this.at = from;
      return from + need;
    }
    const count = Math.min(need - this.#held, chunk.length - from);
    this.#buffer.set(chunk.subarray(from, from + count), this.#held);
    this.#held += count;
    if (this.#held < need) return -1;
    this.#held = 0;
    this.bytes = this.#buffer;
    this.at = 0;
    return from + count;
  }
}
