/**
 * Signatures of what the destination holds of pages whose last version nobody has kept: a hash of 64 bits for each block of
 * 128 bytes. When such a page is sent again, the blocks whose hash has changed are its delta.
 *
 *     page ─▶ place in the lane, modulo entries ─▶ entry: number of the page | 32 hashes = 256 bytes
 *
 * So one byte stands for 16 of the guest: a page that was sent while nobody knew that it is written to has its first repeat
 * sent as a delta, too. rsync (Tridgell 1999) compares by hashes of blocks like that.
 *
 * Invariant: an entry describes what the destination holds of its page. Who sends a page in any way signs it, or drops it.
 *
 * Two blocks that differ by chance have one hash once in 2^64. The keys are drawn anew for each lane; a guest that makes blocks on
 * purpose can still weaken one half of the hash (a difference in the top bit passes any odd factor), and has 2^32 to guess then. The
 * memory that it would damage is its own (R5), and `--verify` finds it.
 */
import { DELTA_BYTES_MAX, LANE_CHUNK_PAGES, LANE_PAGE_BYTES as PAGE } from './lane-limits.ts';
import { type PageMemory, writeChange } from './page-delta.ts';

const BLOCK = 128;
const BLOCK_WORDS = BLOCK / 4;
const BLOCKS = PAGE / BLOCK;
/** Two words of 32 bits for each hash. */
const ENTRY_WORDS = BLOCKS * 2;
const ENTRY_BYTES = ENTRY_WORDS * 4 + 4;
const EMPTY = 0xffff_ffff;

export class PageSignatures {
  readonly #lanes: number;
  readonly #entries: number;
  readonly #pages: Uint32Array;
  readonly #keys: Int32Array;
  readonly #fresh = new Int32Array(ENTRY_WORDS);
  /** Memory that is not touched costs nothing. */
  readonly #hashes: Int32Array;

  /** `bytesMax` for this lane; less than an entry is no store at all. `keys`: four random words. */
  constructor(bytesMax: number, lanes: number, keys: Int32Array) {
    this.#keys = keys.map((key) => key | 1);
    this.#lanes = lanes;
    this.#entries = Math.floor(bytesMax / ENTRY_BYTES);
    this.#pages = new Uint32Array(this.#entries).fill(EMPTY);
    this.#hashes = new Int32Array(this.#entries * ENTRY_WORDS);
  }

  /** Hot. */
  has(page: number): boolean {
    return this.#entries > 0 && this.#pages[this.#entryOf(page)] === page;
  }

  /** The destination holds something else from now on, or its version is kept elsewhere. Hot: no allocation. */
  drop(page: number): void {
    if (this.has(page)) this.#pages[this.#entryOf(page)] = EMPTY;
  }

  /** The page at `at` was sent. One that is not known to be hot is left out when another page has its place. Hot: no allocation. */
  sign(page: number, isHot: boolean, memory: PageMemory, at: number): void {
    if (this.#entries === 0) return;
    const entry = this.#entryOf(page);
    const owner = this.#pages[entry]!;
    if (owner !== EMPTY && owner !== page && !isHot) return;
    this.#pages[entry] = page;
    hashBlocks(memory.words, at >>> 2, this.#hashes, entry * ENTRY_WORDS, this.#keys);
  }

  /**
   * Writes what leads from the signed version of the page, which must be there, to the one at `at` as a delta to `out` at `to`,
   * where DELTA_BYTES_MAX bytes are free, and signs the new one. Returns the position behind it; `to` when nothing changed;
   * -1 when it would not fit. Hot: no allocation.
   */
  encodeDelta(page: number, memory: PageMemory, at: number, out: Uint8Array, to: number): number {
    const entry = this.#entryOf(page);
    const fresh = this.#fresh;
    hashBlocks(memory.words, at >>> 2, fresh, 0, this.#keys);
    const limit = to + DELTA_BYTES_MAX;
    let end = to + 1;
    let changes = 0;
    let covered = 0;
    for (let block = this.#nextChanged(entry, 0); block < BLOCKS && end >= 0; changes++) {
      const from = block * BLOCK;
      for (block++; block < BLOCKS && this.#isChanged(entry, block);) block++;
      const length = block * BLOCK - from;
      const fits = end + 4 + length <= limit;
      end = fits ? writeChange(out, end, from - covered, memory.bytes, at + from, length) : -1;
      covered = block * BLOCK;
      block = this.#nextChanged(entry, block);
    }
    this.#hashes.set(fresh, entry * ENTRY_WORDS);
    out[to] = changes;
    return changes === 0 ? to : end;
  }

  #isChanged(entry: number, block: number): boolean {
    const from = entry * ENTRY_WORDS + block * 2;
    return this.#hashes[from] !== this.#fresh[block * 2] || this.#hashes[from + 1] !== this.#fresh[block * 2 + 1];
  }

  #nextChanged(entry: number, block: number): number {
    while (block < BLOCKS && !this.#isChanged(entry, block)) block++;
    return block;
  }

  /** Pages of one lane that lie beside each other have entries beside each other. */
  #entryOf(page: number): number {
    const chunk = Math.floor((page >>> 9) / this.#lanes);
    return (chunk * LANE_CHUNK_PAGES + (page & (LANE_CHUNK_PAGES - 1))) % this.#entries;
  }
}

/**
 * The hashes of a page whose words begin at `from`, to `out` at `to`. Even and odd words go through two chains each, one that
 * adds and one that xors; every step mixes high bits down. Hot: 1.6 us, no allocation.
 */
function hashBlocks(words: Int32Array, from: number, out: Int32Array, to: number, keys: Int32Array): void {
  const k0 = keys[0]!;
  const k1 = keys[1]!;
  const k2 = keys[2]!;
  const k3 = keys[3]!;
  for (const pageEnd = from + PAGE / 4; from < pageEnd;) {
    let a = 0x243f_6a88;
    let b = 0x1319_8a2e;
    let c = 0x0370_7344;
    let d = 0x2409_3822;
    for (const end = from + BLOCK_WORDS; from < end; from += 2) {
      const even = words[from]!;
      const odd = words[from + 1]!;
      a = Math.imul(a ^ even, k0);
      a ^= a >>> 15;
      b = Math.imul((b + even) | 0, k1);
      b ^= b >>> 13;
      c = Math.imul(c ^ odd, k2);
      c ^= c >>> 15;
      d = Math.imul((d + odd) | 0, k3);
      d ^= d >>> 13;
    }
    out[to++] = (Math.imul(a, k3) + c) | 0;
    out[to++] = (Math.imul(b, k2) + d) | 0;
  }
}
