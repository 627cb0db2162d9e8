/**
 * Puts received frames where they belong: into the memory of the waiting QEMU.
 *
 * Invariants: only pages of this lane and inside known RAM blocks are touched; a page whose bit is not set in `placed`
 * holds what it held at the start, which is zero unless its block is preloaded (R6), so zero runs skip it.
 */
import { constants, zstdDecompressSync } from 'node:zlib';
import { applyDelta } from '../../core/wire/page-delta.ts';
import { DELTA_RUN, FLAG_ZSTD, RUN_COUNT_MASK, sameHash, ZERO_RUN } from '../../core/wire/lane-frame.ts';
import { FRAME_DATA_BYTES_MAX, LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import type { LaneFrame } from '../../core/wire/lane-parser.ts';
import { LaneError } from './errors.ts';
import { free } from './frame-packer.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { DestinationLaneInit } from './lane-protocol.ts';
import type { PageHash } from './page-hash.ts';
import { RunHasher } from './run-hasher.ts';

/** Zeros are written from a buffer of 64 pages: a whole chunk of them would only leave the caches. */
const ZERO_PAGES = 64;
const zeros = Buffer.alloc(ZERO_PAGES * PAGE);
/** A frame of 1 MiB needs no larger window; a forged one could ask for 128 MiB. */
const params = { [constants.ZSTD_d_windowLogMax]: 20 };

export class PagePlacer {
  readonly #memory: GuestMemory;
  readonly #hasher: RunHasher;
  readonly #lane: number;
  readonly #lanes: number;
  readonly #placed: Uint32Array;
  #pages: Buffer | undefined;
  dataPages = 0;
  deltaPages = 0;
  zeroPages = 0;

  constructor(memory: GuestMemory, hash: PageHash, init: Pick<DestinationLaneInit, 'lane' | 'lanes' | 'memory'>) {
    this.#memory = memory;
    this.#hasher = new RunHasher(memory, hash);
    this.#lane = init.lane;
    this.#lanes = init.lanes;
    const pages = init.memory.reduce((most, block) => Math.max(most, block.firstPage + block.pageCount), 0);
    this.#placed = new Uint32Array(Math.ceil(pages / 32));
    for (const { preloaded, firstPage, pageCount } of init.memory) {
      if (preloaded === true) this.#mark(firstPage, pageCount);
    }
  }

  /** Writes all pages of a PAGES frame. Throws LaneError LANE_PROTOCOL or LANE_PLACE. */
  place(frame: LaneFrame): void {
    const { header, runs } = frame;
    for (let i = 0; i < runs.length; i += 2) this.#check(runs[i]!, runs[i + 1]! & RUN_COUNT_MASK);
    const content = unpack(frame);
    let at = 0;
    let deltaAt = header.rawBytes - header.deltaBytes;
    for (let i = 0; i < runs.length;) {
      const page = runs[i]!;
      let count = runs[i + 1]!;
      i += 2;
      if (count >= ZERO_RUN) {
        this.#placeZeros(page, count & RUN_COUNT_MASK);
        continue;
      }
      if (count >= DELTA_RUN) {
        deltaAt = this.#placeDeltas(page, count & RUN_COUNT_MASK, content, deltaAt);
        continue;
      }
      for (; i < runs.length && runs[i] === page + count && this.#continues(page, count, runs[i + 1]!); i += 2) {
        count += runs[i + 1]!;
      }
      this.#memory.write(page, count, content, at);
      this.#mark(page, count);
      this.dataPages += count;
      at += count * PAGE;
    }
    if (deltaAt !== header.rawBytes) {
      throw new LaneError('LANE_PROTOCOL', `A frame's deltas end at ${deltaAt}, not at ${header.rawBytes}`);
    }
    if (content !== frame.payload) free(content);
  }

  /** Compares own memory with the hashes of a VERIFY frame; returns the runs that differ. Throws LaneError. */
  verify({ runs, payload }: LaneFrame): Uint32Array {
    for (let i = 0; i < runs.length; i += 2) this.#check(runs[i]!, runs[i + 1]!);
    const own = this.#hasher.hashes(runs);
    const differing: number[] = [];
    for (let i = 0; i < runs.length; i += 2) {
      if (!sameHash(payload, i / 2, own[i]!, own[i + 1]!)) differing.push(runs[i]!, runs[i + 1]!);
    }
    return Uint32Array.from(differing);
  }

  #check(page: number, count: number): void {
    const first = page >>> 9;
    const last = (page + count - 1) >>> 9;
    const own = this.#lanes === 1 || (first === last && first % this.#lanes === this.#lane);
    if (own && this.#memory.blockOf(page, count) !== undefined) return;
    const where = own ? 'no RAM block holds them' : `they are not pages of lane ${this.#lane}`;
    throw new LaneError('LANE_PROTOCOL', `A frame names pages ${page} to ${page + count - 1}, but ${where}`, {
      page,
      count,
      lane: this.#lane,
    });
  }

  #continues(page: number, count: number, next: number): boolean {
    return next < DELTA_RUN && this.#memory.blockOf(page, count + next) !== undefined;
  }

  /** Overwrites those pages of the run that have ever been placed. Hot: no allocation. */
  #placeZeros(page: number, count: number): void {
    const end = page + count;
    this.zeroPages += count;
    for (let at = page; at < end;) {
      if (!this.#isPlaced(at)) {
        at++;
        continue;
      }
      let n = 1;
      while (n < ZERO_PAGES && at + n < end && this.#isPlaced(at + n)) n++;
      this.#memory.write(at, n, zeros, 0);
      this.#unmark(at, n);
      at += n;
    }
  }

  /**
   * Changes pages that this lane has placed before, in a copy of them; returns where the deltas end. Hot: no allocation
   * per page.
   */
  #placeDeltas(page: number, count: number, deltas: Uint8Array, at: number): number {
    this.#pages ??= Buffer.allocUnsafeSlow(FRAME_DATA_BYTES_MAX);
    for (let p = page; p < page + count; p++) {
      if (!this.#isPlaced(p)) throw new LaneError('LANE_PROTOCOL', `A delta names page ${p}, which holds nothing yet`);
    }
    this.#memory.read(page, count, this.#pages, 0);
    for (let i = 0; i < count; i++) at = applyDelta(deltas, at, this.#pages, i * PAGE);
    this.#memory.write(page, count, this.#pages, 0);
    this.dataPages += count;
    this.deltaPages += count;
    return at;
  }

  #isPlaced(page: number): boolean {
    return ((this.#placed[page >>> 5]! >>> (page & 31)) & 1) === 1;
  }

  #mark(page: number, count: number): void {
    for (let p = page; p < page + count; p++) this.#placed[p >>> 5]! |= 1 << (p & 31);
  }

  #unmark(page: number, count: number): void {
    for (let p = page; p < page + count; p++) this.#placed[p >>> 5]! &= ~(1 << (p & 31));
  }
}

/** The pages and deltas of the frame; to be freed when they are not its payload itself. */
function unpack({ header, payload }: LaneFrame): Uint8Array {
  if (header.flags !== FLAG_ZSTD) return payload;
  const { rawBytes } = header;
  let content: Buffer;
  try {
    content = zstdDecompressSync(payload, { params, chunkSize: rawBytes + 64, maxOutputLength: rawBytes });
  } catch (error) {
    throw new LaneError('LANE_PROTOCOL', 'A compressed frame cannot be decompressed', { rawBytes }, { cause: error });
  }
  if (content.length === rawBytes) return content;
  throw new LaneError('LANE_PROTOCOL', `A frame held ${content.length} bytes of pages instead of ${rawBytes}`, {
    actual: content.length,
    rawBytes,
  });
}
