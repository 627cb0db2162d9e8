/**
 * What the source knows of every page of the guest: one bitmap per question, one number per page of all blocks.
 *
 *     blocks in the order of QEMU's list      |  pc.ram            |..| pc.bios |......| vga.vram   |
 *     global page = firstPage + index         0                    ^aligned up to 512
 *     chunk = 512 pages, lane = chunk % lanes |0|1|0|1|0|1|0|1|0|1|
 *
 * Invariants (checkInvariants):
 * - R1: a page named by the feed is pending until takeRuns hands it to its lane *after* that naming, or withheld (R4). The
 *   lane reads the content later than that, so what it reads is at least as new as the naming.
 * - A page that was named, is neither pending nor withheld and was never taken is zero at the destination too (R6), or lies
 *   in a side block.
 * - The counters equal what the bitmaps say; side blocks and the gaps between blocks are never pending or withheld.
 *
 * R4, pages that the guest does not need. A chunk is in one of four states, and with it every page of it that waits:
 *
 *     closed ──beginReport──▶ reading ──applyReport──▶ open (what is withheld was free)
 *       ▲ closeAll              ▲ │                    or provisional (free, or cache that will be dropped)
 *                               └─┴──── beginReport ────┘
 *
 * `closed`: nothing is known, namings are withheld. beginReport is the time t of R4: what waits is withheld from then on, what
 * is named later is pending whatever the guest says. applyReport makes pending what the guest did not give up. Hence a page
 * withheld in an open chunk was named before t, was free after t, and has not been named since. `settle` makes everything pending
 * of which that cannot be said.
 */
import { assert } from '../base/assert.ts';
import { countSetBits, maskOfWord, nextClearBit, nextSetBit, popCount } from './bitmap.ts';
import { PagesError } from './errors.ts';
import { BLOCKS_MAX, CHUNK_PAGES, LANES_MAX, PAGES_MAX } from './limits.ts';

/** One RAM block as the stream's block list names it. */
export type PageBlock = {
  readonly name: string;
  readonly pageCount: number;
  /** True: lanes do not carry it (its host address is unknown); the pump captures its bytes from the stream. */
  readonly side?: boolean;
  /** False: the destination's copy is not zero at first (flash, backing file), so zero pages count as content. */
  readonly startsZero?: boolean;
};

export type TableBlock = Required<PageBlock> & { readonly index: number; readonly firstPage: number };

/** In place of a lane number: no lane carries the chunk. */
const NO_LANE = 255;

/** What is known of the pages of a chunk that the guest may do without. */
const OPEN = 0;
const CLOSED = 1;
const READING = 2;
const PROVISIONAL = 3;

/** The lane that carries a page, the same for ever (R2): 2 MiB chunks, dealt out in turn. */
export function laneOf(globalPage: number, lanes: number): number {
  return (globalPage >>> 9) % lanes;
}

/**
 * Gives every block its first global page, in list order, each aligned up to 512. Both sides compute it from the same
 * list. Throws PagesError.
 */
export function layOutBlocks(blocks: readonly PageBlock[]): TableBlock[] {
  if (blocks.length > BLOCKS_MAX) {
    throw new PagesError('PAGES_TOO_MANY', `${blocks.length} RAM blocks exceed ${BLOCKS_MAX}`);
  }
  let firstPage = 0;
  return blocks.map((block, index) => {
    const laid = { side: false, startsZero: true, ...block, index, firstPage };
    firstPage += Math.ceil(block.pageCount / CHUNK_PAGES) * CHUNK_PAGES;
    if (!Number.isSafeInteger(block.pageCount) || block.pageCount < 0 || firstPage > PAGES_MAX) {
      throw new PagesError('PAGES_TOO_MANY', `Block "${block.name}" of ${block.pageCount} pages exceeds ${PAGES_MAX}`);
    }
    return laid;
  });
}

export class PageTable {
  readonly blocks: readonly TableBlock[];
  readonly lanes: number;
  /** Global page numbers are below this; it counts the gaps between blocks. */
  readonly spanPages: number;
  /** Pages of all blocks. */
  readonly totalPages: number;

  readonly #pending: Uint32Array;
  readonly #withheld: Uint32Array;
  /** Withheld, free, and not what the destination holds: to be overwritten with zero. */
  readonly #stale: Uint32Array;
  readonly #sentBefore: Uint32Array;
  readonly #everNamed: Uint32Array;
  readonly #dirtyCounts: Uint8Array;
  readonly #laneOfChunk: Uint8Array;
  readonly #startsZeroOfChunk: Uint8Array;
  readonly #stateOfChunk: Uint8Array;
  readonly #pendingOfChunk: Uint16Array;
  readonly #pendingOfLane: Float64Array;
  readonly #byName: ReadonlyMap<string, TableBlock>;

