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
import { pageLooksRandom, sampleBatches, ZERO_PAGE } from '../../io/lanes/sample-batches.ts';
import type { SampledBatches, SampleOptions, UnneededPages } from '../../io/lanes/sample-batches.ts';

export type GuestLook = {
  /** Pages of all blocks, and how many of them were looked at. */
  readonly pages: number;
  readonly lookedAt: number;
  readonly windows: readonly ChangeWindow[];
  /** Of all pages. */
  readonly zeroShare: number;
  /** Of all pages: the share that looks random, which nothing can pack, and is needed. */
  readonly hardShare: number;
  /** Some of the others that hold something and are needed, put together as lanes put them. */
  readonly batches: readonly Buffer[];
  /** Null when hardly any page was written to. */
  readonly written: WrittenPages | null;
};

/** They may pack otherwise than the rest of memory. */
export type WrittenPages = {
  /** Bytes of what changes in a page. */
  readonly deltaBytesPerPage: number;
  /** Of these. */
  readonly hardShare: number;
  readonly batches: readonly Buffer[];
};

const LOOKED_AT_MAX = 8192;
/** Of these the content is kept, to see how much of a page changes. */
const KEPT_PAGES = 2048;
/** When the guest is looked at, as parts of the whole time. */
const LOOKS = [0, 0.03, 0.1, 0.33, 0.66, 1] as const;
/** Read in one turn of the event loop: 1 to 2 ms. */
const SLICE_PAGES = 512;
/** Stretches of an eighth of a batch: neighbours, and many places, for pages that pack to 300 bytes here pack to 2700 elsewhere. */
const BATCHES_MAX = 16;
const STRETCH_PAGES = 32;
const WALK_PAGES = 8192;
/** Fewer pages that changed say nothing of what is written. */
const CHANGED_MIN = 16;
/** Of pages that are written to; each time with its neighbours, which are sent with it. */
const WRITTEN_BATCHES_MAX = 2;
const WRITTEN_PAGES = 8;

export type LookOptions = {
  /** For how long. */
  readonly ms: number;
  /** Asked at the end of it. */
  readonly unneeded?: UnneededPages;
};

const nobodySays: UnneededPages = async () => await Promise.resolve(null);

/** Throws LaneError when memory cannot be read, AbortError. */
export async function lookAtGuest(
  map: MemoryMap,
  { ms, unneeded = nobodySays }: LookOptions,
  signal: AbortSignal,
): Promise<GuestLook> {
  const memory = new GuestMemory(map, 'read');
  try {
    return await new Looker({ map, memory, unneeded }, await createPageHash()).look(ms, signal);
  } finally {
    memory.close();
  }
}

class Looker {
  readonly #parts: Pick<SampleOptions, 'map' | 'memory' | 'unneeded'>;
  readonly #memory: GuestMemory;
  readonly #hash: PageHash;
  readonly #pages: number;
  readonly #sample: Uint32Array;
  readonly #page = Buffer.alloc(PAGE);
  /** Of the sample in the last look: 1 where a page looks random. */
  readonly #hard: Uint8Array;
  /** Content of the first KEPT_PAGES of the sample, in the look before the last. */
  readonly #kept: Buffer;

  constructor(parts: Pick<SampleOptions, 'map' | 'memory' | 'unneeded'>, hash: PageHash) {
    const { map, memory } = parts;
    this.#parts = parts;
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
    const written = await this.#written(changed, signal);
    const { batches, hard, hardUnneeded } = await this.#needed(looks.at(-1)!.hashes, signal);
    const { zeroShare, hardShare } = this.#shares(looks.at(-1)!.hashes);
    return {
      ...{ pages: this.#pages, lookedAt: this.#sample.length, windows, written, batches, zeroShare },
      hardShare: hardUnneeded === 0 ? hardShare : (hardShare * hard) / (hard + hardUnneeded),
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
      if (isLast) this.#hard[i] = pageLooksRandom(this.#page, 0) ? 1 : 0;
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

  #shares(hashes: Float64Array): Pick<GuestLook, 'zeroShare' | 'hardShare'> {
    const zero = this.#hashOf(ZERO_PAGE);
    const zeroPages = hashes.reduce((sum, hash) => sum + (hash === zero ? 1 : 0), 0);
    const hardPages = this.#hard.reduce((sum, isHard) => sum + isHard, 0);
    return { zeroShare: zeroPages / hashes.length, hardShare: hardPages / hashes.length };
  }

  /** Begins at pages that hold something, so that all of these are met alike, wherever they lie. */
  async #needed(hashes: Float64Array, signal: AbortSignal): Promise<SampledBatches> {
    const zero = this.#hashOf(ZERO_PAGE);
    const starts = Array.from(this.#sample).filter((_, i) => hashes[i] !== zero);
    const stretch = { stretchPages: STRETCH_PAGES, walkPages: WALK_PAGES, batchesMax: BATCHES_MAX };
    return await sampleBatches({ ...this.#parts, ...stretch, starts }, signal);
  }

  async #written(changed: readonly number[], signal: AbortSignal): Promise<WrittenPages | null> {
    const deltaBytesPerPage = this.#deltaBytes();
    if (deltaBytesPerPage === null) return null;
    const stretch = { stretchPages: WRITTEN_PAGES, walkPages: WRITTEN_PAGES, batchesMax: WRITTEN_BATCHES_MAX };
    const { batches, hard, packable } = await sampleBatches({ ...this.#parts, ...stretch, starts: changed }, signal);
    return { deltaBytesPerPage, batches, hardShare: hard / Math.max(1, hard + packable) };
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
