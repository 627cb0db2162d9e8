/**
 * Turns a batch of page runs into one PAGES frame: reads guest memory, finds zero pages, moves the data pages together,
 * compresses them where that pays.
 *
 *     frame buffer   ... | header | run table | data pages, or the zstd frame |
 *                        ^ start              ^ DATA_AT                       ^ end
 *
 * The buffer is given by the caller and holds the whole frame, so that it goes out in one write; compressed bytes
 * replace the pages from which they were made. Nothing is allocated per page.
 */
import { constants, type ZstdOptions, zstdCompressSync } from 'node:zlib';
import { assert } from '../../core/base/assert.ts';
import { FLAG_ZSTD, laneHeadBytes, LaneFrameType, writeLaneHead, ZERO_RUN } from '../../core/wire/lane-frame.ts';
import {
  FRAME_DATA_BYTES_MAX,
  FRAME_RUNS_MAX,
  LANE_PAGE_BYTES as PAGE,
  RUN_PAGES_MAX,
} from '../../core/wire/lane-limits.ts';
import type { GuestMemory } from './guest-memory.ts';
import { BATCH_PAGES_MAX, type LaneCounts } from './lane-protocol.ts';

/** Where pages begin in a frame buffer: room for the longest head before it, and aligned for the zero test. */
const DATA_AT = 8192;
export const FRAME_BUFFER_BYTES = DATA_AT + FRAME_DATA_BYTES_MAX;

/** Compressed output must save 5 %, or the pages go out as they are: the destination then need not decompress. */
const PAYS_BELOW = 0.95;
/** Pages compressed as a sample when the batch before did not pay: 3 % of a full batch. */
const SAMPLE_PAGES = 8;

/**
 * Level 1 with minMatch 5: on 53 MiB of program code (pages in order, and shuffled) the ratio was 2.86 and 2.25, against
 * 2.72 and 2.11 of plain level 1 and 2.74 and 2.11 of a level 1 stream flushed every 512 KiB, which is what QEMU's multifd
 * does. It costs about a tenth of the speed (360 instead of 403 MB per second of processor time). Level -1 is no level:
 * its output has the size of level 3's, the default.
 */
const params = {
  [constants.ZSTD_c_compressionLevel]: 1,
  [constants.ZSTD_c_minMatch]: 5,
  [constants.ZSTD_c_targetLength]: 3,
};

const zeroPage = Buffer.alloc(PAGE);

export type EncodedBatch = LaneCounts & { readonly start: number; readonly end: number };

export function allocateFrameBuffer(): Buffer<ArrayBuffer> {
  return Buffer.allocUnsafeSlow(FRAME_BUFFER_BYTES);
}

export class BatchEncoder {
  readonly #memory: GuestMemory;
  readonly #compress: boolean;
  readonly #table = new Uint32Array(FRAME_RUNS_MAX * 2);
  readonly #sample = Buffer.allocUnsafeSlow(SAMPLE_PAGES * PAGE);
  #tableLength = 0;
  #dataPages = 0;
  #zeroPages = 0;
  #paid = true;

  constructor(memory: GuestMemory, compress: 'none' | 'lz') {
    this.#memory = memory;
    this.#compress = compress === 'lz';
  }

