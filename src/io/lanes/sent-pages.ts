/**
 * Which pages a lane has sent, and how many bytes of its frames are pages that it had sent before: one bit per page.
 *
 * A frame holds pages of both kinds, compressed together. Where all of its pages are repeats, all of its bytes are. Where
 * some are, its deltas count in full and whole pages share what is left of the payload by their number: that is too much
 * for the repeats by what compression saves on deltas, never too little for them.
 */
import { laneHeadBytes, RUN_BYTES } from '../../core/wire/lane-frame.ts';
import type { MemoryMap } from './lane-protocol.ts';

/** What is in a frame. `unchangedPages` are repeats that needed no bytes. */
export type FrameContent = {
  readonly runCount: number;
  readonly deltaRuns: number;
  readonly payloadBytes: number;
  readonly deltaBytes: number;
  readonly wholePages: number;
  /** Of `wholePages`, those that had been sent before. */
  readonly resentWholePages: number;
  readonly deltaPages: number;
  readonly unchangedPages: number;
};

export class SentPages {
  readonly #words: Uint32Array;

  constructor(memory: MemoryMap) {
    const pages = memory.reduce((most, block) => Math.max(most, block.firstPage + block.pageCount), 0);
    this.#words = new Uint32Array(Math.ceil(pages / 32));
  }

  /** The page is sent; returns whether it had been before. Hot: no allocation. */
  mark(page: number): boolean {
    const word = page >>> 5;
    const bits = this.#words[word]!;
    this.#words[word] = bits | (1 << (page & 31));
    return (bits & (1 << (page & 31))) !== 0;
  }
}

/** Bytes of a frame that are pages sent again, its header and run table included. */
export function resentBytesOf(frame: FrameContent): number {
  const { runCount, deltaRuns, payloadBytes, deltaBytes, wholePages, resentWholePages } = frame;
  if (resentWholePages + frame.deltaPages + frame.unchangedPages === 0) return 0;
  if (resentWholePages === wholePages) return laneHeadBytes(runCount) + payloadBytes;
  const deltas = Math.min(deltaBytes, payloadBytes);
  return deltaRuns * RUN_BYTES + deltas + Math.round(((payloadBytes - deltas) * resentWholePages) / wholePages);
}
