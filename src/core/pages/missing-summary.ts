/** Where in a guest's memory missing pages lie, in words that a person can weigh: how many, in which GiB of which block. */
import type { TableBlock } from './block-layout.ts';

/** 4 KiB pages. */
const GIB_PAGES = 262_144;
/** More stretches than this are counted, not listed. */
const STRETCHES_MAX = 8;

type Stretch = { readonly block: string; readonly first: number; last: number; pages: number };

/** "pc.ram: 5210 pages in GiB 0 to 1, 12 pages in GiB 3"; "none" when nothing is missing. Stretches are of whole GiB. */
export function describeMissing(blocks: readonly TableBlock[], isMissing: (page: number) => boolean): string {
  const stretches = blocks.flatMap((block) => stretchesOf(block, isMissing));
  const listed = stretches.slice(0, STRETCHES_MAX);
  const names = [...new Set(listed.map(({ block }) => block))];
  const texts = names.map((name) => {
    const own = listed.filter(({ block }) => block === name).map(stretchText);
    return `${name}: ${own.join(', ')}`;
  });
  const rest = stretches.slice(STRETCHES_MAX).reduce((sum, { pages }) => sum + pages, 0);
  if (rest > 0) texts.push(`${rest} pages elsewhere`);
  return texts.length === 0 ? 'none' : texts.join('; ');
}

function stretchesOf(block: TableBlock, isMissing: (page: number) => boolean): Stretch[] {
  const stretches: Stretch[] = [];
  for (let gib = 0; gib * GIB_PAGES < block.pageCount; gib++) {
    const end = Math.min(block.pageCount, (gib + 1) * GIB_PAGES);
    let pages = 0;
    for (let page = gib * GIB_PAGES; page < end; page++) if (isMissing(block.firstPage + page)) pages++;
    if (pages === 0) continue;
    const open = stretches.at(-1);
    if (open !== undefined && open.last === gib - 1) {
      open.last = gib;
      open.pages += pages;
    } else stretches.push({ block: block.name, first: gib, last: gib, pages });
  }
  return stretches;
}

function stretchText({ first, last, pages }: Stretch): string {
  return `${pages} pages in GiB ${first === last ? first : `${first} to ${last}`}`;
}
