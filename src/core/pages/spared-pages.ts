/**
 * R4: pages that wait to be sent but are not handed out, because the guest may do without them.
 *
 * A chunk is in one of four states, and with it every spared page of it:
 *
 *     closed ──begin──▶ reading ──end──▶ open (what is spared was free)
 *       ▲ close          ▲ │             or provisional (free, or cache that will be dropped)
 *                        └─┴──── begin ───┘
 *
 * `closed`: nothing is known yet, what is named is spared. `begin` is the time t of R4, at which the question is asked: what waits
 * is spared from then on, what is named later is pending whatever the guest says. `end`: the answer; what the guest did
 * not give up is pending. Hence a page spared in an open chunk was named before t, was free after t, and has not been named since.
 * Of the others that cannot be said.
 *
 * A spared page of which the destination has seen content is stale: it is to be overwritten with zero there, so that a guest
 * that zeroes what it frees (init_on_free) finds zeros.
 */
import { countSetBits, nextClearBit, nextSetBit, popCount } from './bitmap.ts';

/** Words of 32 pages in a chunk. */
const CHUNK_WORDS = 16;

const OPEN = 0;
const CLOSED = 1;
const READING = 2;
const PROVISIONAL = 3;

export class SparedPages {
  readonly #spared: Uint32Array;
  readonly #stale: Uint32Array;
  readonly #stateOfChunk: Uint8Array;
  #isInUse = false;
  #pages = 0;
  #stalePages = 0;

  constructor(spanPages: number) {
    this.#spared = new Uint32Array(spanPages / 32);
    this.#stale = new Uint32Array(spanPages / 32);
    this.#stateOfChunk = new Uint8Array(spanPages / 32 / CHUNK_WORDS);
  }

  /** Whether a page was ever spared or could have been. Hot. */
  get isInUse(): boolean {
    return this.#isInUse;
  }

  get pages(): number {
    return this.#pages;
  }

  get stalePages(): number {
    return this.#stalePages;
  }

  isSpared(global: number): boolean {
    return ((this.#spared[global >>> 5] ?? 0) & (1 << (global & 31))) !== 0;
  }

  /** First page of [from, end) that is spared (or, with `false`, is not); `end` when there is none. */
  next(from: number, end: number, spared: boolean): number {
    return spared ? nextSetBit(this.#spared, from, end) : nextClearBit(this.#spared, from, end);
  }

  nextStale(from: number, end: number): number {
    return nextSetBit(this.#stale, from, end);
  }

  endOfStale(from: number, end: number): number {
    return nextClearBit(this.#stale, from, end);
  }

  /** Nothing is known of the chunk yet: what is named in it is spared. Hot. */
  isClosed(chunk: number): boolean {
    return this.#stateOfChunk[chunk] === CLOSED;
  }

  close(chunk: number): void {
    this.#stateOfChunk[chunk] = CLOSED;
    this.#isInUse = true;
  }

  /** The guest is asked about the chunk now. */
  begin(chunk: number): void {
    this.#stateOfChunk[chunk] = READING;
    this.#isInUse = true;
  }

  /** The guest has answered; false when nobody had asked. */
  end(chunk: number, isProof: boolean): boolean {
    if (this.#stateOfChunk[chunk] !== READING) return false;
    this.#stateOfChunk[chunk] = isProof ? OPEN : PROVISIONAL;
    return true;
  }

  /** Chunks whose spared pages were not proven to be free; they count as proven from now on. */
  *unproven(): Generator<number> {
    for (const [chunk, state] of this.#stateOfChunk.entries()) {
      if (state === OPEN) continue;
      this.#stateOfChunk[chunk] = OPEN;
      yield chunk;
    }
  }

  /** Pages of which the guest has not said yet whether it needs them. Walks over all chunks. */
  undecidedPages(): number {
    let pages = 0;
    for (const [chunk, state] of this.#stateOfChunk.entries()) {
      if (state === CLOSED || state === READING) pages += this.pagesOfChunk(chunk);
    }
    return pages;
  }

  pagesOfChunk(chunk: number): number {
    let pages = 0;
    for (let word = chunk * CHUNK_WORDS; word < (chunk + 1) * CHUNK_WORDS; word++)
      pages += popCount(this.#spared[word]!);
    return pages;
  }

  word(word: number): number {
    return this.#spared[word]!;
  }

  staleWord(word: number): number {
    return this.#stale[word]!;
  }

  /** Hot: no allocation. */
  add(word: number, bits: number): void {
    this.#pages += popCount(bits & ~this.#spared[word]!);
    this.#spared[word]! |= bits;
  }

  /** Hot: no allocation. */
  remove(word: number, bits: number): void {
    this.#pages -= popCount(bits & this.#spared[word]!);
    this.#spared[word]! &= ~bits;
    this.clearStale(word, bits);
  }

  markStale(word: number, bits: number): void {
    this.#stalePages += popCount(bits & ~this.#stale[word]!);
    this.#stale[word]! |= bits;
  }

  clearStale(word: number, bits: number): void {
    this.#stalePages -= popCount(bits & this.#stale[word]!);
    this.#stale[word]! &= ~bits;
  }

  /** Whether the counters say what the bitmaps say. Slow: for tests. */
  isSound(): boolean {
    const isSpared = this.#stale.every((word, i) => (word & ~this.#spared[i]!) === 0);
    return isSpared && countSetBits(this.#spared) === this.#pages && countSetBits(this.#stale) === this.#stalePages;
  }
}
