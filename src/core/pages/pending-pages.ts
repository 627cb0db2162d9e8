/**
 * Pages whose newest content the destination may not have and that lanes may be given: a bitmap, and how many there are per
 * chunk, lane and group, so that a batch is found without a walk over memory.
 */
import { assert } from '../base/assert.ts';
import {
  countSetBits,
  maskOfWord,
  nextClearBit,
  nextOtherBitWhere,
  nextSetBit,
  nextSetBitWhere,
  popCount,
} from './bitmap.ts';
import type { HotPages } from './hot-pages.ts';
import { CHUNK_PAGES } from './limits.ts';
import type { WriteFronts } from './write-fronts.ts';

/**
 * Pending pages as MPLM divides them: `neverDirtied` were named once, as every page is by the first sweep; `dirtied` were
 * named again, so the guest has written to them since the migration began.
 * `undisturbed` are the never-dirtied ones of chunks that no write front is expected in. `calm` are those of chunks in which no
 * page is withheld. `unsent` were never handed to a lane, `repeats` were.
 */
export type PageGroup = 'all' | 'neverDirtied' | 'dirtied' | 'undisturbed' | 'calm' | 'unsent' | 'repeats';

/** What decides whether pages of a chunk are of a group, beside its own counts. */
export type ChunkKinds = { readonly hot: HotPages; readonly fronts: WriteFronts };

export class PendingPages {
  readonly #pending: Uint32Array;
  readonly #sentBefore: Uint32Array;
  readonly #dirtyCounts: Uint8Array;
  /** Pages that were named after the first time; a chunk's words are made when it is looked at, not at each naming. */
  readonly #dirtied: Uint32Array;
  readonly #lanes: number;
  readonly #laneOfChunk: Uint8Array;
  readonly #kinds: ChunkKinds;
  readonly #pagesOfChunk: Uint16Array;
  readonly #pagesOfLane: Float64Array;
  readonly #dirtiedOfChunk: Uint16Array;
  readonly #dirtiedOfLane: Float64Array;
  #pages = 0;
  #dirtiedPages = 0;
  #unsentPages = 0;
  #takenPages = 0;
  #takenAgainPages = 0;
  // Where a takeRuns stands: u32 written so far, pages it may still take.
  #outCount = 0;
  #pagesLeft = 0;

  /** `laneOfChunk`: the lane of every chunk, or a number above all lanes. `dirtyCounts`: of every page, kept by the caller. */
  constructor(lanes: number, laneOfChunk: Uint8Array, kinds: ChunkKinds, dirtyCounts: Uint8Array) {
    this.#dirtyCounts = dirtyCounts;
    const words = laneOfChunk.length * 16;
    this.#lanes = lanes;
    this.#laneOfChunk = laneOfChunk;
    this.#kinds = kinds;
    this.#pending = new Uint32Array(words);
    this.#sentBefore = new Uint32Array(words);
    this.#dirtied = new Uint32Array(words);
    this.#pagesOfChunk = new Uint16Array(laneOfChunk.length);
    this.#pagesOfLane = new Float64Array(lanes);
    this.#dirtiedOfChunk = new Uint16Array(laneOfChunk.length);
    this.#dirtiedOfLane = new Float64Array(lanes);
  }

  get pages(): number {
    return this.#pages;
  }

  /** Of the pages, those that were named again. */
  get dirtiedPages(): number {
    return this.#dirtiedPages;
  }

  /** Of the pages, those that were never taken. */
  get unsentPages(): number {
    return this.#unsentPages;
  }

  get takenPages(): number {
    return this.#takenPages;
  }

  get takenAgainPages(): number {
    return this.#takenAgainPages;
  }

  pagesOfChunk(chunk: number): number {
    return this.#pagesOfChunk[chunk]!;
  }

  pagesOfLane(lane: number, group: PageGroup = 'all'): number {
    const all = this.#pagesOfLane[lane] ?? 0;
    if (group !== 'dirtied' && group !== 'neverDirtied' && group !== 'undisturbed') return all;
    const dirtied = this.#dirtiedOfLane[lane] ?? 0;
    return group === 'dirtied' ? dirtied : all - dirtied;
  }

  word(word: number): number {
    return this.#pending[word]!;
  }

  sentWord(word: number): number {
    return this.#sentBefore[word]!;
  }

  /** The destination holds zeros in these pages again. */
  forgetSent(word: number, bits: number): void {
    this.#sentBefore[word]! &= ~bits;
  }

