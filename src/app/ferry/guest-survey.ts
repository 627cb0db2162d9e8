/**
 * A look at a running guest before it is moved: how fast it writes, and on how many pages; what its pages hold. It is not
 * disturbed: some of its pages are read from outside, a few times, as they are.
 *
 *     look ── 0.1 s ── look ── 0.2 s ── look ── ... ── look      which pages differ between any two
 *                                                  └▶ zero? how far do they compress? how much of a page changes?
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { LANE_PAGE_BYTES as PAGE, DELTA_BYTES_MAX } from '../../core/wire/lane-limits.ts';
import { encodeDelta, pageMemory } from '../../core/wire/page-delta.ts';
import type { ChangeWindow } from '../../core/predict/working-set.ts';
import { FramePacker } from '../../io/lanes/frame-packer.ts';
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
  /** Of pages that hold something: bytes of one as lanes would send it, and the processor time of packing it. */
  readonly packedBytesPerPage: number;
  readonly packMsPerPage: number;
  /** Bytes of what changes in a page that is written to; null when hardly any was. */
  readonly deltaBytesPerPage: number | null;
};

const LOOKED_AT_MAX = 8192;
/** Of these the content is kept, to see how much of a page changes. */
const KEPT_PAGES = 2048;
/** When the guest is looked at, as parts of the whole time. */
const LOOKS = [0, 0.03, 0.1, 0.33, 0.66, 1] as const;
/** Read in one turn of the event loop: 1 to 2 ms. */
const SLICE_PAGES = 512;
const PACKED_PAGES = 256;
/** Fewer pages that changed say nothing of how much of a page changes. */
const CHANGED_MIN = 16;

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
  readonly #page = Buffer.alloc(PAGE);
  /** Content of the first KEPT_PAGES of the sample, in the look before the last. */
  readonly #kept: Buffer;

  constructor(map: MemoryMap, memory: GuestMemory, hash: PageHash) {
    this.#memory = memory;
    this.#hash = hash;
    this.#pages = map.reduce((sum, { pageCount }) => sum + pageCount, 0);
    this.#sample = samplePages(map, Math.min(LOOKED_AT_MAX, this.#pages));
    this.#kept = Buffer.alloc(Math.min(KEPT_PAGES, this.#sample.length) * PAGE);
  }

  async look(ms: number, signal: AbortSignal): Promise<GuestLook> {
    const startMs = performance.now();
    const looks: { readonly atMs: number; readonly hashes: Float64Array }[] = [];
    for (const [i, share] of LOOKS.entries()) {
      await sleep(Math.max(0, startMs + share * ms - performance.now()), undefined, { signal });
      looks.push(await this.#hashes(signal, i === LOOKS.length - 2));
    }
    const windows = looks.flatMap((from, i) =>
      looks
        .slice(i + 1)
        .map((to) => ({ ms: to.atMs - from.atMs, changedShare: shareOfChanged(from.hashes, to.hashes) })),
    );
    const { zeroShare, packedBytesPerPage, packMsPerPage } = await this.#content(signal);
    return {
      ...{ pages: this.#pages, lookedAt: this.#sample.length, windows },
      ...{ zeroShare, packedBytesPerPage, packMsPerPage, deltaBytesPerPage: this.#deltaBytes() },
    };
  }

  /** In the same order each time, so that the time between two looks is that of each page. */
  async #hashes(signal: AbortSignal, keeps: boolean): Promise<{ atMs: number; hashes: Float64Array }> {
    const hash = this.#hash;
    const hashes = new Float64Array(this.#sample.length);
    const atMs = performance.now();
    for (let i = 0; i < hashes.length; i++) {
      if (i % SLICE_PAGES === 0) await this.#breathe(signal);
      this.#memory.read(this.#sample[i]!, 1, this.#page, 0);
      hash.update(this.#page);
      // 53 of the 64 bits: enough for some thousand pages.
      hashes[i] = (hash.high & 0x1f_ffff) * 2 ** 32 + hash.low;
      if (keeps && i < this.#kept.length / PAGE) this.#page.copy(this.#kept, i * PAGE);
    }
    return { atMs, hashes };
  }

  async #breathe(signal: AbortSignal): Promise<void> {
    await nextTurn();
    signal.throwIfAborted();
  }

  /** In batches as lanes make them, of every fourth page of the sample. */
  async #content(signal: AbortSignal): Promise<Pick<GuestLook, 'zeroShare' | 'packedBytesPerPage' | 'packMsPerPage'>> {
    const packer = new FramePacker({ compress: 'lz', lanes: 1, maxBandwidthBytesPerSecond: null });
    const batch = Buffer.alloc(PACKED_PAGES * PAGE);
    const zero = Buffer.alloc(PAGE);
    const seen = { pages: 0, zero: 0, packed: 0, bytes: 0, ms: 0 };
    let held = 0;
    const pack = (): void => {
      const startMs = performance.now();
      const bytes = packer.pack(batch, 0, held * PAGE);
      seen.ms += performance.now() - startMs;
      seen.bytes += bytes === 0 ? held * PAGE : bytes;
      seen.packed += held;
      held = 0;
    };
    for (const [i, page] of this.#sample.entries()) {
      if (i % 4 !== 0) continue;
      this.#memory.read(page, 1, batch, held * PAGE);
      seen.pages++;
      if (batch.compare(zero, 0, PAGE, held * PAGE, (held + 1) * PAGE) === 0) seen.zero++;
      else if (++held === PACKED_PAGES) {
        pack();
        await this.#breathe(signal);
      }
    }
    if (held > 0) pack();
    return {
      zeroShare: seen.zero / seen.pages,
      packedBytesPerPage: seen.packed === 0 ? PAGE : seen.bytes / seen.packed,
      packMsPerPage: seen.packed === 0 ? 0 : seen.ms / seen.packed,
    };
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
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [sample[i], sample[j]] = [sample[j]!, sample[i]!];
  }
  return sample;
}

function shareOfChanged(from: Float64Array, to: Float64Array): number {
  let changed = 0;
  for (let i = 0; i < from.length; i++) if (from[i] !== to[i]) changed++;
  return changed / from.length;
}