  #pendingPages = 0;
  #withheldPages = 0;
  #stalePages = 0;
  #namedPages = 0;
  #renamings = 0;
  #pendingNamings = 0;
  #skippedZeroPages = 0;
  #unsentPending = 0;
  #releasedPages = 0;
  #takenPages = 0;
  #takenAgainPages = 0;
  // Where a takeRuns stands: u32 written so far, pages it may still take.
  #outCount = 0;
  #pagesLeft = 0;

  /** Blocks in the order of the stream's block list, which is the order in which QEMU visits them. Throws PagesError. */
  constructor(blocks: readonly PageBlock[], lanes: number) {
    assert(Number.isInteger(lanes) && lanes >= 1 && lanes <= LANES_MAX, `1 <= lanes ${lanes} <= ${LANES_MAX}`);
    this.blocks = layOutBlocks(blocks);
    this.lanes = lanes;
    this.#byName = new Map(this.blocks.map((block) => [block.name, block]));
    const last = this.blocks.at(-1);
    const chunks = last === undefined ? 0 : last.firstPage / CHUNK_PAGES + Math.ceil(last.pageCount / CHUNK_PAGES);
    this.spanPages = chunks * CHUNK_PAGES;
    this.totalPages = this.blocks.reduce((sum, block) => sum + block.pageCount, 0);
    this.#pending = new Uint32Array(this.spanPages / 32);
    this.#withheld = new Uint32Array(this.spanPages / 32);
    this.#stale = new Uint32Array(this.spanPages / 32);
    this.#sentBefore = new Uint32Array(this.spanPages / 32);
    this.#everNamed = new Uint32Array(this.spanPages / 32);
    this.#dirtyCounts = new Uint8Array(this.spanPages);
    this.#laneOfChunk = new Uint8Array(chunks);
    this.#startsZeroOfChunk = new Uint8Array(chunks);
    this.#stateOfChunk = new Uint8Array(chunks);
    this.#pendingOfChunk = new Uint16Array(chunks);
    this.#pendingOfLane = new Float64Array(lanes);
    for (const block of this.blocks) {
      const first = block.firstPage / CHUNK_PAGES;
      for (let chunk = first; chunk < first + Math.ceil(block.pageCount / CHUNK_PAGES); chunk++) {
        this.#laneOfChunk[chunk] = block.side ? NO_LANE : chunk % lanes;
        this.#startsZeroOfChunk[chunk] = block.startsZero ? 1 : 0;
      }
    }
  }

  get pendingPages(): number {
    return this.#pendingPages;
  }

  /** Pages that wait but are not handed out, because the guest may do without them (R4). */
  get withheldPages(): number {
    return this.#withheldPages;
  }

  /** Of withheldPages, those that takeZeroRuns still has to hand out. */
  get stalePages(): number {
    return this.#stalePages;
  }

  /** Pages that became pending because the guest turned out to need them. */
  get releasedPages(): number {
    return this.#releasedPages;
  }

  /** Pages that the feed named at least once, side blocks included. */
  get namedPages(): number {
    return this.#namedPages;
  }

  /** Namings of pages that had been named before: each proves that the guest wrote to the page. */
  get renamings(): number {
    return this.#renamings;
  }

  /** Namings that made a page pending. */
  get pendingNamings(): number {
    return this.#pendingNamings;
  }

  /** Pages named as zero that need nothing, because the destination's memory is zero. */
  get skippedZeroPages(): number {
    return this.#skippedZeroPages;
  }

  /** Pages handed to lanes so far, repeats included. */
  get takenPages(): number {
    return this.#takenPages;
  }

  /** Of takenPages, those that had been handed out before. */
  get takenAgainPages(): number {
    return this.#takenAgainPages;
  }

  /** Of pendingPages, those that were never handed to a lane. */
  get unsentPendingPages(): number {
    return this.#unsentPending;
  }

  pendingPagesOfLane(lane: number): number {
    return this.#pendingOfLane[lane] ?? 0;
  }

