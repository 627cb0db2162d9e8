/**
 * Compresses the content of frames in place. What compression makes is freed at once: left to the garbage collector these
 * buffers would take a third of a lane's time and tens of MiB.
 */
import { constants, type ZstdOptions, zstdCompressSync } from 'node:zlib';
import type { LaneCompress } from './lane-protocol.ts';
import { LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';

/** Compressed output must save 5 %, or the pages go out as they are: the destination then need not decompress. */
const PAYS_BELOW = 0.95;
/** Content this short is hardly worth the making of a compressor (30 us). */
const BYTES_MIN = 256;
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

export class FramePacker {
  readonly #compress: boolean;
  readonly #sample = Buffer.allocUnsafeSlow(SAMPLE_PAGES * PAGE);
  #paid = true;

  constructor(compress: LaneCompress) {
    this.#compress = compress !== 'none';
  }

  /** Replaces the bytes of `buffer` from `at` on by one zstd frame; returns its length, or 0 when they stay as they are. */
  pack(buffer: Buffer, at: number, rawBytes: number): number {
    if (!this.#compress || rawBytes < BYTES_MIN) return 0;
    if (!this.#paid && rawBytes >= 4 * SAMPLE_PAGES * PAGE && !this.#samplePays(buffer, at, rawBytes)) return 0;
    const packed = zstdCompressSync(buffer.subarray(at, at + rawBytes), zstdOptions(rawBytes));
    const { length } = packed;
    this.#paid = length < rawBytes * PAYS_BELOW;
    if (this.#paid) packed.copy(buffer, at);
    free(packed);
    return this.#paid ? length : 0;
  }

  #samplePays(buffer: Buffer, from: number, rawBytes: number): boolean {
    const step = Math.floor(rawBytes / PAGE / SAMPLE_PAGES) * PAGE;
    for (let i = 0; i < SAMPLE_PAGES; i++) {
      const at = from + i * step;
      buffer.copy(this.#sample, i * PAGE, at, at + PAGE);
    }
    const packed = zstdCompressSync(this.#sample, zstdOptions(this.#sample.length));
    const { length } = packed;
    free(packed);
    return length < this.#sample.length * PAYS_BELOW;
  }
}

/** Room for any output: zstd then writes straight into it, instead of through buffers of its own (-25 % time). */
function zstdOptions(rawBytes: number): ZstdOptions {
  return { params, chunkSize: rawBytes + (rawBytes >>> 8) + 1024, pledgedSrcSize: rawBytes } as ZstdOptions;
}

/**
 * Gives the memory behind a result of zlib back now. The buffer, and every other view of that memory, is empty then. What
 * may lie in Node's pool of small buffers stays.
 */
export function free({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize) buffer.transfer(0);
}
