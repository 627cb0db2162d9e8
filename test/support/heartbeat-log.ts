/**
 * What a receiver makes of a guest's heartbeat (guests/programs/heartbeat.c): gaps, losses, and whether two guests ever sent it.
 *
 * A packet that was overtaken on its way tells nothing about the guest: queues of two processors hand packets over as they come to it.
 * The same number with another clock does: the guest ran twice from the same point.
 */
export type HeartbeatReport = {
  readonly packets: number;
  readonly lost: number;
  /** Came after one that was sent later. */
  readonly overtaken: number;
  /** Came again, byte by byte the same. */
  readonly repeated: number;
  /** Numbers that were sent with two different clocks. */
  readonly contradicted: number;
  readonly longestGapMs: number;
  /** Milliseconds since the epoch at which that gap began. */
  readonly longestGapAtMs: number;
};

export class HeartbeatLog {
  readonly #clocks = new Map<bigint, bigint>();
  readonly #counts = { packets: 0, overtaken: 0, repeated: 0, contradicted: 0 };
  readonly #gap = { longestGapMs: 0, longestGapAtMs: 0 };
  #lastMs: number | null = null;
  #first: bigint | null = null;
  #last = -1n;

  /** `nowMs`: milliseconds since the epoch. */
  received(packet: Buffer, nowMs: number): void {
    const [sequence, clock] = [packet.readBigUInt64LE(0), packet.readBigUInt64LE(8)];
    this.#noteGap(nowMs);
    this.#counts.packets++;
    const before = this.#clocks.get(sequence);
    if (before !== undefined) this.#counts[before === clock ? 'repeated' : 'contradicted']++;
    else if (sequence < this.#last) this.#counts.overtaken++;
    this.#clocks.set(sequence, clock);
    if (this.#first === null || sequence < this.#first) this.#first = sequence;
    if (sequence > this.#last) this.#last = sequence;
  }

  get report(): HeartbeatReport {
    const sent = this.#first === null ? 0 : Number(this.#last - this.#first) + 1;
    return { ...this.#counts, ...this.#gap, lost: sent - this.#clocks.size };
  }

  #noteGap(nowMs: number): void {
    if (this.#lastMs !== null && nowMs - this.#lastMs > this.#gap.longestGapMs) {
      this.#gap.longestGapMs = nowMs - this.#lastMs;
      this.#gap.longestGapAtMs = this.#lastMs;
    }
    this.#lastMs = nowMs;
  }
}
