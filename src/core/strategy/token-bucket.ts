/**
 * A bandwidth cap. Grants are taken at an estimate before the bytes exist and corrected when they do, so the level may be
 * negative; over any span of time the bytes granted are at most rate x time + one burst + what was last granted.
 */

/** Time whose bytes may be sent in one go after a pause. */
const BURST_MS = 50;

export class TokenBucket {
  readonly #bytesPerMs: number | null;
  #levelBytes: number;
  #atMs: number;

  /** No cap when bytesPerSecond is null. */
  constructor(bytesPerSecond: number | null, nowMs: number) {
    this.#bytesPerMs = bytesPerSecond === null ? null : bytesPerSecond / 1000;
    this.#levelBytes = (this.#bytesPerMs ?? 0) * BURST_MS;
    this.#atMs = nowMs;
  }

  /** Whether something may be sent now. Hot. */
  isOpen(nowMs: number): boolean {
    if (this.#bytesPerMs === null) return true;
    const refilled = this.#levelBytes + Math.max(0, nowMs - this.#atMs) * this.#bytesPerMs;
    this.#levelBytes = Math.min(refilled, this.#bytesPerMs * BURST_MS);
    this.#atMs = Math.max(this.#atMs, nowMs);
    return this.#levelBytes > 0;
  }

  /** Takes bytes, or gives them back when negative. Hot. */
  take(bytes: number): void {
    if (this.#bytesPerMs !== null) this.#levelBytes -= bytes;
  }

  /** Most pages worth one grant, so that a grant never lasts much longer than a burst. */
  pagesMax(wireBytesPerPage: number): number {
    return this.#bytesPerMs === null ? Infinity : (this.#bytesPerMs * BURST_MS) / wireBytesPerPage;
  }
}