  /**
   * Writes the frame to `buffer` between `start` and `end`. The batch's limits are the caller's promise (asserted).
   * Throws LaneError when guest memory cannot be read.
   */
  encode(sequence: number, runs: Uint32Array, zeroRuns: Uint32Array | undefined, buffer: Buffer): EncodedBatch {
    this.#tableLength = 0;
    this.#dataPages = 0;
    this.#zeroPages = 0;
    this.#readRuns(runs, buffer);
    if (zeroRuns !== undefined) this.#addZeroRuns(zeroRuns);
    assert(this.#tableLength > 0, 'a batch has pages');
    const rawBytes = this.#dataPages * PAGE;
    const packedBytes = this.#pack(buffer, rawBytes);
    const payloadBytes = packedBytes === 0 ? rawBytes : packedBytes;
    const runCount = this.#tableLength / 2;
    const start = DATA_AT - laneHeadBytes(runCount);
    const flags = packedBytes === 0 ? 0 : FLAG_ZSTD;
    const type = LaneFrameType.pages;
    writeLaneHead(buffer, start, { type, flags, sequence, runCount, payloadBytes, rawBytes }, this.#table);
    const end = DATA_AT + payloadBytes;
    const { dataPages, zeroPages } = { dataPages: this.#dataPages, zeroPages: this.#zeroPages };
    return { start, end, dataPages, zeroPages, rawBytes, wireBytes: end - start };
  }

  /** Reads adjacent runs at once, behind the data pages kept so far, and sorts out the zero pages. */
  #readRuns(runs: Uint32Array, buffer: Buffer): void {
    let pages = 0;
    for (let i = 0; i < runs.length;) {
      const page = runs[i]!;
      let count = runs[i + 1]!;
      for (i += 2; i < runs.length && runs[i] === page + count; i += 2) {
        if (this.#memory.blockOf(page, count + runs[i + 1]!) === undefined) break;
        count += runs[i + 1]!;
      }
      pages += count;
      assert(count > 0 && pages <= BATCH_PAGES_MAX, 'a batch holds at most BATCH_PAGES_MAX pages');
      this.#memory.read(page, count, buffer, DATA_AT + this.#dataPages * PAGE);
      this.#sortRun(page, count, buffer);
    }
  }

  /** The run's pages lie behind the data pages kept so far: closes the gaps that zero pages leave. Hot: no allocation. */
  #sortRun(firstPage: number, count: number, buffer: Buffer): void {
    const from = DATA_AT + this.#dataPages * PAGE;
    let to = from;
    for (let i = 0; i < count;) {
      const at = from + i * PAGE;
      const zero = isZeroPage(buffer, at);
      let n = 1;
      while (i + n < count && isZeroPage(buffer, at + n * PAGE) === zero) n++;
      this.#addRun(firstPage + i, n, zero);
      if (!zero) {
        if (to !== at) buffer.copyWithin(to, at, at + n * PAGE);
        to += n * PAGE;
      }
      i += n;
    }
  }

  #addRun(page: number, count: number, zero: boolean): void {
    assert(this.#tableLength + 2 <= this.#table.length, 'a batch fits in one run table');
    this.#table[this.#tableLength++] = page;
    this.#table[this.#tableLength++] = zero ? count | ZERO_RUN : count;
    if (zero) this.#zeroPages += count;
    else this.#dataPages += count;
  }

  #addZeroRuns(runs: Uint32Array): void {
    for (let i = 0; i < runs.length; i += 2) {
      assert(runs[i + 1]! > 0 && runs[i + 1]! <= RUN_PAGES_MAX, 'a zero run has 1 to RUN_PAGES_MAX pages');
      this.#addRun(runs[i]!, runs[i + 1]!, true);
    }
  }

  /** Replaces the pages by their zstd frame; returns its length, or 0 when the pages stay as they are. */
  #pack(buffer: Buffer, rawBytes: number): number {
    if (!this.#compress || rawBytes === 0) return 0;
    if (!this.#paid && rawBytes >= 4 * SAMPLE_PAGES * PAGE && !this.#samplePays(buffer, rawBytes)) return 0;
    const packed = zstdCompressSync(buffer.subarray(DATA_AT, DATA_AT + rawBytes), zstdOptions(rawBytes));
    this.#paid = packed.length < rawBytes * PAYS_BELOW;
    if (!this.#paid) return 0;
    packed.copy(buffer, DATA_AT);
    return packed.length;
  }

  #samplePays(buffer: Buffer, rawBytes: number): boolean {
    const step = Math.floor(rawBytes / PAGE / SAMPLE_PAGES) * PAGE;
    for (let i = 0; i < SAMPLE_PAGES; i++) {
      const at = DATA_AT + i * step;
      buffer.copy(this.#sample, i * PAGE, at, at + PAGE);
    }
    const { length } = zstdCompressSync(this.#sample, zstdOptions(this.#sample.length));
    return length < this.#sample.length * PAYS_BELOW;
  }
}

/**
 * Output chunks of half the input: most batches shrink below that, and Node joins the two of the others by copying. Chunks
 * that hold any output would double what the garbage collector has to chase.
 */
function zstdOptions(rawBytes: number): ZstdOptions {
  return { params, chunkSize: (rawBytes >>> 1) + 4096, pledgedSrcSize: rawBytes } as ZstdOptions;
}

/** Three bytes decide for many data pages; the rest is decided by memcmp (8 GB/s). Hot: no allocation. */
function isZeroPage(buffer: Buffer, at: number): boolean {
  if (buffer[at] !== 0 || buffer[at + 2048] !== 0 || buffer[at + PAGE - 1] !== 0) return false;
  return buffer.compare(zeroPage, 0, PAGE, at, at + PAGE) === 0;
}
