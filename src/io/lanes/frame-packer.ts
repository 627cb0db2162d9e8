/**
 * Compresses the content of frames in place, at the level that `--compress` asks for or that the control finds.
 *
 * Incompressible content is found by a look at 4096 of its bytes, and, if that suspects it, by compressing a sample: it is
 * not compressed to find out. What compression makes is freed at once: left to the garbage collector these buffers
 * would take a third of a lane's time and tens of MiB.
 */
import { constants, type ZstdOptions, zstdCompressSync } from 'node:zlib';
import { CompressionControl, type KnownLink } from '../../core/compress/compression-control.ts';
import { compressionLevels, LZ, STORE } from '../../core/compress/levels.ts';
import { looksRandom } from '../../core/compress/looks-random.ts';
import { LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import type { SourceLaneInit } from './lane-protocol.ts';
import { threadCpuMs } from './thread-cpu.ts';

/** Compressed output must save 5 %, or the pages go out as they are: the destination then need not decompress. */
const PAYS_BELOW = 0.95;
/** Content this short is hardly worth the making of a compressor (30 us). */
const BYTES_MIN = 256;
/** Pages compressed as a sample when the content looks random: 3 % of a full batch. */
const SAMPLE_PAGES = 8;
const SAMPLED_BYTES_MIN = 4 * SAMPLE_PAGES * PAGE;
/** Bytes looked at, 4 us. */
const LOOKED_AT = 4096;
const paramsOf = compressionLevels.map(({ zstd }) => {
  const params: Record<number, number> = { [constants.ZSTD_c_compressionLevel]: zstd?.level ?? 1 };
  if (zstd?.minMatch !== undefined) params[constants.ZSTD_c_minMatch] = zstd.minMatch;
  if (zstd?.hashLog !== undefined) params[constants.ZSTD_c_hashLog] = zstd.hashLog;
  return params;
});

export type PackerOptions = Pick<SourceLaneInit, 'compress' | 'lanes' | 'maxBandwidthBytesPerSecond'> & {
  /** What is known of the link; nothing without it. */
  readonly link?: KnownLink | null;
  /** This one, whatever `compress` says: for trials. */
  readonly level?: number;
};

export class FramePacker {
  /** Null unless the level is to be found. */
  readonly control: CompressionControl | null;
  readonly #fixedLevel: number;
  readonly #sample = Buffer.allocUnsafeSlow(SAMPLE_PAGES * PAGE);

  constructor({ compress, lanes, maxBandwidthBytesPerSecond, link = null, level }: PackerOptions) {
    const capBytesPerMs = maxBandwidthBytesPerSecond === null ? null : maxBandwidthBytesPerSecond / 1000 / lanes;
    this.control = compress === 'adaptive' && level === undefined ? new CompressionControl(capBytesPerMs, link) : null;
    this.#fixedLevel = level ?? (compress === 'none' ? STORE : LZ);
  }

  /** Replaces the bytes of `buffer` from `at` on by one zstd frame; returns its length, or 0 when they stay as they are. */
  pack(buffer: Buffer, at: number, rawBytes: number): number {
    const level = this.control?.level ?? this.#fixedLevel;
    if (rawBytes < BYTES_MIN || (this.control === null && level === STORE)) return 0;
    const startMs = threadCpuMs();
    if (rawBytes >= SAMPLED_BYTES_MIN && looksRandom(buffer, at, rawBytes, LOOKED_AT)) {
      if (!this.#samplePays(buffer, at, rawBytes)) return 0;
    }
    if (level === STORE) {
      this.control?.packed(rawBytes, rawBytes, threadCpuMs() - startMs);
      return 0;
    }
    const packed = zstdCompressSync(buffer.subarray(at, at + rawBytes), zstdOptions(rawBytes, level));
    const { length } = packed;
    const pays = length < rawBytes * PAYS_BELOW;
    if (pays) packed.copy(buffer, at);
    free(packed);
    this.control?.packed(rawBytes, pays ? length : rawBytes, threadCpuMs() - startMs);
    return pays ? length : 0;
  }

  #samplePays(buffer: Buffer, from: number, rawBytes: number): boolean {
    const step = Math.floor(rawBytes / PAGE / SAMPLE_PAGES) * PAGE;
    for (let i = 0; i < SAMPLE_PAGES; i++) {
      const at = from + i * step;
      buffer.copy(this.#sample, i * PAGE, at, at + PAGE);
    }
    const packed = zstdCompressSync(this.#sample, zstdOptions(this.#sample.length, LZ));
    const { length } = packed;
    free(packed);
    return length < this.#sample.length * PAYS_BELOW;
  }
}

/** Room for any output: zstd then writes straight into it, instead of through buffers of its own (-25 % time). */
function zstdOptions(rawBytes: number, level: number): ZstdOptions {
  const chunkSize = rawBytes + (rawBytes >>> 8) + 1024;
  return { params: paramsOf[level]!, chunkSize, pledgedSrcSize: rawBytes } as ZstdOptions;
}

/**
 * Gives the memory behind a result of zlib back now. The buffer, and every other view of that memory, is empty then. What
 * may lie in Node's pool of small buffers stays.
 */
export function free({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize) buffer.transfer(0);
}
