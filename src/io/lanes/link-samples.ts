/**
 * What the kernel says of the connections of a migration's lanes, and what follows for the share of one of them: how fast the link is, once it was
 * measured often enough, or that it is fast at the least, as soon as that is proved.
 */
import type { KnownLink } from '../../core/compress/compression-control.ts';
import { provesFast } from '../../core/compress/fast-link.ts';
import { BusyBound, type Acknowledged } from './busy-bound.ts';
import { DeliverySamples } from './delivery-samples.ts';

/** Before a connection has sent this much its rate is that of a burst, which a shaper lets through. */
const SENT_BYTES_MIN = 1 << 20;
/** A fast link proves it within this much work. */
const DISPROVED_MS = 40;

/** And how fast it delivers: `Delivery` of io/link/delivery-rates.ts. */
export type LaneDelivery = Acknowledged & {
  readonly sentBytes: number;
  readonly bytesPerMs: number | null;
  readonly isBusy: boolean;
};

export class LinkSamples {
  readonly #lanes: number;
  readonly #words = new DeliverySamples();
  readonly #bound = new BusyBound();
  readonly #sentBytes = new Map<string, number>();
  #wasProved = false;

  constructor(lanes: number) {
    this.#lanes = lanes;
  }

  /** What the kernel says of all lanes now. */
  add(deliveries: readonly LaneDelivery[], nowMs: number): void {
    this.#bound.add(deliveries, nowMs);
    this.#wasProved ||= provesFast(this.#leastBytesPerMs);
    for (const { connection, sentBytes, bytesPerMs, isBusy } of deliveries) {
      const isNews = sentBytes >= SENT_BYTES_MIN && sentBytes !== this.#sentBytes.get(connection);
      this.#sentBytes.set(connection, sentBytes);
      // Only what a connection delivers that had more to send says something of the link.
      if (isNews && isBusy && bytesPerMs !== null && bytesPerMs > 0) this.#words.add(bytesPerMs);
    }
  }

  /** The share of one lane; null while it is not known. */
  get link(): KnownLink | null {
    const least = this.#leastBytesPerMs;
    const { bytesPerMs: word } = this.#words;
    if (provesFast(least) && least > (word ?? 0)) return { msPerByte: 1 / least, isMeasured: false };
    return word === null ? null : { msPerByte: 1 / word, isMeasured: true };
  }

  /** Of a link that is guessed to be fast, and has worked long enough without showing it: the share of one lane as far as it shows; null otherwise. */
  get disproof(): KnownLink | null {
    if (this.#wasProved || this.#bound.busyMs < DISPROVED_MS) return null;
    return { msPerByte: 1 / this.#leastBytesPerMs, isMeasured: true };
  }

  get #leastBytesPerMs(): number {
    return this.#bound.bytesPerMs / this.#lanes;
  }

  /** More will hardly change it. */
  get isSettled(): boolean {
    return this.#words.isSettled;
  }
}
