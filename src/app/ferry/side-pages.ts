/**
 * Pages of side blocks: RAM blocks that lanes do not carry, because they are small, have no known host address or
 * do not start as zeros at the destination (firmware, ROM blobs, video memory).
 *
 * Their content is taken from QEMU's stream and forwarded inside legal RAM sections. Only the newest content of a page is
 * kept, so the memory used is bounded by the size of the blocks.
 */
import type { SidePage } from '../../core/vmstream/stream-writer.ts';
import { FerryError } from './errors.ts';

/** A device with more RAM of its own than this needs lanes. */
export const SIDE_BYTES_MAX = 64 * 1024 * 1024;
const PAGE_BYTES = 4096;

export class SidePages {
  readonly #names: readonly string[];
  readonly #pages = new Map<number, Map<number, Uint8Array | null>>();
  #count = 0;

  /** `names`: all RAM blocks, by their index in the stream. */
  constructor(names: readonly string[]) {
    this.#names = names;
  }

  get count(): number {
    return this.#count;
  }

  setZero(block: number, page: number): void {
    this.#set(block, page, null);
  }

  setContent(block: number, page: number, bytes: Uint8Array): void {
    // Not `slice`: of a Buffer that is a view, and the bytes are overwritten by the next read.
    this.#set(block, page, new Uint8Array(bytes));
  }

  /** All pages kept, by block and page; forgets them. */
  take(): SidePage[] {
    const taken: SidePage[] = [];
    for (const [block, pages] of this.#pages) {
      const name = this.#names[block] ?? '';
      for (const [page, bytes] of [...pages].sort((a, b) => a[0] - b[0])) taken.push({ block: name, page, bytes });
    }
    this.#pages.clear();
    this.#count = 0;
    return taken;
  }

  #set(block: number, page: number, bytes: Uint8Array | null): void {
    const pages = this.#pages.get(block) ?? new Map<number, Uint8Array | null>();
    if (!pages.has(page)) this.#count++;
    if (this.#count * PAGE_BYTES > SIDE_BYTES_MAX) {
      const name = this.#names[block] ?? '';
      throw new FerryError('FERRY_BLOCKED', `RAM block "${name}" is too large to travel inside the device stream`);
    }
    pages.set(page, bytes);
    this.#pages.set(block, pages);
  }
}
