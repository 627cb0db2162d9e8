/**
 * Where the guest is going to write next: programs that fill or sweep an array, a log or a heap go through memory in order, and so
 * does the dirty log from one sync to the next. A page ahead of such a front is best sent after the front has passed it.
 *
 *     chunk          10 11 12 13 14 15 16 17 18 19
 *     written before  #  #  #  .  .  .  .  .  .  .
 *     written now     .  .  #  #  #  .  .  .  .  .     the front moves up by 2 chunks per sync
 *     syncs ahead     .  .  .  .  1  1  1  2  2  3 ..  when it will be there; `horizon` = what the lanes still take
 */
import { CHUNK_PAGES } from './limits.ts';

/** A chunk with fewer written pages than this has single ones that are written now and then, and no front. */
const DENSE_PAGES = CHUNK_PAGES / 4;
/** A run of written chunks beside none that was written before is taken for a front from this length on. */
const NEW_FRONT_CHUNKS = 2;
const SYNCS_MAX = 255;

export class WriteFronts {
  readonly #chunks: number;
  /** Pages named again since the last sync, per chunk. */
  readonly #written: Uint16Array;
  #wasDense: Uint8Array;
  #isDense: Uint8Array;
  /** In how many syncs a front is expected to have come into the chunk; 0 = none is. */
  readonly #syncsAhead: Uint8Array;
  #horizonSyncs = 0;
  #takenPages = 0;

  constructor(chunks: number) {
    this.#chunks = chunks;
    this.#written = new Uint16Array(chunks);
    this.#wasDense = new Uint8Array(chunks);
    this.#isDense = new Uint8Array(chunks);
    this.#syncsAhead = new Uint8Array(chunks);
  }

  /** A page of the chunk was named again. Hot: no allocation. */
  wrote(chunk: number): void {
    this.#written[chunk]!++;
  }

  /** Whether a front is expected in the chunk within the horizon. Hot. */
  isAhead(chunk: number): boolean {
    return this.#syncsAhead[chunk]! > 0 && this.#syncsAhead[chunk]! <= this.#horizonSyncs;
  }

  /** Nothing is left beyond the horizon: what is farthest from the fronts has its turn. False when no chunk is ahead any more. */
  drawNearer(): boolean {
    if (this.#horizonSyncs === 0) return false;
    this.#horizonSyncs >>= 1;
    return true;
  }

  /** Every page that was written has been named. `leftPages` wait for their turn; `takenPages` were handed out since the beginning. */
  sweepEnded(leftPages: number, takenPages: number): void {
    [this.#wasDense, this.#isDense] = [this.#isDense, this.#wasDense];
    this.#written.forEach((pages, chunk) => (this.#isDense[chunk] = pages >= DENSE_PAGES ? 1 : 0));
    this.#written.fill(0);
    this.#syncsAhead.fill(0);
    this.#horizonSyncs = Math.min(SYNCS_MAX, Math.ceil(leftPages / Math.max(1, takenPages - this.#takenPages)));
    this.#takenPages = takenPages;
    for (let first = 0; first < this.#chunks;) {
      let end = first;
      while (end < this.#chunks && this.#isDense[end] === 1) end++;
      if (end > first) this.#foresee(first, end);
      first = end + 1;
    }
  }

  /** A run of densely written chunks: where it has grown to since the last sync, it is taken to grow on. */
  #foresee(first: number, end: number): void {
    let top = end;
    while (top > first && this.#wasDense[top - 1] === 0) top--;
    let bottom = first;
    while (bottom < end && this.#wasDense[bottom] === 0) bottom++;
    const isAllNew = top === first;
    const cameFromBelow = !isAllNew || this.#wasDense[first - 1] === 1;
    const cameFromAbove = !isAllNew || this.#wasDense[end] === 1;
    const isUp = cameFromBelow || (!cameFromAbove && end - first >= NEW_FRONT_CHUNKS);
    if (isUp && top < end) this.#expect(end - 1, 1, end - top);
    if (cameFromAbove && bottom > first) this.#expect(first, -1, bottom - first);
  }

  /** A front in a chunk, not through with it, moves on by so many chunks per sync. */
  #expect(from: number, step: 1 | -1, chunksPerSync: number): void {
    for (let chunk = from, gone = 0; chunk >= 0 && chunk < this.#chunks; chunk += step, gone++) {
      const syncs = Math.max(1, Math.ceil(gone / chunksPerSync));
      if (syncs > this.#horizonSyncs) return;
      const known = this.#syncsAhead[chunk]!;
      this.#syncsAhead[chunk] = known === 0 ? syncs : Math.min(known, syncs);
    }
  }
}
