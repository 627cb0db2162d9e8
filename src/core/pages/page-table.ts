/**
 * What the source knows of every page of the guest: one bitmap per question, one number per page of all blocks.
 *
 *     blocks in the order of QEMU's list      |  pc.ram            |..| pc.bios |......| vga.vram   |
 *     global page = firstPage + index         0                    ^aligned up to 512
 *     chunk = 512 pages, lane = chunk % lanes |0|1|0|1|0|1|0|1|0|1|
 *
 * Invariants (checkInvariants):
 * - R1: a page named by the feed is pending until takeRuns hands it to its lane *after* that naming, or spared (R4, `spared-pages.ts`). The
 *   lane reads the content later than that, so what it reads is at least as new as the naming.
 * - A page that was named, is neither pending nor spared and was never taken is zero at the destination too (R6), or lies
 *   in a side block.
 * - The counters equal what the bitmaps say; side blocks and the gaps between blocks are never pending or spared.
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
import { PagesError } from './errors.ts';
import { layOutBlocks, type PageBlock, type TableBlock } from './block-layout.ts';
import { CHUNK_PAGES, LANES_MAX } from './limits.ts';
import { SparedPages } from './spared-pages.ts';

/** In place of a lane number: no lane carries the chunk. */
const NO_LANE = 255;

/**
 * Pending pages as MPLM divides them: `neverDirtied` were named once, as every page is by the first sweep; `dirtied` were
 * named again, so the guest has written to them since the migration began.
 */
export type PageGroup = 'all' | 'neverDirtied' | 'dirtied';

export class PageTable {
  readonly blocks: readonly TableBlock[];
  readonly lanes: number;
  /** Global page numbers are below this; it counts the gaps between blocks. */
  readonly spanPages: number;
  /** Pages of all blocks. */
  readonly totalPages: number;

  readonly #pending: Uint32Array;
  readonly #spared: SparedPages;
  readonly #sentBefore: Uint32Array;
  readonly #everNamed: Uint32Array;
  readonly #dirtyCounts: Uint8Array;
  /** Named after the first time: dirtyCounts > 0, as a bitmap. */
  readonly #dirtied: Uint32Array;
  readonly #laneOfChunk: Uint8Array;
  readonly #startsZeroOfChunk: Uint8Array;
  readonly #pendingOfChunk: Uint16Array;
  readonly #pendingOfLane: Float64Array;
  readonly #dirtiedOfChunk: Uint16Array;
  readonly #dirtiedOfLane: Float64Array;
  readonly #byName: ReadonlyMap<string, TableBlock>;

  #pendingPages = 0;
  #pendingDirtiedPages = 0;
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
    this.#spared = new SparedPages(this.spanPages);
    this.#sentBefore = new Uint32Array(this.spanPages / 32);
    this.#everNamed = new Uint32Array(this.spanPages / 32);
    this.#dirtyCounts = new Uint8Array(this.spanPages);
    this.#dirtied = new Uint32Array(this.spanPages / 32);
    this.#laneOfChunk = new Uint8Array(chunks);
    this.#startsZeroOfChunk = new Uint8Array(chunks);
    this.#pendingOfChunk = new Uint16Array(chunks);
    this.#pendingOfLane = new Float64Array(lanes);
    this.#dirtiedOfChunk = new Uint16Array(chunks);
    this.#dirtiedOfLane = new Float64Array(lanes);
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
  get sparedPages(): number {
    return this.#spared.pages;
  }

  /** Of sparedPages, those that takeZeroRuns still has to hand out. */
  get stalePages(): number {
    return this.#spared.stalePages;
  }

  /** Pages that became pending because the guest turned out to need them. */
  get releasedPages(): number {
    return this.#releasedPages;
  }

