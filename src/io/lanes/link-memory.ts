/**
 * What lanes have found out about the link to a host: shared by their threads, and kept from one migration to the next, so that
 * a short one need not find it out again. A measured rate is believed for a while; links change.
 *
 * Two float64: milliseconds per byte of all lanes together (0 = nothing known), and when that was measured (epoch ms; 0 = it is
 * only a bound, the link is at least so fast). Lanes write when they like: one of two good values stays.
 */
import type { KnownLink } from '../../core/compress/compression-control.ts';

const BYTES = 16;
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
    const [msPerByte = 0, measuredAtMs = 0] = this.#values;
    if (msPerByte === 0) return null;
    return { msPerByte: msPerByte * this.#lanes, isMeasured: nowEpochMs - measuredAtMs < BELIEVED_MS };
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
