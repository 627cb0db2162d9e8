/**
 * What is known of the link to a host: shared by the lanes' threads, and kept from one migration to the next, so that
 * a short one need not find it out again. A measured rate is believed for a while; links change.
 *
 * Four float64. Of what lanes found out: milliseconds per byte of all of them together (0 = nothing known), and when that was measured
 * (epoch ms; 0 = it is only a bound, the link is at least so fast); they write when they like, one of two good values stays. Then
 * the same two of what the kernel says, which counts for more (app/ferry/link-rate.ts).
 */
import type { KnownLink } from '../../core/compress/compression-control.ts';

const BYTES = 32;
const BELIEVED_MS = 10 * 60_000;

/** Agents have few peers; whoever makes up names must not fill our memory. */
const PEERS_MAX = 1024;

export class LinkMemory {
  readonly #values: Float64Array;
  readonly #lanes: number;

  /** `lanes`: among how many the link is shared. */
  constructor(shared: SharedArrayBuffer, lanes: number) {
    this.#values = new Float64Array(shared);
    this.#lanes = lanes;
  }

  /** The share of one lane; null when nothing is known. */
  read(nowEpochMs: number): KnownLink | null {
    const delivered = this.delivered(nowEpochMs);
    if (delivered !== null) return { msPerByte: delivered, isMeasured: true };
    const [msPerByte = 0, measuredAtMs = 0] = this.#values;
    if (msPerByte === 0) return null;
    return { msPerByte: msPerByte * this.#lanes, isMeasured: nowEpochMs - measuredAtMs < BELIEVED_MS };
  }

  /** Milliseconds per byte of one lane's share, as the kernel saw it of late; null when it has not. */
  delivered(nowEpochMs: number): number | null {
    const [, , msPerByte = 0, atMs = 0] = this.#values;
    return msPerByte > 0 && nowEpochMs - atMs < BELIEVED_MS ? msPerByte * this.#lanes : null;
  }

  /** `msPerByte`: of one lane. */
  writeDelivered(msPerByte: number, nowEpochMs: number): void {
    this.#values[2] = msPerByte / this.#lanes;
    this.#values[3] = nowEpochMs;
  }

  write({ msPerByte, isMeasured }: KnownLink, nowEpochMs: number): void {
    this.#values[0] = msPerByte / this.#lanes;
    this.#values[1] = isMeasured ? nowEpochMs : 0;
  }
}

/** Nothing is known yet. */
export function newLinkMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(BYTES);
}

/** The memories of the links to all peers. */
export class LinkMemories {
  readonly #byPeer = new Map<string, SharedArrayBuffer>();

  of(peerName: string): SharedArrayBuffer {
    const known = this.#byPeer.get(peerName) ?? newLinkMemory();
    this.#byPeer.set(peerName, known);
    if (this.#byPeer.size > PEERS_MAX) this.#byPeer.delete(this.#byPeer.keys().next().value ?? '');
    return known;
  }
}
