/**
 * Where the time of a source lane goes, span by span: what the control of compression decides by.
 *
 * At work is the making of batches and handing them to the connection. Waiting with nothing on its way to the
 * destination is waiting for the guest's pages and counts for nothing.
 */
import { performance } from 'node:perf_hooks';
import type { CompressionControl } from '../../core/compress/compression-control.ts';
import { HostIdle } from './host-idle.ts';

const SPAN_MS = 100;
const SPAN_BATCHES = 4;
/** Of a smaller batch the way there and back is most of the time. */
const BOUND_BYTES_MIN = 64 * 1024;
/** The destination counts its work in whole milliseconds. */
const BOUND_SHARE_MIN = 0.1;

/** A batch as it was handed to the connection. */
export type WrittenBatch = { readonly writtenAtMs: number; readonly wireBytes: number };

export class LaneMeter {
  readonly #control: CompressionControl;
  #startMs = performance.now();
  #busyMs = 0;
  readonly #hostIdle = new HostIdle();
  #unemployedMs = 0;
  #unemployedSinceMs: number | null = this.#startMs;
  #wireBytes = 0;
  #batches = 0;
  #destinationBusyMs = 0;
  #destinationLastMs: number | null = null;
  #linkMsPerByteMax = Infinity;

  constructor(control: CompressionControl) {
    this.#control = control;
  }

  /** A batch, begun at `startMs`, was queued on the connection; may end a span. */
  sent(wireBytes: number, startMs: number): void {
    const nowMs = performance.now();
    this.#busyMs += nowMs - startMs;
    this.#employed(nowMs);
    this.#wireBytes += wireBytes;
    this.#batches++;
    if (this.#batches >= SPAN_BATCHES && nowMs - this.#startMs - this.#unemployedMs >= SPAN_MS) this.#endSpan(nowMs);
  }

  /**
   * `busyMs`: as the acknowledgement has it, modulo 2^32. `newest`: of the batches that it names. `isLast`: nothing is on its way any
   * more, and nothing queued.
   */
  acked(busyMs: number, newest: WrittenBatch, isLast: boolean): void {
    const nowMs = performance.now();
    const workMs = this.#destinationLastMs === null ? 0 : (busyMs - this.#destinationLastMs) >>> 0;
    this.#destinationBusyMs += workMs;
    this.#destinationLastMs = busyMs;
    this.#boundLink(newest, nowMs - newest.writtenAtMs, workMs);
    if (isLast) this.#unemployedSinceMs ??= nowMs;
  }

  /** The batch crossed the link between its writing and its acknowledgement, and before the destination could work on it. */
  #boundLink({ wireBytes }: WrittenBatch, tookMs: number, workMs: number): void {
    if (wireBytes < BOUND_BYTES_MIN) return;
    const linkMs = Math.max(tookMs - workMs, BOUND_SHARE_MIN * tookMs);
    this.#linkMsPerByteMax = Math.min(this.#linkMsPerByteMax, linkMs / wireBytes);
  }

  /** There is something to do. */
  called(): void {
    this.#employed(performance.now());
  }

  #employed(nowMs: number): void {
    if (this.#unemployedSinceMs !== null) this.#unemployedMs += nowMs - this.#unemployedSinceMs;
    this.#unemployedSinceMs = null;
  }

  #endSpan(nowMs: number): void {
    const spanMs = nowMs - this.#startMs - this.#unemployedMs;
    this.#control.spanEnded({
      nowMs,
      spanMs,
      busyMs: Math.min(spanMs, this.#busyMs),
      hostIdle: this.#hostIdle.take(),
      destinationBusyMs: Math.min(spanMs, this.#destinationBusyMs),
      wireBytes: this.#wireBytes,
      linkMsPerByteMax: this.#linkMsPerByteMax,
    });
    this.#startMs = nowMs;
    this.#busyMs = 0;
    this.#unemployedMs = 0;
    this.#wireBytes = 0;
    this.#batches = 0;
    this.#destinationBusyMs = 0;
    this.#linkMsPerByteMax = Infinity;
  }

  close(): void {
    this.#hostIdle.close();
  }
}
