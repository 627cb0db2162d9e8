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
 * - A page that was named, does not wait (pending, spared or withheld) and was never taken is zero at the destination too (R6), or lies
 *   in a side block.
 * - A withheld page (`hot-pages.ts`) is one that would be pending but for its dirty count; it comes back by coolWithheld or
 *   releaseWithheld, or is left to the pull phase (leftRuns).
 * - The counters equal what the bitmaps say; side blocks and the gaps between blocks never wait.
 */
import { assert } from '../base/assert.ts';
import { countSetBits, maskOfWord, nextClearBit, nextSetBit, popCount } from './bitmap.ts';
import { PagesError } from './errors.ts';
import { layOutBlocks, type PageBlock, type TableBlock } from './block-layout.ts';
import { HotPages } from './hot-pages.ts';
import { CHUNK_PAGES, LANES_MAX } from './limits.ts';
import { PendingPages, type PageGroup } from './pending-pages.ts';
import { SparedPages } from './spared-pages.ts';
import { WriteFronts } from './write-fronts.ts';

/** In place of a lane number: no lane carries the chunk. */
const NO_LANE = 255;

export class PageTable {
  readonly blocks: readonly TableBlock[];
  readonly lanes: number;
  /** Global page numbers are below this; it counts the gaps between blocks. */
  readonly spanPages: number;
  /** Pages of all blocks. */
  readonly totalPages: number;

  readonly #pending: PendingPages;
  readonly #spared: SparedPages;
  readonly #everNamed: Uint32Array;
  readonly #dirtyCounts: Uint8Array;
  readonly #hot: HotPages;
  readonly #fronts: WriteFronts;
  readonly #laneOfChunk: Uint8Array;
  readonly #startsZeroOfChunk: Uint8Array;
  readonly #byName: ReadonlyMap<string, TableBlock>;

