/**
 * What Linux says of a page in /proc/kpageflags: one 64-bit word per physical page, the same bits in every kernel
 * (include/uapi/linux/kernel-page-flags.h), and what of it means that a guest can do without the page's content.
 */
import { assert } from '../base/assert.ts';

const flag = (bit: number): number => (1 << bit) >>> 0;

const LOCKED = flag(0);
const ERROR = flag(1);
const REFERENCED = flag(2);
const DIRTY = flag(4);
const LRU = flag(5);
const ACTIVE = flag(6);
const SLAB = flag(7);
const WRITEBACK = flag(8);
/** In the page allocator, not only the first page of a free run: `is_free_buddy_page` covers all of it. */
const BUDDY = flag(10);
const MMAP = flag(11);
const ANON = flag(12);
const SWAPCACHE = flag(13);
const SWAPBACKED = flag(14);
const HUGE = flag(17);
const UNEVICTABLE = flag(18);
const HWPOISON = flag(19);
const NOPAGE = flag(20);
const KSM = flag(21);
/** Ballooned, or logically offline. */
const OFFLINE = flag(23);
const ZERO_PAGE = flag(24);
const PGTABLE = flag(26);

const NEVER = HWPOISON | NOPAGE | OFFLINE;
const NOT_CLEAN_CACHE =
  NEVER | LOCKED | ERROR | DIRTY | SLAB | WRITEBACK | BUDDY | MMAP | ANON | SWAPCACHE | SWAPBACKED | HUGE | UNEVICTABLE;
const NEITHER = KSM | ZERO_PAGE | PGTABLE;

/** What counts as soft besides free pages: nothing, clean unmapped file cache, or of that only what was not used lately. */
export type CacheRule = 'none' | 'all' | 'inactive';

export function isFree(flags: number): boolean {
  return (flags & (BUDDY | NEVER)) === BUDDY;
}

export function isCleanCache(flags: number, rule: CacheRule): boolean {
  if (rule === 'none' || (flags & (LRU | NOT_CLEAN_CACHE | NEITHER)) !== LRU) return false;
  return rule === 'all' || (flags & (REFERENCED | ACTIVE)) === 0;
}

/**
 * Sets bit at + n of `out` for every page n of `words` that is free, or cache as the rule says. `words` holds the low half
 * of each page's flags at even positions (little endian). Returns the number of cache pages found. Hot: no allocation.
 */
export function markUnneeded(words: Uint32Array, rule: CacheRule, out: Uint32Array, at: number): number {
  assert(at + words.length / 2 <= out.length * 32, 'the pages fit in the bitmap');
  let cachePages = 0;
  for (let n = 0; n < words.length / 2; n++) {
    const flags = words[n * 2]!;
    if (!isFree(flags)) {
      if (!isCleanCache(flags, rule)) continue;
      cachePages++;
    }
    out[(at + n) >>> 5]! |= 1 << ((at + n) & 31);
  }
  return cachePages;
}
