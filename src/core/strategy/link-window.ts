/**
 * What is between us and the destination: a FIFO of batches per lane, and the rates that its acknowledgements show.
 *
 * Late binding: what is in flight over all lanes is bounded by what the link carries in its own delay plus 50 ms, so that
 * the order of pages follows fresh dirty information and the buffers of the link do not become downtime. Two batches
 * per lane are always allowed, and batches get smaller when the link is slow.
 *
 * Rates count only time in which there was a backlog; a link that had nothing to carry says nothing about its speed.
 */
import { assert } from '../base/assert.ts';
import * as limits from './limits.ts';

type Batch = { id: number; pages: number; wireBytes: number; sentAtMs: number | null };

export type AckedBatch = { readonly pages: number; readonly wireBytes: number };

export class LinkWindow {
  readonly #lanes: Batch[][];
  readonly #nextIds: number[];
  readonly #batchPagesMax: number;
  #inFlightPages = 0;
  #inFlightWireBytes = 0;
  #wireBytesPerPage = limits.WIRE_BYTES_PER_PAGE_ASSUMED;
  #pagesPerMs: number | null = null;
  #wireBytesPerMs: number | null = null;
  #roundTripMs: number | null = null;
  // The running sample: acknowledged with a backlog, and the time that took.
  #samplePages = 0;
  #sampleWireBytes = 0;
  #sampleMs = 0;
  #atMs: number;

  constructor(lanes: number, batchPagesMax: number, nowMs: number) {
    this.#lanes = Array.from({ length: lanes }, () => []);
    this.#nextIds = Array.from({ length: lanes }, () => 0);
    this.#batchPagesMax = batchPagesMax;
    this.#atMs = nowMs;
  }

  get inFlightPages(): number {
    return this.#inFlightPages;
  }

  /** Actual size of what was sent, estimated size of what is still being read. */
  get inFlightWireBytes(): number {
    return this.#inFlightWireBytes;
  }

  get wireBytesPerPage(): number {
    return this.#wireBytesPerPage;
  }

  /** Pages acknowledged per millisecond while there was a backlog. */
  get pagesPerMs(): number {
    return this.#pagesPerMs ?? limits.PAGES_PER_MS_ASSUMED;
  }

  get isMeasured(): boolean {
    return this.#pagesPerMs !== null;
  }

  /** Null before the first measurement. */
  get wireBytesPerSecond(): number | null {
    return this.#wireBytesPerMs === null ? null : this.#wireBytesPerMs * 1000;
  }

  /** Bytes that may be in flight before a lane with two batches has to wait. */
  get windowWireBytes(): number {
    const ms = limits.WINDOW_MS + Math.min(this.#roundTripMs ?? 0, limits.ROUND_TRIP_MS_MAX);
    return (this.#wireBytesPerMs ?? 0) * ms;
  }

  batchesOfLane(lane: number): number {
    return this.#lanes[lane]!.length;
  }

  /** Number of the lane's next batch, counted from 0. */
  nextIdOfLane(lane: number): number {
    return this.#nextIds[lane]!;
  }

  /** Whether a lane may be given another batch. Hot. */
  isOpen(lane: number): boolean {
    const batches = this.#lanes[lane]!.length;
    if (batches < limits.LANE_BATCHES_MIN) return true;
    return (
      batches < limits.LANE_BATCHES_MAX &&
      this.#inFlightWireBytes < Math.max(this.windowWireBytes, this.#leastWireBytes())
    );
  }

  /** On a slow link the threads are not what takes time, and every batch more would be a queue. */
  #leastWireBytes(): number {
    const isFast = this.#pagesPerMs !== null && this.batchPages() >= limits.FAST_BATCH_PAGES;
    return isFast ? Math.min(limits.FAST_WIRE_BYTES_MIN, (this.#wireBytesPerMs ?? 0) * limits.FAST_WINDOW_MS) : 0;
  }

  /** Pages of the next batch: a lane's two batches fill its share of the window. */
  batchPages(): number {
    if (this.#pagesPerMs === null) return Math.min(limits.BATCH_PAGES_FIRST, this.#batchPagesMax);
    const share = (this.#pagesPerMs * limits.WINDOW_MS) / (limits.LANE_BATCHES_MIN * this.#lanes.length);
    const rounded = Math.floor(share / limits.BATCH_PAGES_MIN) * limits.BATCH_PAGES_MIN;
    return Math.min(this.#batchPagesMax, Math.max(limits.BATCH_PAGES_MIN, rounded));
  }

  /** Returns the estimated wire bytes of the batch. */
  granted(lane: number, pages: number): number {
    const wireBytes = pages * this.#wireBytesPerPage;
    this.#lanes[lane]!.push({ id: this.#nextIds[lane]!++, pages, wireBytes, sentAtMs: null });
    this.#inFlightPages += pages;
    this.#inFlightWireBytes += wireBytes;
    return wireBytes;
  }

  /** The batch has been read and framed. Returns actual minus estimated wire bytes. */
  sent(lane: number, id: number, wireBytes: number, nowMs: number): number {
    const batch = this.#lanes[lane]!.find((one) => one.sentAtMs === null);
    assert(batch !== undefined && batch.id === id, `batch ${id} of lane ${lane} is the next one to be sent`);
    const correction = wireBytes - batch.wireBytes;
    batch.wireBytes = wireBytes;
    batch.sentAtMs = nowMs;
    this.#inFlightWireBytes += correction;
    const weight = Math.min(0.5, batch.pages / 1024);
    this.#wireBytesPerPage += weight * (wireBytes / batch.pages - this.#wireBytesPerPage);
    return correction;
  }

  /** The destination has placed this batch and every earlier one of the lane. */
  acked(lane: number, id: number, backlog: boolean, nowMs: number): void {
    const batches = this.#lanes[lane]!;
    this.pass(backlog, nowMs);
    while (batches.length > 0 && batches[0]!.id <= id) {
      const batch = batches.shift()!;
      assert(batch.sentAtMs !== null, `batch ${batch.id} of lane ${lane} was sent before it was acknowledged`);
      this.#inFlightPages -= batch.pages;
      this.#inFlightWireBytes -= batch.wireBytes;
      const roundTripMs = nowMs - batch.sentAtMs;
      this.#roundTripMs = Math.min(this.#roundTripMs ?? Infinity, Math.max(0, roundTripMs));
      this.#samplePages += backlog ? batch.pages : 0;
      this.#sampleWireBytes += backlog ? batch.wireBytes : 0;
    }
    if (this.#sampleMs >= limits.RATE_SAMPLE_MS && this.#samplePages > 0) this.#foldSample();
  }

  /** Time passed; with a backlog it counts against the rates. */
  pass(backlog: boolean, nowMs: number): void {
    if (backlog) this.#sampleMs += Math.max(0, nowMs - this.#atMs);
    this.#atMs = Math.max(this.#atMs, nowMs);
  }

  #foldSample(): void {
    const pagesPerMs = this.#samplePages / this.#sampleMs;
    const wireBytesPerMs = this.#sampleWireBytes / this.#sampleMs;
    const weight = this.#pagesPerMs === null ? 1 : limits.RATE_WEIGHT;
    this.#pagesPerMs = (this.#pagesPerMs ?? 0) * (1 - weight) + pagesPerMs * weight;
    this.#wireBytesPerMs = (this.#wireBytesPerMs ?? 0) * (1 - weight) + wireBytesPerMs * weight;
    this.#samplePages = 0;
    this.#sampleWireBytes = 0;
    this.#sampleMs = 0;
  }
}
