/**
 * A look at a running guest before it is moved: how fast it writes, and on how many pages; what its pages hold. It is not
 * disturbed: some of its pages are read from outside, a few times, as they are.
 *
 *     look ── 0.1 s ── look ── 0.2 s ── look ── ... ── look      which pages differ between any two
 *                                                  └▶ zero? what do they hold? how much of a page changes?
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { LANE_PAGE_BYTES as PAGE, DELTA_BYTES_MAX } from '../../core/wire/lane-limits.ts';
import { encodeDelta, pageMemory } from '../../core/wire/page-delta.ts';
import type { ChangeWindow } from '../../core/predict/working-set.ts';
import { GuestMemory } from '../../io/lanes/guest-memory.ts';
import type { MemoryMap } from '../../io/lanes/lane-protocol.ts';
import { createPageHash, type PageHash } from '../../io/lanes/page-hash.ts';

export type GuestLook = {
  /** Pages of all blocks, and how many of them were looked at. */
  readonly pages: number;
  readonly lookedAt: number;
  readonly windows: readonly ChangeWindow[];
  /** Of all pages. */
  readonly zeroShare: number;
  /** Of pages that hold something: the share that looks random, which nothing can pack. */
  readonly hardShare: number;
  /** Some of the others, put together as lanes put them. */
  readonly batches: readonly Buffer[];
  /** Null when hardly any page was written to. */
  readonly written: WrittenPages | null;
};

/** They may pack otherwise than the rest of memory. */
export type WrittenPages = {
  /** Bytes of what changes in a page. */
  readonly deltaBytesPerPage: number;
  readonly hardShare: number;
  readonly batches: readonly Buffer[];
};

type Stretch = { readonly page: number; readonly pages: number };

const LOOKED_AT_MAX = 8192;
/** Of these the content is kept, to see how much of a page changes. */
const KEPT_PAGES = 2048;
/** When the guest is looked at, as parts of the whole time. */
const LOOKS = [0, 0.03, 0.1, 0.33, 0.66, 1] as const;
/** Read in one turn of the event loop: 1 to 2 ms. */
const SLICE_PAGES = 512;
/** Batches as lanes make them, of stretches as long as memory is filled in: neighbours pack better together than strangers. */
const BATCH_PAGES = 256;
const BATCHES_MAX = 6;
const STRETCH_PAGES = 32;
/** Twice as many as fill the batches when half of memory is zero. */
const STRETCHES = 96;
/** The sum of the squared counts of byte values is so much for random bytes (as in frame-packer.ts); this many bytes of a page are looked at. */
const LOOKED_AT_BYTES = 512;
const RANDOM_BELOW = 1.3 * (LOOKED_AT_BYTES + LOOKED_AT_BYTES ** 2 / 256);
/** Fewer pages that changed say nothing of what is written. */
const CHANGED_MIN = 16;
/** Of pages that are written to; each time with its neighbours, which are sent with it. */
const WRITTEN_BATCHES_MAX = 2;
const WRITTEN_STRETCH_PAGES = 4;

/** `ms`: for how long. Throws LaneError when memory cannot be read, AbortError. */
export async function lookAtGuest(map: MemoryMap, ms: number, signal: AbortSignal): Promise<GuestLook> {
  const memory = new GuestMemory(map, 'read');
  try {
    return await new Looker(map, memory, await createPageHash()).look(ms, signal);
  } finally {
    memory.close();
  }
}

class Looker {
  readonly #memory: GuestMemory;
  readonly #hash: PageHash;
  readonly #pages: number;
  readonly #sample: Uint32Array;
  readonly #map: MemoryMap;
  readonly #page = Buffer.alloc(PAGE);
  readonly #counts = new Uint16Array(256);
  /** Of the sample in the last look: 1 where a page looks random. */
  readonly #hard: Uint8Array;
  /** Content of the first KEPT_PAGES of the sample, in the look before the last. */
  readonly #kept: Buffer;

