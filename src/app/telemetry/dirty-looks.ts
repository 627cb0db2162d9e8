/**
 * How much of its memory a guest writes to, by looking at some of its pages from outside: 512 pages, spread over all of it, are
 * hashed each second and compared with the second before. The guest does not notice; a page that was written twice counts once;
 * one that was written with what it held does not count. Reading goes in slices, so that the event loop breathes.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MemoryMap } from '../../io/lanes/lane-protocol.ts';
import { GuestMemory } from '../../io/lanes/guest-memory.ts';
import type { PageHash } from '../../io/lanes/page-hash.ts';
import { PAGE_BYTES } from '../../core/model/units.ts';
import { DIRTY_LOOK_AGE_MS_MAX, DIRTY_LOOKS_MEAN, DIRTY_LOOKS_PER_DRAW, DIRTY_PAGES, SLICE_PAGES } from './limits.ts';
import { RecentMean } from './dirty-class.ts';

export class DirtyLooks {
  readonly #memory: GuestMemory;
  readonly #map: MemoryMap;
  readonly #hash: PageHash;
  readonly #pages: Uint32Array;
  readonly #page = Buffer.alloc(PAGE_BYTES);
  readonly #shares = new RecentMean(DIRTY_LOOKS_MEAN);
  #before: Float64Array;
  #now: Float64Array;
  #lookedAtMs = -Infinity;
  #looks = 0;
  #isLooking = false;
  #isClosed = false;

  /** Opens the memory. Throws LaneError. */
  constructor(map: MemoryMap, hash: PageHash) {
    this.#map = map;
    this.#hash = hash;
    this.#memory = new GuestMemory(map, 'read');
    this.#pages = new Uint32Array(Math.min(DIRTY_PAGES, pageCountOf(map)));
    this.#before = new Float64Array(this.#pages.length);
    this.#now = new Float64Array(this.#pages.length);
  }

  /** Of its memory, 0 to 1, that it writes to within a second; null before the second look. */
  get share(): number | null {
    return this.#shares.mean;
  }

  /** Throws LaneError when the memory is gone. A look that is under way when it is closed ends without a result. */
  async look(): Promise<void> {
    if (this.#isLooking || this.#isClosed) return;
    this.#isLooking = true;
    try {
      await this.#compare();
    } finally {
      this.#isLooking = false;
      if (this.#isClosed) this.#memory.close();
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // A look that is under way still reads, and closes when it notices.
    if (!this.#isLooking) this.#memory.close();
  }

  async #compare(): Promise<void> {
    const isDrawn = this.#looks % DIRTY_LOOKS_PER_DRAW === 0;
    if (isDrawn) drawPages(this.#map, this.#pages);
    const atMs = performance.now();
    let changed = 0;
    for (let i = 0; i < this.#pages.length; i++) {
      if (i % SLICE_PAGES === 0 && i > 0) {
        await nextTurn();
        if (this.#isClosed) return;
      }
      const hash = this.#hashOf(this.#pages[i]!);
      this.#now[i] = hash;
      if (hash !== this.#before[i]) changed++;
    }
    const elapsedMs = atMs - this.#lookedAtMs;
    if (!isDrawn && elapsedMs <= DIRTY_LOOK_AGE_MS_MAX) {
      this.#shares.add(Math.min(1, (changed / this.#pages.length / elapsedMs) * 1000));
    }
    [this.#before, this.#now] = [this.#now, this.#before];
    this.#lookedAtMs = atMs;
    this.#looks++;
  }

  #hashOf(page: number): number {
    this.#memory.read(page, 1, this.#page, 0);
    this.#hash.update(this.#page);
    // 53 of the 64 bits: enough for some hundred pages.
    return (this.#hash.high & 0x1f_ffff) * 2 ** 32 + this.#hash.low;
  }
}

export function pageCountOf(map: MemoryMap): number {
  return map.reduce((sum, { pageCount }) => sum + pageCount, 0);
}

/** Fills `pages` with numbers of pages, spread evenly over all blocks, each at random within its stretch. */
export function drawPages(map: MemoryMap, pages: Uint32Array, random: () => number = Math.random): void {
  const total = pageCountOf(map);
  const stretch = total / pages.length;
  let block = 0;
  let before = 0;
  for (let i = 0; i < pages.length; i++) {
    const place = Math.min(total - 1, Math.floor((i + random()) * stretch));
    while (place >= before + map[block]!.pageCount) before += map[block++]!.pageCount;
    pages[i] = map[block]!.firstPage + place - before;
  }
}
