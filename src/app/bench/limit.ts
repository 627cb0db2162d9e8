/**
 * The least that a migration has to send: the pages that are neither zero nor soft (free, or clean file cache), each once,
 * compressed by zstd at level 3 in pieces of 1 MiB. Divided by the link's rate it is the time that no migration of
 * whole pages can beat by much; headers of the link are not in it.
 */
export type LimitBlock = { readonly name: string; readonly pages: number };

export type LimitMemory = {
  readonly blocks: readonly LimitBlock[];
  /** Fills `target` with the block's content from a page on. */
  readonly read: (block: string, firstPage: number, target: Uint8Array) => void;
  /** Bit n: the guest can do without page firstPage + n. */
  readonly unneeded: (block: string, firstPage: number, pages: number) => Promise<Uint32Array>;
  /** Length of a piece once compressed. */
  readonly compressedBytes: (piece: Uint8Array) => Promise<number>;
};

export type Limit = {
  readonly neededPages: number;
  readonly zeroPages: number;
  readonly softPages: number;
  readonly bytes: number;
};

const PAGE_BYTES = 4096;
export const PIECE_PAGES = 256;
/** As many as vmferry asks a guest about at a time. */
const QUESTION_PAGES = 16_384;
const zeroPage = new Uint8Array(PAGE_BYTES);

/** Throws what the parts of `memory` throw. */
export async function measureLimit(memory: LimitMemory): Promise<Limit> {
  const chunk = new Uint8Array(PIECE_PAGES * PAGE_BYTES);
  const piece = new Uint8Array(PIECE_PAGES * PAGE_BYTES);
  const limit = { neededPages: 0, zeroPages: 0, softPages: 0, bytes: 0 };
  let filled = 0;
  const pack = async (): Promise<void> => {
    if (filled > 0) limit.bytes += await memory.compressedBytes(piece.subarray(0, filled * PAGE_BYTES));
    filled = 0;
  };
  for (const { name, pages } of memory.blocks) {
    for (let asked = 0; asked < pages; asked += QUESTION_PAGES) {
      const count = Math.min(QUESTION_PAGES, pages - asked);
      const unneeded = await memory.unneeded(name, asked, count);
      for (let at = 0; at < count; at += PIECE_PAGES) {
        const inChunk = Math.min(PIECE_PAGES, count - at);
        memory.read(name, asked + at, chunk.subarray(0, inChunk * PAGE_BYTES));
        for (let n = 0; n < inChunk; n++) {
          const page = chunk.subarray(n * PAGE_BYTES, (n + 1) * PAGE_BYTES);
          if (Buffer.compare(page, zeroPage) === 0) limit.zeroPages++;
          else if (((unneeded[(at + n) >>> 5]! >>> ((at + n) & 31)) & 1) === 1) limit.softPages++;
          else {
            piece.set(page, filled * PAGE_BYTES);
            limit.neededPages++;
            if (++filled === PIECE_PAGES) await pack();
          }
        }
      }
    }
  }
  await pack();
  return limit;
}