  constructor(map: MemoryMap, memory: GuestMemory, hash: PageHash) {
    this.#map = map;
    this.#memory = memory;
    this.#hash = hash;
    this.#pages = map.reduce((sum, { pageCount }) => sum + pageCount, 0);
    this.#sample = samplePages(map, Math.min(LOOKED_AT_MAX, this.#pages));
    this.#hard = new Uint8Array(this.#sample.length);
    this.#kept = Buffer.alloc(Math.min(KEPT_PAGES, this.#sample.length) * PAGE);
  }

  async look(ms: number, signal: AbortSignal): Promise<GuestLook> {
    const startMs = performance.now();
    const looks: { readonly atMs: number; readonly hashes: Float64Array }[] = [];
    for (const [i, share] of LOOKS.entries()) {
      await sleep(Math.max(0, startMs + share * ms - performance.now()), undefined, { signal });
      looks.push(await this.#hashes(signal, i === LOOKS.length - 2, i === LOOKS.length - 1));
    }
    const windows = looks.flatMap((from, i) =>
      looks
        .slice(i + 1)
        .map((to) => ({ ms: to.atMs - from.atMs, changedShare: shareOfChanged(from.hashes, to.hashes) })),
    );
    const changed = changedPages(this.#sample, looks.at(-2)!.hashes, looks.at(-1)!.hashes);
    return {
      ...{ pages: this.#pages, lookedAt: this.#sample.length, windows, ...this.#content(looks.at(-1)!.hashes) },
      written: await this.#written(changed, signal),
      batches: (await this.#batches(stretchesOf(this.#map, STRETCHES), BATCHES_MAX, signal)).batches,
    };
  }

  /** In the same order each time, so that the time between two looks is that of each page. */
  async #hashes(signal: AbortSignal, keeps: boolean, isLast: boolean): Promise<{ atMs: number; hashes: Float64Array }> {
    const hashes = new Float64Array(this.#sample.length);
    const atMs = performance.now();
    for (let i = 0; i < hashes.length; i++) {
      if (i % SLICE_PAGES === 0) await this.#breathe(signal);
      this.#memory.read(this.#sample[i]!, 1, this.#page, 0);
      hashes[i] = this.#hashOf(this.#page);
      if (isLast) this.#hard[i] = this.#looksRandom(this.#page, 0) ? 1 : 0;
      if (keeps && i < this.#kept.length / PAGE) this.#page.copy(this.#kept, i * PAGE);
    }
    return { atMs, hashes };
  }

  async #breathe(signal: AbortSignal): Promise<void> {
    await nextTurn();
    signal.throwIfAborted();
  }

  /** 53 of the 64 bits: enough for some thousand pages. */
  #hashOf(page: Buffer): number {
    this.#hash.update(page);
    return (this.#hash.high & 0x1f_ffff) * 2 ** 32 + this.#hash.low;
  }

  #content(hashes: Float64Array): Pick<GuestLook, 'zeroShare' | 'hardShare'> {
    const zero = this.#hashOf(Buffer.alloc(PAGE));
    const zeroPages = hashes.reduce((sum, hash) => sum + (hash === zero ? 1 : 0), 0);
    const hardPages = this.#hard.reduce((sum, isHard) => sum + isHard, 0);
    return { zeroShare: zeroPages / hashes.length, hardShare: hardPages / Math.max(1, hashes.length - zeroPages) };
  }

  #looksRandom(buffer: Buffer, from: number): boolean {
    const counts = this.#counts.fill(0);
    // Every eighth byte, not always at the same place of a word.
    for (let i = 0; i < LOOKED_AT_BYTES; i++) counts[buffer[from + i * 8 + (i & 7)]!]!++;
    let squares = 0;
    for (let value = 0; value < 256; value++) squares += counts[value]! * counts[value]!;
    return squares < RANDOM_BELOW;
  }

  async #written(changed: readonly number[], signal: AbortSignal): Promise<WrittenPages | null> {
    const deltaBytesPerPage = this.#deltaBytes();
    if (deltaBytesPerPage === null) return null;
    const stretches = changed.map((page) => this.#stretchAt(page, WRITTEN_STRETCH_PAGES));
    return { deltaBytesPerPage, ...(await this.#batches(stretches, WRITTEN_BATCHES_MAX, signal)) };
  }

  /** Put together from pages that can be packed; those of the first stretches, until there are enough. */
  async #batches(
    stretches: readonly Stretch[],
    batchesMax: number,
    signal: AbortSignal,
  ): Promise<{ readonly batches: Buffer[]; readonly hardShare: number }> {
    const batches: Buffer[] = [];
    const zero = Buffer.alloc(PAGE);
    let batch = Buffer.alloc(BATCH_PAGES * PAGE);
    let [held, packable, hard] = [0, 0, 0];
    for (const { page, pages } of stretches) {
      if (batches.length === batchesMax) break;
      for (let i = 0; i < pages && batches.length < batchesMax; i++) {
        this.#memory.read(page + i, 1, batch, held * PAGE);
        if (batch.compare(zero, 0, PAGE, held * PAGE, (held + 1) * PAGE) === 0) continue;
        if (this.#looksRandom(batch, held * PAGE)) {
          hard++;
          continue;
        }
        packable++;
        if (++held < BATCH_PAGES) continue;
        batches.push(batch);
        batch = Buffer.alloc(BATCH_PAGES * PAGE);
        held = 0;
      }
      await this.#breathe(signal);
    }
    if (held > 0) batches.push(batch.subarray(0, held * PAGE));
    return { batches, hardShare: hard / Math.max(1, hard + packable) };
  }

  /** Not over the end of its block. */
  #stretchAt(page: number, pages: number): Stretch {
    const block = this.#map.find(({ firstPage, pageCount }) => page < firstPage + pageCount)!;
    return { page, pages: Math.min(pages, block.firstPage + block.pageCount - page) };
  }

  #deltaBytes(): number | null {
    const before = pageMemory(this.#kept);
    const after = pageMemory(this.#page);
    const out = new Uint8Array(DELTA_BYTES_MAX);
    let [changed, bytes] = [0, 0];
    for (let i = 0; i < this.#kept.length / PAGE; i++) {
      this.#memory.read(this.#sample[i]!, 1, this.#page, 0);
      const end = encodeDelta(before, i * PAGE, after, 0, out, 0);
      if (end === 0) continue;
      changed++;
      bytes += end < 0 ? PAGE : end;
    }
    return changed < CHANGED_MIN ? null : bytes / changed;
  }
}

/** So many pages, spread evenly over all blocks, each at random within its stretch; in a shuffled order. */
function samplePages(map: MemoryMap, count: number): Uint32Array {
  const total = map.reduce((sum, { pageCount }) => sum + pageCount, 0);
  const sample = new Uint32Array(count);
  const stretch = total / count;
  let block = 0;
  let before = 0;
  for (let i = 0; i < count; i++) {
    const place = Math.min(total - 1, Math.floor((i + Math.random()) * stretch));
    while (place >= before + map[block]!.pageCount) before += map[block++]!.pageCount;
    sample[i] = map[block]!.firstPage + place - before;
  }
  return shuffled(sample);
}

/** So many stretches, spread evenly and each at random within its part of memory; none reaches over the end of its block. */
function stretchesOf(map: MemoryMap, count: number): readonly Stretch[] {
  const total = map.reduce((sum, { pageCount }) => sum + pageCount, 0);
  const length = Math.min(STRETCH_PAGES, Math.ceil(total / count));
  const places = shuffled(
    Uint32Array.from({ length: count }, (_, i) => Math.floor(((i + Math.random()) * total) / count)),
  );
  return Array.from(places, (place) => {
    let before = 0;
    const block = map.find(({ pageCount }) => place < (before += pageCount))!;
    const first = place - (before - block.pageCount);
    return { page: block.firstPage + first, pages: Math.min(length, block.pageCount - first) };
  });
}

function shuffled(values: Uint32Array): Uint32Array {
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [values[i], values[j]] = [values[j]!, values[i]!];
  }
  return values;
}

function changedPages(sample: Uint32Array, from: Float64Array, to: Float64Array): readonly number[] {
  return Array.from(sample).filter((_, i) => from[i] !== to[i]);
}

function shareOfChanged(from: Float64Array, to: Float64Array): number {
  let changed = 0;
  for (let i = 0; i < from.length; i++) if (from[i] !== to[i]) changed++;
  return changed / from.length;
}
