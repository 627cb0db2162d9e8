/**
 * The comparison of all guest memory before the commit (`--verify`): which pages each lane hashes on both sides, and what
 * came of it. Zero and never-sent pages are compared too, so that it also finds a page that was wrongly left out. Only pages
 * that the guest can do without are not, because nobody reads them, nor those that are left to be pulled: they are not there yet.
 */
import { laneOf } from '../../core/pages/block-layout.ts';
import type { PageTable } from '../../core/pages/page-table.ts';

const CHUNK_PAGES = 512;
/** Mismatching pages that are named; the rest is only counted. */
const MISMATCHES_NAMED_MAX = 64;

export class Verification {
  readonly #table: PageTable;
  readonly #mismatches: number[] = [];
  #outstanding = 0;
  #pages = 0;

  constructor(table: PageTable) {
    this.#table = table;
  }

  /** What to ask: pairs [first global page, page count] cut at 2 MiB chunks, each on the lane that carried the chunk. */
  requests(): { lane: number; runs: Uint32Array }[] {
    const perLane: number[][] = Array.from({ length: this.#table.lanes }, () => []);
    for (const block of this.#table.blocks) {
      if (block.side) continue;
      for (let page = 0; page < block.pageCount; page += CHUNK_PAGES) {
        const first = block.firstPage + page;
        const end = first + Math.min(CHUNK_PAGES, block.pageCount - page);
        this.#addRuns(first, end, perLane[laneOf(first, this.#table.lanes)]!);
      }
    }
    const requests = perLane
      .map((runs, lane) => ({ lane, runs: Uint32Array.from(runs) }))
      .filter(({ runs }) => runs.length > 0);
    this.#outstanding = requests.length;
    return requests;
  }

  /** The pages of a chunk but for those that the guest can do without, and those that are left to be pulled. */
  #addRuns(from: number, end: number, runs: number[]): void {
    const table = this.#table;
    const isLeft = (page: number): boolean => table.isPending(page) || table.isWithheld(page) || table.isSpared(page);
    for (let page = from; page < end; page++) {
      if (isLeft(page)) continue;
      const first = page;
      while (page < end && !isLeft(page)) page++;
      runs.push(first, page - first);
    }
  }

  /** Takes one answer; true when it was the last one. */
  answered(pages: number, mismatches: Uint32Array): boolean {
    this.#pages += pages;
    this.#mismatches.push(...mismatches.subarray(0, MISMATCHES_NAMED_MAX));
    return --this.#outstanding === 0;
  }

  result(): { pages: number; mismatches: number[] } {
    return { pages: this.#pages, mismatches: this.#mismatches.slice(0, MISMATCHES_NAMED_MAX) };
  }
}

/** For people; there is at least one mismatch. */
export function mismatchText(pages: number, mismatches: readonly number[]): string {
  return (
    `Memory differs at the destination: ${mismatches.length} or more of ${pages} pages, the first is page ` +
    `${mismatches[0]}. QEMU before 9.0 loses writes under software emulation; use a newer one or KVM`
  );
}
