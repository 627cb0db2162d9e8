/**
 * What is known of the link to a host: shared by the lanes' threads, and kept from one migration to the next, so that
 * a short one need not find it out again. A measured rate is believed for a while; links change.
 *
 * Five float64. Of what lanes found out: milliseconds per byte of all of them together (0 = nothing known), and when that was measured
 * (epoch ms; 0 = it is only a bound, the link is at least so fast); they write when they like, one of two good values stays. Then
 * the same two of what the kernel says, which counts for more (app/ferry/link-rate.ts), and 1 where that is a bound.
 */
import type { KnownLink } from '../../core/compress/compression-control.ts';
import { isFast, provesFast } from '../../core/compress/fast-link.ts';

const BYTES = 40;
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
    if (delivered !== null) return delivered;
    const [msPerByte = 0, measuredAtMs = 0] = this.#values;
    if (msPerByte === 0) return null;
    return { msPerByte: msPerByte * this.#lanes, isMeasured: nowEpochMs - measuredAtMs < BELIEVED_MS };
  }

  /** The share of one lane, as the kernel saw it of late; null when it has not. */
  delivered(nowEpochMs: number): KnownLink | null {
    const [, , msPerByte = 0, atMs = 0, isBound = 0] = this.#values;
    if (msPerByte === 0 || nowEpochMs - atMs >= BELIEVED_MS) return null;
    return { msPerByte: msPerByte * this.#lanes, isMeasured: isBound === 0 };
  }

  /** It need not be measured before a migration. */
  isKnown(nowEpochMs: number): boolean {
    const link = this.read(nowEpochMs);
    return link !== null && (link.isMeasured || provesFast(1 / link.msPerByte));
  }

  /** The kernel has measured it, and a lane packs faster. */
  isKnownSlow(nowEpochMs: number): boolean {
    const link = this.delivered(nowEpochMs);
    return link?.isMeasured === true && !isFast(1 / link.msPerByte);
  }

  writeDelivered({ msPerByte, isMeasured }: KnownLink, nowEpochMs: number): void {
    this.#values[2] = msPerByte / this.#lanes;
    this.#values[3] = nowEpochMs;
    this.#values[4] = isMeasured ? 0 : 1;
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
