/**
 * What the source knows of every page of the guest: one bitmap per question, one number per page of all blocks.
 *
 *     blocks in the order of QEMU's list      |  pc.ram            |..| pc.bios |......| vga.vram   |
 *     global page = firstPage + index         0                    ^aligned up to 512
 *     chunk = 512 pages, lane = chunk % lanes |0|1|0|1|0|1|0|1|0|1|
 *
 * Invariants (checkInvariants):
 * - R1: a page named by the feed is pending until takeRuns hands it to its lane *after* that naming. The lane reads the
 *   content later than that, so what it reads is at least as new as the naming.
 * - A page that was named, is not pending and was never taken is zero at the destination too (R6), or lies in a side block.
 * - The counters equal what the bitmaps say; side blocks and the gaps between blocks are never pending.
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
  readonly #sentBefore: Uint32Array;
  readonly #everNamed: Uint32Array;
  readonly #dirtyCounts: Uint8Array;
  readonly #laneOfChunk: Uint8Array;
  readonly #startsZeroOfChunk: Uint8Array;
  readonly #pendingOfChunk: Uint16Array;
  readonly #pendingOfLane: Float64Array;
  readonly #byName: ReadonlyMap<string, TableBlock>;

  #pendingPages = 0;
  #namedPages = 0;
  #renamings = 0;
  #pendingNamings = 0;
  #skippedZeroPages = 0;
  #unsentNamings = 0;
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
    this.#sentBefore = new Uint32Array(this.spanPages / 32);
    this.#everNamed = new Uint32Array(this.spanPages / 32);
    this.#dirtyCounts = new Uint8Array(this.spanPages);
    this.#laneOfChunk = new Uint8Array(chunks);
    this.#startsZeroOfChunk = new Uint8Array(chunks);
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
    return this.#unsentNamings - (this.#takenPages - this.#takenAgainPages);
  }

  pendingPagesOfLane(lane: number): number {
    return this.#pendingOfLane[lane] ?? 0;
  }

  isPending(global: number): boolean {
    return ((this.#pending[global >>> 5] ?? 0) & (1 << (global & 31))) !== 0;
  }

  wasSent(global: number): boolean {
    return ((this.#sentBefore[global >>> 5] ?? 0) & (1 << (global & 31))) !== 0;
  }

  /** How often a page was named after the first time, at most 255. */
  dirtyCount(global: number): number {
    return this.#dirtyCounts[global] ?? 0;
  }

  /** Writes the dirty count of each page of the runs, in order; returns how many there are. Hot: no allocation. */
  copyDirtyCounts(runs: Uint32Array, out: Uint8Array): number {
    let count = 0;
    for (let i = 0; i < runs.length; i += 2) {
      for (let page = runs[i]!; page < runs[i]! + runs[i + 1]!; page++) out[count++] = this.#dirtyCounts[page]!;
    }
    return count;
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
    const lane = this.#laneOfChunk[chunk]!;
    if (lane === NO_LANE || (this.#pending[word]! & bit) !== 0) return false;
    if ((this.#sentBefore[word]! & bit) === 0) {
      if (isZero && this.#startsZeroOfChunk[chunk] === 1) {
        if (!known) this.#skippedZeroPages++;
        return false;
      }
      if (known) this.#skippedZeroPages--;
      this.#unsentNamings++;
    }
    this.#pending[word]! |= bit;
    this.#pendingOfChunk[chunk]!++;
    this.#pendingOfLane[lane]!++;
    this.#pendingPages++;
    this.#pendingNamings++;
    return true;
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
      this.#takenAgainPages += popCount(this.#sentBefore[index]! & mask);
      this.#pending[index]! &= ~mask;
      this.#sentBefore[index]! |= mask;
    }
  }

  /** Throws AssertionError unless counters and bitmaps agree. Slow: for tests. */
  checkInvariants(): void {
    assert(countSetBits(this.#pending) === this.#pendingPages, 'pendingPages counts the pending bits');
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
      if (this.isPending(page)) perChunk[page >>> 9]!++;
      assert(carried[page] === 1 || !(this.isPending(page) || this.wasSent(page)), 'only carried pages are sent');
      assert(named || !(this.isPending(page) || this.wasSent(page)), 'only named pages are sent');
      if (named && carried[page] === 1 && !this.isPending(page) && !this.wasSent(page)) skipped++;
    }
    assert(skipped === this.#skippedZeroPages, 'a named page is pending, sent, or skipped as zero');
    for (const [chunk, count] of perChunk.entries()) {
      assert(this.#pendingOfChunk[chunk] === count, `pending count of chunk ${chunk}`);
    }
  }
}
