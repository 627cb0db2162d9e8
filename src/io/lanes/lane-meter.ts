/**
 * Where the time of a source lane goes, span by span: what the control of compression decides by.
 *
 * At work is the making of batches and handing them to the connection. Waiting with nothing on its way to the
 * destination is waiting for the guest's pages and counts for nothing.
 */
import { performance } from 'node:perf_hooks';
import type { CompressionControl } from '../../core/compress/compression-control.ts';
import type { LinkMemory } from './link-memory.ts';
import { HostIdle } from './host-idle.ts';
import { threadCpuMs } from './thread-cpu.ts';

const SPAN_MS = 100;
const SPAN_BATCHES = 4;

export class LaneMeter {
  readonly #control: CompressionControl;
  readonly #memory: LinkMemory;
  #startMs = performance.now();
  #busyMs = 0;
  #cpuBeforeMs = threadCpuMs();
  readonly #hostIdle = new HostIdle();
  #unemployedMs = 0;
  #unemployedSinceMs: number | null = this.#startMs;
  #wireBytes = 0;
  #ackedBytes = 0;
  #batches = 0;
  #blockedMs = 0;
  #blockedSinceMs: number | null = null;
  #destinationBusyMs = 0;
  #destinationLastMs: number | null = null;

  constructor(control: CompressionControl, memory: LinkMemory) {
    this.#control = control;
    this.#memory = memory;
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
   * `busyMs`: as the acknowledgement has it, modulo 2^32. `wireBytes`: of the batches that it names. `isLast`: nothing is on its way
   * any more, and nothing queued.
   */
  acked(busyMs: number, wireBytes: number, isLast: boolean): void {
    this.#ackedBytes += wireBytes;
    this.#destinationBusyMs += this.#destinationLastMs === null ? 0 : (busyMs - this.#destinationLastMs) >>> 0;
    this.#destinationLastMs = busyMs;
    if (isLast) this.#unemployedSinceMs ??= performance.now();
  }

  /** There is something to do. */
  called(): void {
    this.#employed(performance.now());
  }

  /** There is something to send, and the connection has not taken yet what came before it. */
  blocked(): void {
    this.#blockedSinceMs ??= performance.now();
  }

  /** The connection has taken something. */
  unblocked(): void {
    if (this.#blockedSinceMs !== null) this.#blockedMs += performance.now() - this.#blockedSinceMs;
    this.#blockedSinceMs = null;
  }

  #employed(nowMs: number): void {
    if (this.#unemployedSinceMs !== null) this.#unemployedMs += nowMs - this.#unemployedSinceMs;
    this.#unemployedSinceMs = null;
  }

  #endSpan(nowMs: number): void {
    const spanMs = nowMs - this.#startMs - this.#unemployedMs;
    const cpuMs = threadCpuMs();
    this.#control.spanEnded({
      nowMs,
      spanMs,
      cpuMs: cpuMs - this.#cpuBeforeMs,
      busyMs: Math.min(spanMs, this.#busyMs),
      blockedMs: Math.min(spanMs, this.#blockedMs),
      hostIdle: this.#hostIdle.take(),
      destinationBusyMs: Math.min(spanMs, this.#destinationBusyMs),
      wireBytes: this.#wireBytes,
      ackedBytes: this.#ackedBytes,
      link: this.#memory.delivered(Date.now()),
    });
    if (this.#control.link !== null) this.#memory.write(this.#control.link, Date.now());
    this.#startMs = nowMs;
    this.#cpuBeforeMs = cpuMs;
    this.#busyMs = 0;
    this.#blockedMs = 0;
    this.#unemployedMs = 0;
    this.#wireBytes = 0;
    this.#ackedBytes = 0;
    this.#batches = 0;
    this.#destinationBusyMs = 0;
  }

  close(): void {
    this.#hostIdle.close();
  }
}
