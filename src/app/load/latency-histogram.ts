/**
 * Latencies as counts in buckets whose bounds grow by 5 %, so that a percentile is right to that, whatever the number of
 * requests; nothing is kept per request. The maximum is exact. Pure.
 */
import type { LatencyMs } from './load-report.ts';

const LOWEST_MS = 0.01;
const GROWTH = 1.05;
/** Up to 0.01 * 1.05^400, which is 50 minutes. */
const BUCKETS = 400;

export class LatencyHistogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;
  #maxMs = 0;

  add(ms: number): void {
    const bucket = Math.ceil(Math.log(Math.max(ms, LOWEST_MS) / LOWEST_MS) / Math.log(GROWTH));
    this.#counts[Math.min(bucket, BUCKETS - 1)]!++;
    this.#total++;
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  /** What was added since the last call. */
  take(): LatencyMs | null {
    if (this.#total === 0) return null;
    const [p50, p90, p99, max] = [this.#percentile(0.5), this.#percentile(0.9), this.#percentile(0.99), this.#maxMs];
    this.#counts.fill(0);
    this.#total = 0;
    this.#maxMs = 0;
    return { p50, p90, p99, max };
  }

  /** Upper bound of the bucket that holds it. */
  #percentile(share: number): number {
    const rank = Math.ceil(this.#total * share);
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket]!;
      if (seen >= rank) return Math.min(LOWEST_MS * GROWTH ** bucket, this.#maxMs);
    }
    return this.#maxMs;
  }
}