  isPending(global: number): boolean {
    return ((this.#pending[global >>> 5] ?? 0) & (1 << (global & 31))) !== 0;
  }

  isWithheld(global: number): boolean {
    return ((this.#withheld[global >>> 5] ?? 0) & (1 << (global & 31))) !== 0;
  }

  /** First page from `from` on, below `end`, that is withheld (or, with `false`, is not); `end` when there is none. */
  nextWithheld(from: number, end: number, withheld: boolean): number {
    return withheld ? nextSetBit(this.#withheld, from, end) : nextClearBit(this.#withheld, from, end);
  }

  wasSent(global: number): boolean {
    return ((this.#sentBefore[global >>> 5] ?? 0) & (1 << (global & 31))) !== 0;
  }

  /** How often a page was named after the first time, at most 255. */
  dirtyCount(global: number): number {
    return this.#dirtyCounts[global] ?? 0;
  }

  /** Throws PagesError when the stream names a block that its own list did not. */
  blockNamed(name: string): TableBlock {
    const block = this.#byName.get(name);
    if (block === undefined)
      throw new PagesError('PAGES_UNKNOWN_BLOCK', `RAM block "${name}" is not in the block list`);
    return block;
  }

  /** Global number of a page of a block. Throws PagesError when it lies outside the block. Hot. */
  globalPage(blockIndex: number, page: number): number {
    const block = this.blocks[blockIndex];
    if (block === undefined) throw new PagesError('PAGES_UNKNOWN_BLOCK', `RAM block ${blockIndex} is not in the list`);
    if (!(page >= 0 && page < block.pageCount)) {
      throw new PagesError(
        'PAGES_OUT_OF_RANGE',
        `Page ${page} lies outside block "${block.name}" of ${block.pageCount} pages`,
      );
    }
    return block.firstPage + page;
  }

  /**
   * The feed named a page (R1). Returns true when that made it pending. A zero page that was neither sent nor is pending
   * needs nothing, because destination memory is zero at first (R6); one that was sent is sent again. Hot: no allocation.
   */
  name(global: number, isZero: boolean): boolean {
    const word = global >>> 5;
    const bit = 1 << (global & 31);
    const chunk = global >>> 9;
    const known = (this.#everNamed[word]! & bit) !== 0;
    if (known) {
      this.#renamings++;
      if (this.#dirtyCounts[global]! < 255) this.#dirtyCounts[global]!++;
    } else {
      this.#everNamed[word]! |= bit;
      this.#namedPages++;
    }
    if (this.#laneOfChunk[chunk] === NO_LANE || (this.#pending[word]! & bit) !== 0) return false;
    const isWithheld = (this.#withheld[word]! & bit) !== 0;
    const isClosed = this.#stateOfChunk[chunk] === CLOSED;
    if (isWithheld) {
      // Named after the report began: the guest has written to it since.
      if (!isClosed) this.#release(word, bit, chunk);
    } else {
      if ((this.#sentBefore[word]! & bit) === 0) {
        if (isZero && this.#startsZeroOfChunk[chunk] === 1) {
          if (!known) this.#skippedZeroPages++;
          return false;
        }
        if (known) this.#skippedZeroPages--;
      }
      if (isClosed) {
        this.#withheld[word]! |= bit;
        this.#withheldPages++;
      } else this.#addPending(word, bit, chunk);
    }
    if (isClosed) return false;
    this.#pendingNamings++;
    return true;
  }

  /** Makes the pages of these bits of one word pending. Hot: no allocation. */
  #addPending(word: number, bits: number, chunk: number): void {
    const pages = popCount(bits);
    this.#pending[word]! |= bits;
    this.#pendingOfChunk[chunk]! += pages;
    this.#pendingOfLane[this.#laneOfChunk[chunk]!]! += pages;
    this.#pendingPages += pages;
    this.#unsentPending += popCount(bits & ~this.#sentBefore[word]!);
  }

  /** Withheld pages of one word become pending. Hot: no allocation. */
  #release(word: number, bits: number, chunk: number): void {
    this.#withheld[word]! &= ~bits;
    this.#withheldPages -= popCount(bits);
    this.#stalePages -= popCount(this.#stale[word]! & bits);
    this.#stale[word]! &= ~bits;
    this.#addPending(word, bits, chunk);
  }

  /**
   * Takes up to maxPages pending pages of a lane, going round memory from `cursor`, as pairs [first global page, page
   * count] in `out`, and returns the numbers written. From here on they count as sent, and the caller must have their
   * content read later than now. A run stays within one 2 MiB chunk, hence within one block and one lane. The cursor to go
   * on from is the end of the last run, `out[n - 2] + out[n - 1]`. Hot: no allocation.
   */
  takeRuns(lane: number, cursor: number, maxPages: number, out: Uint32Array): number {
    if (this.pendingPagesOfLane(lane) === 0) return 0;
    const chunks = this.#laneOfChunk.length;
    const start = (cursor >>> 9) % chunks;
    let chunk = start + ((lane - (start % this.lanes) + this.lanes) % this.lanes);
    let from = chunk === start ? cursor & (CHUNK_PAGES - 1) : 0;
    this.#outCount = 0;
    this.#pagesLeft = maxPages;
    // One visit more than the lane has chunks: the first chunk is seen again for what lies before the cursor.
    for (let visits = Math.ceil(chunks / this.lanes) + 1; visits > 0; visits--) {
      if (chunk >= chunks) {
        chunk = lane;
        from = 0;
      }
      if (this.#pendingOfChunk[chunk]! > 0 && this.#laneOfChunk[chunk] === lane) {
        this.#takeFromChunk(chunk, from, out);
        if (this.#pagesLeft === 0 || this.#outCount + 2 > out.length) break;
      }
      chunk += this.lanes;
      from = 0;
    }
    return this.#outCount;
  }

  #takeFromChunk(chunk: number, from: number, out: Uint32Array): void {
    const end = (chunk + 1) * CHUNK_PAGES;
    let page = chunk * CHUNK_PAGES + from;
    while (this.#pagesLeft > 0 && this.#outCount + 2 <= out.length) {
      const first = nextSetBit(this.#pending, page, end);
      if (first === end) return;
      const after = nextClearBit(this.#pending, first, Math.min(end, first + this.#pagesLeft));
      this.#markTaken(first, after);
      const taken = after - first;
      this.#pendingOfChunk[chunk]! -= taken;
      this.#pendingOfLane[this.#laneOfChunk[chunk]!]! -= taken;
      this.#pendingPages -= taken;
      this.#takenPages += taken;
      this.#pagesLeft -= taken;
      out[this.#outCount++] = first;
      out[this.#outCount++] = taken;
      page = after;
    }
  }

  #markTaken(first: number, after: number): void {
    for (let index = first >>> 5; index <= (after - 1) >>> 5; index++) {
      const mask = maskOfWord(index, first, after);
      const again = popCount(this.#sentBefore[index]! & mask);
      this.#takenAgainPages += again;
      this.#unsentPending -= popCount(mask) - again;
      this.#pending[index]! &= ~mask;
      this.#sentBefore[index]! |= mask;
    }
  }

  // --- R4: pages that the guest may do without ---------------------------------------------------------------------

  /** Whether pages of a block may be left out: they travel in lanes, and what is never sent reads as zero (R6). */
  canWithhold(block: TableBlock): boolean {
    return !block.side && block.startsZero;
  }

  /** Before the first naming: hands out nothing before a report has come. */
  closeAll(): void {
    for (const block of this.blocks) {
      if (!this.canWithhold(block)) continue;
      const first = block.firstPage / CHUNK_PAGES;
      this.#stateOfChunk.fill(CLOSED, first, first + Math.ceil(block.pageCount / CHUNK_PAGES));
    }
  }

  /** A report on these chunks begins now (the time t of R4): what waits in them is withheld until it has come. */
  beginReport(firstPage: number, pages: number): void {
    for (let chunk = firstPage >>> 9; chunk < (firstPage + pages) / CHUNK_PAGES; chunk++) {
      if (this.#pendingOfChunk[chunk]! > 0) this.#withholdChunk(chunk);
      this.#stateOfChunk[chunk] = READING;
    }
  }

  #withholdChunk(chunk: number): void {
    for (let word = chunk * 16; word < (chunk + 1) * 16; word++) {
      const bits = this.#pending[word]!;
      this.#withheld[word]! |= bits;
      this.#withheldPages += popCount(bits);
      this.#unsentPending -= popCount(bits & ~this.#sentBefore[word]!);
      this.#pending[word] = 0;
    }
    const pages = this.#pendingOfChunk[chunk]!;
    this.#pendingOfLane[this.#laneOfChunk[chunk]!]! -= pages;
    this.#pendingPages -= pages;
    this.#pendingOfChunk[chunk] = 0;
  }

  /**
   * The report has come: bit n of `unneeded` is page firstPage + n. `isProof`: every such page was free; otherwise some
   * will only become free, and another report must say so before the end.
   */
  applyReport(firstPage: number, pages: number, unneeded: Uint32Array, isProof: boolean): void {
    for (let chunk = firstPage >>> 9; chunk < (firstPage + pages) / CHUNK_PAGES; chunk++) {
      if (this.#stateOfChunk[chunk] !== READING) continue;
      this.#stateOfChunk[chunk] = isProof ? OPEN : PROVISIONAL;
      for (let word = chunk * 16; word < (chunk + 1) * 16; word++) {
        const waiting = this.#withheld[word]!;
        if (waiting === 0) continue;
        const left = waiting & (unneeded[word - (firstPage >>> 5)] ?? 0);
        this.#releaseAsNeeded(word, waiting & ~left, chunk);
        if (isProof) this.#markStale(word, left & this.#sentBefore[word]!);
      }
    }
  }

  #releaseAsNeeded(word: number, bits: number, chunk: number): void {
    if (bits === 0) return;
    this.#release(word, bits, chunk);
    this.#releasedPages += popCount(bits);
  }

  #markStale(word: number, bits: number): void {
    this.#stalePages += popCount(bits & ~this.#stale[word]!);
    this.#stale[word]! |= bits;
  }

  /** Makes everything pending that is withheld without proof. */
  settle(): void {
    for (const [chunk, state] of this.#stateOfChunk.entries()) {
      if (state === OPEN) continue;
      for (let word = chunk * 16; word < (chunk + 1) * 16; word++) {
        this.#releaseAsNeeded(word, this.#withheld[word]!, chunk);
      }
      this.#stateOfChunk[chunk] = OPEN;
    }
  }

  /**
   * Takes withheld pages of a lane that the destination knows with another content, as runs in `out` like takeRuns: they
   * are to be overwritten with zero there, so that a guest that zeroes what it frees finds zeros. Returns the u32 written.
   */
  takeZeroRuns(lane: number, out: Uint32Array): number {
    let count = 0;
    for (let chunk = lane; this.#stalePages > 0 && chunk < this.#laneOfChunk.length; chunk += this.lanes) {
      const end = (chunk + 1) * CHUNK_PAGES;
      for (let first = nextSetBit(this.#stale, chunk * CHUNK_PAGES, end); first < end;) {
        if (count + 2 > out.length) return count;
        const after = nextClearBit(this.#stale, first, end);
        for (let word = first >>> 5; word <= (after - 1) >>> 5; word++) {
          const mask = maskOfWord(word, first, after);
          this.#stale[word]! &= ~mask;
          this.#sentBefore[word]! &= ~mask;
        }
        this.#stalePages -= after - first;
        out[count++] = first;
        out[count++] = after - first;
        first = nextSetBit(this.#stale, after, end);
      }
    }
    return count;
  }

  /** Throws AssertionError unless counters and bitmaps agree. Slow: for tests. */
  checkInvariants(): void {
    assert(countSetBits(this.#pending) === this.#pendingPages, 'pendingPages counts the pending bits');
    assert(countSetBits(this.#withheld) === this.#withheldPages, 'withheldPages counts the withheld bits');
    assert(countSetBits(this.#stale) === this.#stalePages, 'stalePages counts the stale bits');
    let unsent = 0;
    for (let page = 0; page < this.spanPages; page++) if (this.isPending(page) && !this.wasSent(page)) unsent++;
    assert(unsent === this.unsentPendingPages, 'unsentPendingPages counts the pending pages never sent');
    assert(countSetBits(this.#everNamed) === this.#namedPages, 'namedPages counts the named bits');
    assert(
      this.#pendingOfLane.reduce((sum, count) => sum + count, 0) === this.#pendingPages,
      'the lanes share out all pending pages',
    );
    const perChunk = new Uint16Array(this.#laneOfChunk.length);
    const carried = new Uint8Array(this.spanPages);
    for (const block of this.blocks) {
      if (!block.side) carried.fill(1, block.firstPage, block.firstPage + block.pageCount);
    }
    let skipped = 0;
    for (let page = 0; page < this.spanPages; page++) {
      const named = (this.#everNamed[page >>> 5]! & (1 << (page & 31))) !== 0;
      const waits = this.isPending(page) || this.isWithheld(page);
      if (this.isPending(page)) perChunk[page >>> 9]!++;
      assert(!(this.isPending(page) && this.isWithheld(page)), 'what is withheld is not pending');
      assert(carried[page] === 1 || !(waits || this.wasSent(page)), 'only carried pages are sent');
      assert(named || !(waits || this.wasSent(page)), 'only named pages are sent');
      if (named && carried[page] === 1 && !waits && !this.wasSent(page)) skipped++;
    }
    assert(skipped === this.#skippedZeroPages, 'a named page waits, was sent, or is skipped as zero');
    for (const [chunk, count] of perChunk.entries()) {
      assert(this.#pendingOfChunk[chunk] === count, `pending count of chunk ${chunk}`);
    }
  }
}
