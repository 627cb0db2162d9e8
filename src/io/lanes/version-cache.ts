/**
 * The versions of pages that a lane sent last, as far as they are likely to be wanted: a bounded cache of whole pages.
 *
 *     page ─▶ place in the lane ─▶ set of 8 slots, as in a processor's cache ─▶ slot ─▶ 4 KiB of one buffer
 *
 * Invariant: the content of a page's slot is what the destination holds of that page. Who sends a page in any way writes
 * the new content to its slot, or drops it.
 *
 * A slot keeps its page until the lane has sent as many hot pages as fill the cache AGE_MAX times without it among them:
 * a working set somewhat larger than the cache, written round and round, keeps its share of it instead of pushing out
 * each page just before its turn, as the least recently used rule would.
 */
import { assert } from '../../core/base/assert.ts';
import { type PageMemory, pageMemory } from '../../core/wire/page-delta.ts';
import { LANE_CHUNK_PAGES, LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';

const WAYS = 8;
/** QEMU lets a page of its XBZRLE cache live for two sweeps; what counts there is time, here it is room. */
const AGE_MAX = 4;
const EMPTY = 0xffff_ffff;

export class VersionCache {
  readonly #lanes: number;
  readonly #sets: number;
  readonly #pages: Uint32Array;
  readonly #usedIn: Uint8Array;
  #memory: PageMemory | undefined;
  #generation = 0;
  #hotInGeneration = 0;
  /** Slots in use: while there are none, nothing is looked up. */
  #held = 0;

  /** `bytesMax` of page content; less than a set of pages is no cache at all. */
  constructor(bytesMax: number, lanes: number) {
    this.#lanes = lanes;
    this.#sets = Math.floor(bytesMax / PAGE / WAYS);
    this.#pages = new Uint32Array(this.#sets * WAYS).fill(EMPTY);
    this.#usedIn = new Uint8Array(this.#sets * WAYS);
  }

  get isEmpty(): boolean {
    return this.#held === 0;
  }

  /** Where slots lie, made when first needed. */
  get memory(): PageMemory {
    this.#memory ??= pageMemory(new Uint8Array(new ArrayBuffer(this.#sets * WAYS * PAGE)));
    return this.#memory;
  }

  /** The slot that holds the page, or -1. Hot: no allocation. */
  find(page: number): number {
    if (this.#held === 0) return -1;
    const first = this.#setOf(page);
    for (let slot = first; slot < first + WAYS; slot++) if (this.#pages[slot] === page) return slot;
    return -1;
  }

  /** A hot page was sent: its slot counts as just used. Hot: no allocation. */
  use(slot: number): void {
    this.#usedIn[slot] = this.#generation;
    this.#pass();
  }

  /** The page in a slot, or -1. */
  pageIn(slot: number): number {
    const page = this.#pages[slot]!;
    return page === EMPTY ? -1 : page;
  }

  /** A slot that `put` may give to a hot page that has none, or -1 when all that it could have are in use. Hot: no allocation. */
  choose(page: number): number {
    if (this.#sets === 0) return -1;
    this.#pass();
    const first = this.#setOf(page);
    let oldest = first;
    let age = -1;
    for (let slot = first; slot < first + WAYS; slot++) {
      const own = this.#pages[slot] === EMPTY ? 256 : (this.#generation - this.#usedIn[slot]!) & 255;
      if (own <= age) continue;
      oldest = slot;
      age = own;
    }
    return age < AGE_MAX ? -1 : oldest;
  }

  /** The slot is the page's from now on, and whoever puts it there writes its version. Hot: no allocation. */
  put(slot: number, page: number): void {
    if (this.#pages[slot] === EMPTY) this.#held++;
    this.#pages[slot] = page;
    this.#usedIn[slot] = this.#generation;
  }

  /** The destination holds something else from now on. Hot: no allocation. */
  drop(page: number): void {
    const slot = this.find(page);
    if (slot < 0) return;
    this.#pages[slot] = EMPTY;
    this.#held--;
  }

  /** Every slot that holds a page: for tests. */
  *entries(): Generator<{ page: number; slot: number }> {
    for (const [slot, page] of this.#pages.entries()) if (page !== EMPTY) yield { page, slot };
  }

  /** Neighbours among the pages of this lane lie in neighbouring sets: an area as large as the cache fits exactly. */
  #setOf(page: number): number {
    const chunk = Math.floor((page >>> 9) / this.#lanes);
    return ((chunk * LANE_CHUNK_PAGES + (page & (LANE_CHUNK_PAGES - 1))) % this.#sets) * WAYS;
  }

  #pass(): void {
    if (++this.#hotInGeneration < this.#pages.length) return;
    this.#hotInGeneration = 0;
    this.#generation = (this.#generation + 1) & 255;
    assert(this.#held <= this.#pages.length, 'no more pages than slots');
  }
}
