/**
 * What methods of compression make of the pages of a real guest: ratio and speed of one thread, in pieces of 1 MiB, as lanes
 * compress them. The guest's memory is read from outside while it runs, and compressed once it has ended.
 */
import { constants, deflateSync, inflateSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { compressionLevels, LZ } from '../../../core/compress/levels.ts';
import type { CompressionLevel } from '../../../core/compress/levels.ts';
import { findGuestMemory, GuestMemoryReader } from '../../../io/qemu/guest-memory.ts';
import { caseOf } from '../cases.ts';
import { BenchError } from '../errors.ts';
import { PIECE_PAGES } from '../limit.ts';
import type { Measure } from '../measures.ts';
import type { MeasuredValues } from '../samples.ts';
import { withSettledGuest } from './settled-guest.ts';
import type { SettledGuest } from './settled-guest.ts';

export type Method = {
  readonly name: string;
  readonly pack: (piece: Uint8Array) => Uint8Array;
  readonly unpack: (packed: Uint8Array) => Uint8Array;
};

const PAGE_BYTES = 4096;
const PIECE_BYTES = PIECE_PAGES * PAGE_BYTES;
/** So much of the guest, spread over all of it. */
const PIECES_MAX = 64;
/** Packed and unpacked before the clock runs: the first use of a method is slower. */
const WARM_PIECES = 8;
/** With the speed of LZ4. Node.js cannot ask for -1: that is its mark for "not set". */
const LIGHTER_LEVELS = [-20, -5] as const;
const zeroPage = new Uint8Array(PAGE_BYTES);

function zstdMethod(name: string, zstd: CompressionLevel['zstd']): Method {
  const params: Record<number, number> = { [constants.ZSTD_c_compressionLevel]: zstd?.level ?? 1 };
  if (zstd?.minMatch !== undefined) params[constants.ZSTD_c_minMatch] = zstd.minMatch;
  if (zstd?.hashLog !== undefined) params[constants.ZSTD_c_hashLog] = zstd.hashLog;
  return { name, pack: (piece) => zstdCompressSync(piece, { params }), unpack: (packed) => zstdDecompressSync(packed) };
}

function deflateMethod(level: number): Method {
  const name = `deflate ${level}`;
  return { name, pack: (piece) => deflateSync(piece, { level }), unpack: (packed) => inflateSync(packed) };
}

/** Those among which `adaptive` chooses, the one of `lz` among them; lighter ones; and LZ77 with Huffman's code as zlib has it. */
export const methods: readonly Method[] = [
  ...LIGHTER_LEVELS.map((level) => zstdMethod(`zstd ${level}`, { level })),
  ...compressionLevels.flatMap(({ zstd }, index) =>
    zstd === null ? [] : [zstdMethod(index === LZ ? 'lz' : `zstd ${zstd.level}`, zstd)],
  ),
  deflateMethod(1),
  deflateMethod(6),
];

/** Values `METHOD ratio`, `METHOD MB/s` (packing, of raw bytes) and `METHOD unpack MB/s`. */
export function methodsMeasure(caseName: string): Measure {
  return {
    key: `methods ${caseName}`,
    case: caseName,
    definition: {
      case: caseOf(caseName),
      methods: methods.map(({ name }) => name),
      levels: compressionLevels,
      PIECES_MAX,
      WARM_PIECES,
    },
    run: async (tools) => packAll(await withSettledGuest(caseName, tools, readPieces)),
  };
}

/** Pages that are not zero, in their order, in pieces of 1 MiB; at most `PIECES_MAX` of these, evenly chosen. */
async function readPieces({ qmp, pid }: SettledGuest): Promise<Uint8Array[]> {
  const reader = GuestMemoryReader.open(pid);
  try {
    const { blocks } = await findGuestMemory(qmp, pid);
    const filler = new PieceFiller();
    const chunk = new Uint8Array(PIECE_BYTES);
    for (const block of blocks.filter(({ hva }) => hva !== null)) {
      for (let at = 0; at < block.usedBytes; at += PIECE_BYTES) {
        const part = chunk.subarray(0, Math.min(PIECE_BYTES, block.usedBytes - at));
        reader.read(block, at, part);
        filler.add(part);
      }
    }
    const { pieces } = filler;
    const step = Math.max(1, pieces.length / PIECES_MAX);
    return Array.from({ length: Math.min(PIECES_MAX, pieces.length) }, (_, n) => pieces[Math.floor(n * step)]!);
  } finally {
    reader.close();
  }
}

/** Moves pages together; what does not fill a piece is left out. */
class PieceFiller {
  readonly pieces: Uint8Array[] = [];
  #piece = new Uint8Array(PIECE_BYTES);
  #filled = 0;

  add(memory: Uint8Array): void {
    for (let at = 0; at + PAGE_BYTES <= memory.length; at += PAGE_BYTES) {
      const page = memory.subarray(at, at + PAGE_BYTES);
      if (Buffer.compare(page, zeroPage) === 0) continue;
      this.#piece.set(page, this.#filled);
      this.#filled += PAGE_BYTES;
      if (this.#filled < PIECE_BYTES) continue;
      this.pieces.push(this.#piece);
      this.#piece = new Uint8Array(PIECE_BYTES);
      this.#filled = 0;
    }
  }
}

/** Throws BenchError BENCH_FAILED where what was packed does not come out again. */
export function packAll(pieces: readonly Uint8Array[]): MeasuredValues {
  const rawBytes = pieces.length * PIECE_BYTES;
  const values = methods.flatMap((method) => {
    for (const piece of pieces.slice(0, WARM_PIECES)) method.unpack(method.pack(piece));
    const [packed, packMs] = timed(() => pieces.map((piece) => method.pack(piece)));
    const [back, unpackMs] = timed(() => packed.map((each) => method.unpack(each)));
    if (back.some((each, n) => Buffer.compare(each, pieces[n]!) !== 0)) {
      throw new BenchError('BENCH_FAILED', `${method.name} did not give back what it packed`);
    }
    const packedBytes = packed.reduce((sum, { length }) => sum + length, 0);
    return [
      [`${method.name} ratio`, rawBytes / packedBytes],
      [`${method.name} MB/s`, rawBytes / 1000 / packMs],
      [`${method.name} unpack MB/s`, rawBytes / 1000 / unpackMs],
    ] as const;
  });
  return { pieces: pieces.length, ...Object.fromEntries(values) };
}

function timed<T>(run: () => T): [T, number] {
  const beginMs = performance.now();
  const result = run();
  return [result, performance.now() - beginMs];
}
