/** Where every page of every RAM block stands in the one numbering, and which lane carries it. */
import { PagesError } from './errors.ts';
import { BLOCKS_MAX, CHUNK_PAGES, PAGES_MAX } from './limits.ts';

/** One RAM block as the stream's block list names it. */
export type PageBlock = {
  readonly name: string;
  readonly pageCount: number;
  /** True: lanes do not carry it (its host address is unknown); the pump captures its bytes from the stream. */
  readonly side?: boolean;
  /** False: the destination's copy is not zero at first (flash, backing file), so zero pages count as content. */
  readonly startsZero?: boolean;
};

export type TableBlock = Required<PageBlock> & { readonly index: number; readonly firstPage: number };

/** The lane that carries a page, the same for ever (R2): 2 MiB chunks, dealt out in turn. */
export function laneOf(globalPage: number, lanes: number): number {
  return (globalPage >>> 9) % lanes;
}

/**
 * Gives every block its first global page, in list order, each aligned up to 512. Both sides compute it from the same
 * list. Throws PagesError.
 */
export function layOutBlocks(blocks: readonly PageBlock[]): TableBlock[] {
  if (blocks.length > BLOCKS_MAX) {
    throw new PagesError('PAGES_TOO_MANY', `${blocks.length} RAM blocks exceed ${BLOCKS_MAX}`);
  }
  let firstPage = 0;
  return blocks.map((block, index) => {
    const laid = { side: false, startsZero: true, ...block, index, firstPage };
    firstPage += Math.ceil(block.pageCount / CHUNK_PAGES) * CHUNK_PAGES;
    if (!Number.isSafeInteger(block.pageCount) || block.pageCount < 0 || firstPage > PAGES_MAX) {
      throw new PagesError('PAGES_TOO_MANY', `Block "${block.name}" of ${block.pageCount} pages exceeds ${PAGES_MAX}`);
    }
    return laid;
  });
}