  /** Of pendingPages, those that were named once only. */
  get pendingNeverDirtiedPages(): number {
    return this.#pendingPages - this.#pendingDirtiedPages;
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

  pendingPagesOfLane(lane: number, group: PageGroup = 'all'): number {
    const all = this.#pendingOfLane[lane] ?? 0;
    if (group === 'all') return all;
    const dirtied = this.#dirtiedOfLane[lane] ?? 0;
    return group === 'dirtied' ? dirtied : all - dirtied;
  }

  isPending(global: number): boolean {
    return ((this.#pending[global >>> 5] ?? 0) & (1 << (global & 31))) !== 0;
  }

  isSpared(global: number): boolean {
    return this.#spared.isSpared(global);
  }

  /** First page of [from, end) that is spared (or, with `false`, is not); `end` when there is none. */
  nextSpared(from: number, end: number, spared: boolean): number {
    return this.#spared.next(from, end, spared);
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
      if ((this.#dirtied[word]! & bit) === 0) {
        this.#dirtied[word]! |= bit;
        if ((this.#pending[word]! & bit) !== 0) this.#countDirtied(chunk, 1);
      }
    } else {
      this.#everNamed[word]! |= bit;
      this.#namedPages++;
    }
    if (this.#laneOfChunk[chunk] === NO_LANE || (this.#pending[word]! & bit) !== 0) return false;
    const isClosed = this.#spared.isClosed(chunk);
    if ((this.#spared.word(word) & bit) !== 0) {
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
      if (isClosed) this.#spared.add(word, bit);
      else this.#addPending(word, bit, chunk);
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
    this.#countDirtied(chunk, popCount(bits & this.#dirtied[word]!));
  }

  /** Spared pages of one word become pending. Hot: no allocation. */
  #release(word: number, bits: number, chunk: number): void {
    this.#spared.remove(word, bits);
    this.#addPending(word, bits, chunk);
  }

  /** So many pages of a carried chunk joined (or left, when negative) the pending pages of the dirtied group. Hot. */
  #countDirtied(chunk: number, pages: number): void {
    this.#dirtiedOfChunk[chunk]! += pages;
    this.#dirtiedOfLane[this.#laneOfChunk[chunk]!]! += pages;
    this.#pendingDirtiedPages += pages;
  }

  /**
   * Takes up to maxPages pending pages of a lane and group, going round memory from `cursor`, as pairs [first global page,
   * page count] in `out` from index `start` on, and returns the index after the last. From here on they count as sent, and
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
    if (maxPages <= 0 || this.pendingPagesOfLane(lane, group) === 0) return outStart;
    const chunks = this.#laneOfChunk.length;
    const start = (cursor >>> 9) % chunks;
    let chunk = start + ((lane - (start % this.lanes) + this.lanes) % this.lanes);
    let from = chunk === start ? cursor & (CHUNK_PAGES - 1) : 0;
    this.#outCount = outStart;
    this.#pagesLeft = maxPages;
    // One visit more than the lane has chunks: the first chunk is seen again for what lies before the cursor.
    for (let visits = Math.ceil(chunks / this.lanes) + 1; visits > 0; visits--) {
      if (chunk >= chunks) {
        chunk = lane;
        from = 0;
      }
      if (this.#laneOfChunk[chunk] === lane && this.#pendingInChunk(chunk, group) > 0) {
        this.#takeFromChunk(chunk, from, group, out);
        if (this.#pagesLeft === 0 || this.#outCount + 2 > out.length) break;
      }
      chunk += this.lanes;
      from = 0;
    }
    return this.#outCount;
  }

  #pendingInChunk(chunk: number, group: PageGroup): number {
    const all = this.#pendingOfChunk[chunk]!;
    if (group === 'all') return all;
    return group === 'dirtied' ? this.#dirtiedOfChunk[chunk]! : all - this.#dirtiedOfChunk[chunk]!;
  }

  #takeFromChunk(chunk: number, from: number, group: PageGroup, out: Uint32Array): void {
    const end = (chunk + 1) * CHUNK_PAGES;
    let page = chunk * CHUNK_PAGES + from;
    while (this.#pagesLeft > 0 && this.#outCount + 2 <= out.length) {
      const first = this.#nextPending(group, page, end);
      if (first === end) return;
      const after = this.#endOfRun(group, first, Math.min(end, first + this.#pagesLeft));
      const dirtied = this.#markTaken(first, after);
      const taken = after - first;
      this.#pendingOfChunk[chunk]! -= taken;
      this.#pendingOfLane[this.#laneOfChunk[chunk]!]! -= taken;
      this.#pendingPages -= taken;
      if (dirtied > 0) this.#countDirtied(chunk, -dirtied);
      this.#takenPages += taken;
      this.#pagesLeft -= taken;
      out[this.#outCount++] = first;
      out[this.#outCount++] = taken;
      page = after;
    }
  }

  #nextPending(group: PageGroup, from: number, end: number): number {
    if (group === 'all') return nextSetBit(this.#pending, from, end);
    return nextSetBitWhere(this.#pending, this.#dirtied, group === 'dirtied' ? -1 : 0, from, end);
  }

  #endOfRun(group: PageGroup, from: number, end: number): number {
    if (group === 'all') return nextClearBit(this.#pending, from, end);
    return nextOtherBitWhere(this.#pending, this.#dirtied, group === 'dirtied' ? -1 : 0, from, end);
  }

  /** Returns how many of the pages are of the dirtied group. */
  #markTaken(first: number, after: number): number {
    let dirtied = 0;
    for (let index = first >>> 5; index <= (after - 1) >>> 5; index++) {
      const mask = maskOfWord(index, first, after);
      const again = popCount(this.#sentBefore[index]! & mask);
      this.#takenAgainPages += again;
      this.#unsentPending -= popCount(mask) - again;
      dirtied += popCount(this.#dirtied[index]! & mask);
      this.#pending[index]! &= ~mask;
      this.#sentBefore[index]! |= mask;
    }
    return dirtied;
  }

  // --- R4: pages that the guest may do without ---------------------------------------------------------------------

  /** Whether pages of a block may be left out: they travel in lanes, and what is never sent reads as zero (R6). */
  canSpare(block: TableBlock): boolean {
    return !block.side && block.startsZero;
  }

  /** Before the first naming: hands out nothing before a report has come. */
  closeAll(): void {
    for (const block of this.blocks) {
      if (!this.canSpare(block)) continue;
      const first = block.firstPage / CHUNK_PAGES;
      for (let chunk = first; chunk < first + block.pageCount / CHUNK_PAGES; chunk++) this.#spared.close(chunk);
    }
  }

  /** A report on these chunks begins now (the time t of R4): what waits in them is spared until it has come. */
  beginReport(firstPage: number, pages: number): void {
    for (let chunk = firstPage >>> 9; chunk < (firstPage + pages) / CHUNK_PAGES; chunk++) {
      if (this.#pendingOfChunk[chunk]! > 0) this.#spareChunk(chunk);
      this.#spared.begin(chunk);
    }
  }

  #spareChunk(chunk: number): void {
    for (let word = chunk * 16; word < (chunk + 1) * 16; word++) {
      const bits = this.#pending[word]!;
      this.#spared.add(word, bits);
      this.#unsentPending -= popCount(bits & ~this.#sentBefore[word]!);
      this.#pending[word] = 0;
    }
    const pages = this.#pendingOfChunk[chunk]!;
    this.#pendingOfLane[this.#laneOfChunk[chunk]!]! -= pages;
    this.#pendingPages -= pages;
    this.#pendingOfChunk[chunk] = 0;
    this.#countDirtied(chunk, -this.#dirtiedOfChunk[chunk]!);
  }

  /**
   * The report has come: bit n of `unneeded` is page firstPage + n. `isProof`: every such page was free; otherwise some
   * will only become free, and another report must say so before the end.
   */
  applyReport(firstPage: number, pages: number, unneeded: Uint32Array, isProof: boolean): void {
    for (let chunk = firstPage >>> 9; chunk < (firstPage + pages) / CHUNK_PAGES; chunk++) {
      if (!this.#spared.end(chunk, isProof)) continue;
      for (let word = chunk * 16; word < (chunk + 1) * 16; word++) {
        const waiting = this.#spared.word(word);
        const left = waiting & (unneeded[word - (firstPage >>> 5)] ?? 0);
        this.#releaseAsNeeded(word, waiting & ~left, chunk);
        if (isProof) this.#spared.markStale(word, left & this.#sentBefore[word]!);
      }
    }
  }

  #releaseAsNeeded(word: number, bits: number, chunk: number): void {
    if (bits === 0) return;
    this.#release(word, bits, chunk);
    this.#releasedPages += popCount(bits);
  }

  /** Makes everything pending that is spared without proof. */
  settle(): void {
    for (const chunk of this.#spared.unproven()) {
      for (let word = chunk * 16; word < (chunk + 1) * 16; word++) {
        this.#releaseAsNeeded(word, this.#spared.word(word), chunk);
      }
    }
  }

  /**
   * Takes spared pages of a lane that the destination knows with another content, as runs in `out` like takeRuns: they are
   * to be overwritten with zero there. Returns the u32 written.
   */
  takeZeroRuns(lane: number, out: Uint32Array): number {
    let count = 0;
    for (let chunk = lane; this.stalePages > 0 && chunk < this.#laneOfChunk.length; chunk += this.lanes) {
      const end = (chunk + 1) * CHUNK_PAGES;
      for (let first = this.#spared.nextStale(chunk * CHUNK_PAGES, end); first < end;) {
        if (count + 2 > out.length) return count;
        const after = this.#spared.endOfStale(first, end);
        for (let word = first >>> 5; word <= (after - 1) >>> 5; word++) {
          const mask = maskOfWord(word, first, after);
          this.#spared.clearStale(word, mask);
          this.#sentBefore[word]! &= ~mask;
        }
        out[count++] = first;
        out[count++] = after - first;
        first = this.#spared.nextStale(after, end);
      }
    }
    return count;
  }

  /** Throws AssertionError unless counters and bitmaps agree. Slow: for tests. */
  checkInvariants(): void {
    assert(countSetBits(this.#pending) === this.#pendingPages, 'pendingPages counts the pending bits');
    assert(this.#spared.isSound(), 'spared and stale pages are counted');
    let unsent = 0;
    for (let page = 0; page < this.spanPages; page++) if (this.isPending(page) && !this.wasSent(page)) unsent++;
    assert(unsent === this.unsentPendingPages, 'unsentPendingPages counts the pending pages never sent');
    assert(countSetBits(this.#everNamed) === this.#namedPages, 'namedPages counts the named bits');
    assert(
      this.#pendingOfLane.reduce((sum, count) => sum + count, 0) === this.#pendingPages,
      'the lanes share out all pending pages',
    );
    const perChunk = new Uint16Array(this.#laneOfChunk.length);
    const dirtiedPerChunk = new Uint16Array(this.#laneOfChunk.length);
    const carried = new Uint8Array(this.spanPages);
    for (const block of this.blocks) {
      if (!block.side) carried.fill(1, block.firstPage, block.firstPage + block.pageCount);
    }
    let skipped = 0;
    for (let page = 0; page < this.spanPages; page++) {
      const named = (this.#everNamed[page >>> 5]! & (1 << (page & 31))) !== 0;
      const waits = this.isPending(page) || this.isSpared(page);
      if (this.isPending(page)) perChunk[page >>> 9]!++;
      assert(!(this.isPending(page) && this.isSpared(page)), 'what is spared is not pending');
      assert(carried[page] === 1 || !(waits || this.wasSent(page)), 'only carried pages are sent');
      assert(named || !(waits || this.wasSent(page)), 'only named pages are sent');
      if (named && carried[page] === 1 && !waits && !this.wasSent(page)) skipped++;
      const isDirtied = (this.#dirtied[page >>> 5]! & (1 << (page & 31))) !== 0;
      assert(isDirtied === this.dirtyCount(page) > 0, 'dirtied says which dirty counts are not 0');
      if (this.isPending(page) && isDirtied) dirtiedPerChunk[page >>> 9]!++;
    }
    assert(skipped === this.#skippedZeroPages, 'a named page waits, was sent, or is skipped as zero');
    for (const [chunk, count] of perChunk.entries()) {
      assert(this.#pendingOfChunk[chunk] === count, `pending count of chunk ${chunk}`);
      assert(this.#dirtiedOfChunk[chunk] === dirtiedPerChunk[chunk], `pending dirtied pages of chunk ${chunk}`);
    }
    const sum = (counts: Iterable<number>): number => [...counts].reduce((total, count) => total + count, 0);
    assert(sum(dirtiedPerChunk) === this.#pendingDirtiedPages, 'pendingDirtiedPages counts them');
    assert(sum(this.#dirtiedOfLane) === this.#pendingDirtiedPages, 'the lanes share out the dirtied pages');
  }
}