  #namedPages = 0;
  #renamings = 0;
  #pendingNamings = 0;
  #skippedZeroPages = 0;
  #releasedPages = 0;
  #withheldNamings = 0;

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
    this.#spared = new SparedPages(this.spanPages);
    this.#everNamed = new Uint32Array(this.spanPages / 32);
    this.#dirtyCounts = new Uint8Array(this.spanPages);
    this.#hot = new HotPages(this.spanPages);
    this.#fronts = new WriteFronts(chunks);
    this.#laneOfChunk = new Uint8Array(chunks);
    this.#startsZeroOfChunk = new Uint8Array(chunks);
    this.#pending = new PendingPages(
      lanes,
      this.#laneOfChunk,
      { hot: this.#hot, fronts: this.#fronts },
      this.#dirtyCounts,
    );
    for (const block of this.blocks) {
      const first = block.firstPage / CHUNK_PAGES;
      for (let chunk = first; chunk < first + Math.ceil(block.pageCount / CHUNK_PAGES); chunk++) {
        this.#laneOfChunk[chunk] = block.side ? NO_LANE : chunk % lanes;
        this.#startsZeroOfChunk[chunk] = block.startsZero ? 1 : 0;
      }
    }
  }

  get pendingPages(): number {
    return this.#pending.pages;
  }

  /** Pages that wait but are not handed out, because the guest may do without them (R4). */
  get sparedPages(): number {
    return this.#spared.pages;
  }

  /** Of sparedPages, those of which the guest has not said yet whether it needs them. Not for every page. */
  undecidedPages(): number {
    return this.#spared.isInUse ? this.#spared.undecidedPages() : 0;
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
    return this.#pending.pages - this.#pending.dirtiedPages;
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
    return this.#pending.takenPages;
  }

  /** Of takenPages, those that had been handed out before. */
  get takenAgainPages(): number {
    return this.#pending.takenAgainPages;
  }

  /** Of pendingPages, those that were never handed to a lane. */
  get unsentPendingPages(): number {
    return this.#pending.unsentPages;
  }

  pendingPagesOfLane(lane: number, group: PageGroup = 'all'): number {
    return this.#pending.pagesOfLane(lane, group);
  }

  /** Pages that are kept back because the guest keeps writing to them. */
  get withheldPages(): number {
    return this.#hot.pages;
  }

  /** Namings that made a page withheld that was neither pending nor withheld. */
  get withheldNamings(): number {
    return this.#withheldNamings;
  }

  isPending(global: number): boolean {
    return (this.#pending.word(global >>> 5) & (1 << (global & 31))) !== 0;
  }

  isWithheld(global: number): boolean {
    return this.#hot.isWithheld(global);
  }

  isSpared(global: number): boolean {
    return this.#spared.isSpared(global);
  }

  /** First page of [from, end) that is spared (or, with `false`, is not); `end` when there is none. */
  nextSpared(from: number, end: number, spared: boolean): number {
    return this.#spared.next(from, end, spared);
  }

  wasSent(global: number): boolean {
    return (this.#pending.sentWord(global >>> 5) & (1 << (global & 31))) !== 0;
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
      this.#fronts.wrote(chunk);
      const count = this.#dirtyCounts[global]!;
      if (count < 255) this.#dirtyCounts[global] = count + 1;
      if (count === 0) this.#pending.becameDirtied(word, bit);
    } else {
      this.#everNamed[word]! |= bit;
      this.#namedPages++;
    }
    if (this.#laneOfChunk[chunk] === NO_LANE) return false;
    // The common case by itself, in few words of memory: each is a miss of the cache in a large guest.
    if (this.#hot.isInUse || this.#spared.isInUse) return this.#nameAmongKinds(global, isZero, known);
    if ((this.#pending.word(word) & bit) !== 0) return false;
    if ((this.#pending.sentWord(word) & bit) === 0 && this.#isSkipped(chunk, isZero, known)) return false;
    this.#pending.addOne(word, bit, known);
    this.#pendingNamings++;
    return true;
  }

  /** Whether a page that was never sent needs nothing, because it is zero at both sides. Hot. */
  #isSkipped(chunk: number, isZero: boolean, known: boolean): boolean {
    if (isZero && this.#startsZeroOfChunk[chunk] === 1) {
      if (!known) this.#skippedZeroPages++;
      return true;
    }
    if (known) this.#skippedZeroPages--;
    return false;
  }

  /** The same where pages may be withheld or spared. Hot: no allocation. */
  #nameAmongKinds(global: number, isZero: boolean, known: boolean): boolean {
    const word = global >>> 5;
    const bit = 1 << (global & 31);
    const chunk = global >>> 9;
    if ((this.#hot.word(word) & bit) !== 0) {
      this.#hot.stir(global);
      return false;
    }
    const isHot = this.#hot.isHot(this.#dirtyCounts[global]!);
    if ((this.#pending.word(word) & bit) !== 0) {
      if (isHot) this.#pending.remove(word, bit);
      if (isHot) this.#hot.add(global);
      return false;
    }
    const isClosed = this.#spared.isClosed(chunk);
    if ((this.#spared.word(word) & bit) !== 0) {
      if (isClosed) return false;
      // Named after the report began: the guest has written to it since.
      this.#spared.remove(word, bit);
    } else if ((this.#pending.sentWord(word) & bit) === 0 && this.#isSkipped(chunk, isZero, known)) return false;
    return this.#mustWait(global, isHot, isClosed);
  }

  /** What is named now and did not wait before waits as what it is; returns whether it is pending. Hot: no allocation. */
  #mustWait(global: number, isHot: boolean, isClosed: boolean): boolean {
    const word = global >>> 5;
    const bit = 1 << (global & 31);
    if (isClosed) {
      this.#spared.add(word, bit);
      return false;
    }
    if (isHot) {
      this.#hot.add(global);
      this.#withheldNamings++;
      return false;
    }
    this.#pending.addOne(word, bit, this.#dirtyCounts[global]! > 0);
    this.#pendingNamings++;
    return true;
  }

  /** Spared pages of one word become pending. Hot: no allocation. */
  #release(word: number, bits: number): void {
    this.#spared.remove(word, bits);
    this.#pending.add(word, bits);
    this.#releasedPages += popCount(bits);
  }

  /** PendingPages.takeRuns: hands out pages, which from here on count as sent. Hot: no allocation. */
  takeRuns(
    lane: number,
    cursor: number,
    maxPages: number,
    out: Uint32Array,
    group: PageGroup = 'all',
    outStart = 0,
  ): number {
    return this.#pending.takeRuns(lane, cursor, maxPages, out, group, outStart);
  }

  /**
   * Makes pages pending again that were sent after a later naming, those named most often first, at most so many; returns how
   * many. For a guest that has stopped, and a QEMU that may have missed writes to them.
   */
  recheckHottest(pagesMax: number): number {
    const pagesOfCount = new Uint32Array(256);
    let rechecked = 0;
    for (let page = 0; page < this.spanPages; page++) {
      if (this.#dirtyCounts[page]! > 0 && this.#isSettled(page)) pagesOfCount[this.#dirtyCounts[page]!]!++;
    }
    let [from, left] = [256, pagesMax];
    while (from > 1 && pagesOfCount[from - 1]! <= left) left -= pagesOfCount[--from]!;
    // Of those named one time less often, as many as there is room for.
    for (let page = 0; page < this.spanPages; page++) {
      const count = this.#dirtyCounts[page]!;
      if (count === 0 || count < from - 1 || !this.#isSettled(page)) continue;
      if (count < from && left-- <= 0) continue;
      this.#pending.addOne(page >>> 5, 1 << (page & 31), true);
      rechecked++;
    }
    return rechecked;
  }

  /** The destination has the page as it was last named. */
  #isSettled(page: number): boolean {
    const waits = this.isPending(page) || this.isWithheld(page) || this.isSpared(page);
    return !waits && this.wasSent(page);
  }

  /** A sweep has ended: from now on `undisturbed` leaves out the chunks that the guest is expected to write to before their turn. */
  foreseeWrites(): void {
    this.#fronts.sweepEnded(this.#pending.pages + this.undecidedPages(), this.#pending.takenPages);
  }

  /** Whether the page lies in a chunk that `undisturbed` leaves out. */
  isExpectingWrites(global: number): boolean {
    return this.#fronts.isAhead(global >>> 9);
  }

  /** `undisturbed` has run out: chunks that are farthest from where the guest writes are of it, too. False when all were. */
  drawNearer(): boolean {
    return this.#fronts.drawNearer();
  }

  // --- hot pages ----------------------------------------------------------------------------------------------------

  /** From now on a page that is named this many times after the first is kept back; 0 = never. */
  withholdFrom(dirtyCount: number): void {
    this.#hot.hotFrom = dirtyCount === 0 ? Infinity : dirtyCount;
  }

  /**
   * A sweep has ended: pages that were left out by as many sweeps as they had been dirtied, but at least and at most so many, are
   * pending again. Returns how many.
   */
  coolWithheld(sweepsMin: number, sweepsMax: number): number {
    let cooled = 0;
    for (let page = this.#hot.next(0, this.spanPages); page < this.spanPages;) {
      if (this.#hot.quiet(page) > Math.min(sweepsMax, Math.max(sweepsMin, this.#dirtyCounts[page]!))) {
        this.#unwithhold(page);
        cooled++;
      }
      page = this.#hot.next(page + 1, this.spanPages);
    }
    return cooled;
  }

  /** Everything that was kept back is pending, and nothing is kept back any more. */
  releaseWithheld(): void {
    this.#hot.hotFrom = Infinity;
    for (let page = this.#hot.next(0, this.spanPages); page < this.spanPages;) {
      this.#unwithhold(page);
      page = this.#hot.next(page, this.spanPages);
    }
  }

  #unwithhold(global: number): void {
    this.#hot.remove(global);
    this.#pending.add(global >>> 5, 1 << (global & 31));
  }

  /**
   * What the destination does not have, pending or withheld, or has with a content that nobody may see, as pairs [first global
   * page, page count], cut at chunks.
   */
  leftRuns(): Uint32Array<ArrayBuffer> {
    const left = this.#pending.mapWords((word) => this.#hot.word(word) | this.#spared.staleWord(word));
    const runs: number[] = [];
    for (let page = nextSetBit(left, 0, this.spanPages); page < this.spanPages;) {
      const chunkEnd = ((page >>> 9) + 1) * CHUNK_PAGES;
      const after = nextClearBit(left, page, chunkEnd);
      runs.push(page, after - page);
      page = after < this.spanPages ? nextSetBit(left, after, this.spanPages) : after;
    }
    return Uint32Array.from(runs);
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

  /** Pages of the page's chunk that are to be sent, or spared: neither zero nor sent already. */
  waitingPagesOfChunk(page: number): number {
    const chunk = page >>> 9;
    return this.#pending.pagesOfChunk(chunk) + this.#spared.pagesOfChunk(chunk);
  }

  /** A report on these chunks begins now (the time t of R4): what waits in them is spared until it has come. */
  beginReport(firstPage: number, pages: number): void {
    for (let chunk = firstPage >>> 9; chunk < (firstPage + pages) / CHUNK_PAGES; chunk++) {
      if (this.#pending.pagesOfChunk(chunk) > 0) this.#spareChunk(chunk);
      this.#spared.begin(chunk);
    }
  }

  #spareChunk(chunk: number): void {
    for (let word = chunk * 16; word < (chunk + 1) * 16; word++) {
      const bits = this.#pending.word(word);
      this.#spared.add(word, bits);
      this.#pending.remove(word, bits);
    }
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
        this.#release(word, waiting & ~left);
        if (isProof) this.#spared.markStale(word, left & this.#pending.sentWord(word));
      }
    }
  }

  /** Makes everything pending that is spared without proof. */
  settle(): void {
    for (const chunk of this.#spared.unproven()) {
      for (let word = chunk * 16; word < (chunk + 1) * 16; word++) {
        this.#release(word, this.#spared.word(word));
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
          this.#pending.forgetSent(word, mask);
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
    this.#pending.checkInvariants();
    assert(this.#spared.isSound(), 'spared and stale pages are counted');
    assert(this.#hot.isSound(), 'withheld pages are counted');
    assert(countSetBits(this.#everNamed) === this.#namedPages, 'namedPages counts the named bits');
    const carried = new Uint8Array(this.spanPages);
    for (const block of this.blocks) {
      if (!block.side) carried.fill(1, block.firstPage, block.firstPage + block.pageCount);
    }
    let skipped = 0;
    for (let page = 0; page < this.spanPages; page++) {
      const named = (this.#everNamed[page >>> 5]! & (1 << (page & 31))) !== 0;
      const kinds = [this.isPending(page), this.isSpared(page), this.isWithheld(page)].filter(Boolean).length;
      const isKnown = kinds > 0 || this.wasSent(page);
      assert(kinds <= 1, 'a page waits in one way only');
      assert(carried[page] === 1 || !isKnown, 'only carried pages are sent');
      assert(named || !isKnown, 'only named pages are sent');
      if (named && carried[page] === 1 && !isKnown) skipped++;
    }
    assert(skipped === this.#skippedZeroPages, 'a named page waits, was sent, or is skipped as zero');
  }
}