  /** A page was named again for the first time. Hot: no allocation. */
  becameDirtied(word: number, bit: number): void {
    if ((this.#pending[word]! & bit) !== 0) this.#countDirtied(word >>> 4, 1);
  }

  #dirtiedWord(word: number): number {
    let bits = 0;
    for (let bit = 0, page = word * 32; bit < 32; bit++, page++) if (this.#dirtyCounts[page]! > 0) bits |= 1 << bit;
    return bits;
  }

  /** Makes the words of a chunk say what its dirty counts say. Hot: no allocation. */
  #lookAtChunk(chunk: number): void {
    const first = chunk * 16;
    if (this.#dirtiedOfChunk[chunk] === 0) this.#dirtied.fill(0, first, first + 16);
    else for (let word = first; word < first + 16; word++) this.#dirtied[word] = this.#dirtiedWord(word);
  }

  /** Makes one page pending that is not, without the counting of bits. Hot: no allocation. */
  addOne(word: number, bit: number, isDirtied: boolean): void {
    const chunk = word >>> 4;
    const lane = this.#laneOfChunk[chunk]!;
    this.#pending[word]! |= bit;
    this.#pagesOfChunk[chunk]!++;
    this.#pagesOfLane[lane]!++;
    this.#pages++;
    if ((this.#sentBefore[word]! & bit) === 0) this.#unsentPages++;
    if (!isDirtied) return;
    this.#dirtiedOfChunk[chunk]!++;
    this.#dirtiedOfLane[lane]!++;
    this.#dirtiedPages++;
  }

  /** Makes the pages of these bits of one word pending. Hot: no allocation. */
  add(word: number, bits: number): void {
    const chunk = word >>> 4;
    const pages = popCount(bits);
    this.#pending[word]! |= bits;
    this.#pagesOfChunk[chunk]! += pages;
    this.#pagesOfLane[this.#laneOfChunk[chunk]!]! += pages;
    this.#pages += pages;
    this.#unsentPages += popCount(bits & ~this.#sentBefore[word]!);
    this.#countDirtied(chunk, popCount(bits & this.#dirtiedWord(word)));
  }

  /** Pending pages of one word no longer are. Hot: no allocation. */
  remove(word: number, bits: number): void {
    const chunk = word >>> 4;
    const pages = popCount(bits);
    this.#pending[word]! &= ~bits;
    this.#pagesOfChunk[chunk]! -= pages;
    this.#pagesOfLane[this.#laneOfChunk[chunk]!]! -= pages;
    this.#pages -= pages;
    this.#unsentPages -= popCount(bits & ~this.#sentBefore[word]!);
    this.#countDirtied(chunk, -popCount(bits & this.#dirtiedWord(word)));
  }

  /** So many pages of a carried chunk joined (or left, when negative) the pending pages of the dirtied group. Hot. */
  #countDirtied(chunk: number, pages: number): void {
    this.#dirtiedOfChunk[chunk]! += pages;
    this.#dirtiedOfLane[this.#laneOfChunk[chunk]!]! += pages;
    this.#dirtiedPages += pages;
  }

  /**
   * Takes up to maxPages pending pages of a lane and group, going round memory from `cursor`, as pairs [first global page,
   * page count] in `out` from index `outStart` on, and returns the index after the last. From here on they count as sent, and
   * the caller must have their content read later than now. A run stays within one 2 MiB chunk, hence within one block and
   * one lane. The cursor to go on from is the end of the last run, `out[n - 2] + out[n - 1]`. Hot: no allocation.
   */
  takeRuns(
    lane: number,
    cursor: number,
    maxPages: number,
    out: Uint32Array,
    group: PageGroup = 'all',
    outStart = 0,
  ): number {
    if (maxPages <= 0 || this.pagesOfLane(lane, group) === 0 || this.#hasNone(group)) return outStart;
    const chunks = this.#laneOfChunk.length;
    const start = (cursor >>> 9) % chunks;
    let chunk = start + ((lane - (start % this.#lanes) + this.#lanes) % this.#lanes);
    let from = chunk === start ? cursor & (CHUNK_PAGES - 1) : 0;
    this.#outCount = outStart;
    this.#pagesLeft = maxPages;
    // One visit more than the lane has chunks: the first chunk is seen again for what lies before the cursor.
    for (let visits = Math.ceil(chunks / this.#lanes) + 1; visits > 0; visits--) {
      if (chunk >= chunks) {
        chunk = lane;
        from = 0;
      }
      if (this.#laneOfChunk[chunk] === lane && this.#pendingInChunk(chunk, group) > 0) {
        this.#takeFromChunk(chunk, from, group, out);
        if (this.#pagesLeft === 0 || this.#outCount + 2 > out.length) break;
      }
      chunk += this.#lanes;
      from = 0;
    }
    return this.#outCount;
  }

  #hasNone(group: PageGroup): boolean {
    return group === 'unsent' ? this.#unsentPages === 0 : group === 'repeats' && this.#unsentPages === this.#pages;
  }

  /** At most so many. */
  #pendingInChunk(chunk: number, group: PageGroup): number {
    const all = this.#pagesOfChunk[chunk]!;
    if (group === 'all' || group === 'unsent' || group === 'repeats') return all;
    if (group === 'undisturbed' && this.#kinds.fronts.isAhead(chunk)) return 0;
    if (group === 'calm') return this.#kinds.hot.pagesOfChunk(chunk) === 0 ? all : 0;
    return group === 'dirtied' ? this.#dirtiedOfChunk[chunk]! : all - this.#dirtiedOfChunk[chunk]!;
  }

  #takeFromChunk(chunk: number, from: number, group: PageGroup, out: Uint32Array): void {
    this.#lookAtChunk(chunk);
    const end = (chunk + 1) * CHUNK_PAGES;
    let page = chunk * CHUNK_PAGES + from;
    while (this.#pagesLeft > 0 && this.#outCount + 2 <= out.length) {
      const first = this.#nextPending(group, page, end);
      if (first === end) return;
      const after = this.#endOfRun(group, first, Math.min(end, first + this.#pagesLeft));
      const dirtied = this.#markTaken(first, after);
      const taken = after - first;
      this.#pagesOfChunk[chunk]! -= taken;
      this.#pagesOfLane[this.#laneOfChunk[chunk]!]! -= taken;
      this.#pages -= taken;
      if (dirtied > 0) this.#countDirtied(chunk, -dirtied);
      this.#takenPages += taken;
      this.#pagesLeft -= taken;
      out[this.#outCount++] = first;
      out[this.#outCount++] = taken;
      page = after;
    }
  }

  #nextPending(group: PageGroup, from: number, end: number): number {
    if (group === 'all' || group === 'calm') return nextSetBit(this.#pending, from, end);
    return nextSetBitWhere(this.#pending, this.#filter(group), wantedOf(group), from, end);
  }

  #endOfRun(group: PageGroup, from: number, end: number): number {
    if (group === 'all' || group === 'calm') return nextClearBit(this.#pending, from, end);
    return nextOtherBitWhere(this.#pending, this.#filter(group), wantedOf(group), from, end);
  }

  #filter(group: PageGroup): Uint32Array {
    return group === 'unsent' || group === 'repeats' ? this.#sentBefore : this.#dirtied;
  }

  /** Returns how many of the pages are of the dirtied group. */
  #markTaken(first: number, after: number): number {
    let dirtied = 0;
    for (let index = first >>> 5; index <= (after - 1) >>> 5; index++) {
      const mask = maskOfWord(index, first, after);
      const again = popCount(this.#sentBefore[index]! & mask);
      this.#takenAgainPages += again;
      this.#unsentPages -= popCount(mask) - again;
      dirtied += popCount(this.#dirtied[index]! & mask);
      this.#pending[index]! &= ~mask;
      this.#sentBefore[index]! |= mask;
    }
    return dirtied;
  }

  /** All pages and `others`, a word at a time, as a new bitmap. */
  mapWords(others: (word: number) => number): Uint32Array {
    return this.#pending.map((word, i) => word | others(i));
  }

  /** Throws AssertionError unless counters and bitmaps agree. Slow: for tests. */
  checkInvariants(): void {
    const chunks = this.#laneOfChunk.length;
    const perChunk = new Uint16Array(chunks);
    const dirtiedPerChunk = new Uint16Array(chunks);
    for (const [i, word] of this.#pending.entries()) {
      perChunk[i >>> 4]! += popCount(word);
      dirtiedPerChunk[i >>> 4]! += popCount(word & this.#dirtiedWord(i));
    }
    const sum = (counts: Iterable<number>): number => [...counts].reduce((total, count) => total + count, 0);
    assert(countSetBits(this.#pending) === this.#pages, 'the pages are counted');
    assert(sum(this.#pagesOfLane) === this.#pages, 'the lanes share out all pending pages');
    assert(sum(dirtiedPerChunk) === this.#dirtiedPages, 'the dirtied pages are counted');
    assert(sum(this.#dirtiedOfLane) === this.#dirtiedPages, 'the lanes share out the dirtied pages');
    const unsent = this.#pending.map((word, i) => word & ~this.#sentBefore[i]!);
    assert(countSetBits(unsent) === this.#unsentPages, 'the pages never sent are counted');
    for (let chunk = 0; chunk < chunks; chunk++) {
      assert(this.#pagesOfChunk[chunk] === perChunk[chunk], `pending count of chunk ${chunk}`);
      assert(this.#dirtiedOfChunk[chunk] === dirtiedPerChunk[chunk], `pending dirtied pages of chunk ${chunk}`);
    }
  }
}

/** Whether a page of the group has its bit in the group's filter. Hot. */
function wantedOf(group: PageGroup): 0 | -1 {
  return group === 'dirtied' || group === 'repeats' ? -1 : 0;
}
