/**
 * Decides for each page of a batch how it travels: whole, as a delta to the version that this lane sent last, or not at
 * all because nothing changed; and keeps the cache of those versions in step with what was sent (R2).
 *
 * Only hot pages enter the cache, those that the guest has been seen to write to: a first sweep over a guest of any size
 * copies nothing. The destination needs no cache: the version sent last is what its memory holds.
 */
import { encodeDelta, type PageMemory } from '../../core/wire/page-delta.ts';
import { DELTA_BYTES_MAX, LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import { BATCH_PAGES_MAX } from './lane-protocol.ts';
import { VersionCache } from './version-cache.ts';

export const PageTravel = { whole: 0, delta: 1, unchanged: 2 } as const;
export type PageTravel = (typeof PageTravel)[keyof typeof PageTravel];

export class DeltaEncoder {
  readonly cache: VersionCache;
  #out: Uint8Array | undefined;
  #length = 0;

  /** `cacheBytes`: of page content, for this lane; 0 = every page travels whole. */
  constructor(cacheBytes: number, lanes: number) {
    this.cache = new VersionCache(cacheBytes, lanes);
  }

  /** The deltas of the batch so far, in the order of their pages. Valid until the next `begin`. */
  get deltas(): Uint8Array {
    return this.#deltas().subarray(0, this.#length);
  }

  get deltaBytes(): number {
    return this.#length;
  }

  /** A new batch. */
  begin(): void {
    this.#length = 0;
  }

  /** How the page, whose new content lies in `memory` at `at`, travels. Hot: no allocation. */
  travelOf(page: number, isHot: boolean, memory: PageMemory, at: number): PageTravel {
    const { cache } = this;
    const slot = cache.find(page);
    if (slot < 0) {
      const admitted = isHot ? cache.admit(page) : -1;
      if (admitted >= 0) copyPage(memory, at, cache.memory, admitted * PAGE);
      return PageTravel.whole;
    }
    const end = encodeDelta(cache.memory, slot * PAGE, memory, at, this.#deltas(), this.#length);
    if (end === this.#length) {
      cache.use(slot);
      return PageTravel.unchanged;
    }
    copyPage(memory, at, cache.memory, slot * PAGE);
    // What the guest writes anew all over is no use in the cache: it grows old there, however often it comes.
    if (end < 0) return PageTravel.whole;
    cache.use(slot);
    this.#length = end;
    return PageTravel.delta;
  }

  /** These pages are zero at the destination from now on. Hot: no allocation. */
  zeroed(page: number, count: number): void {
    if (this.cache.isEmpty) return;
    for (let each = page; each < page + count; each++) this.cache.drop(each);
  }

  #deltas(): Uint8Array {
    this.#out ??= new Uint8Array(BATCH_PAGES_MAX * DELTA_BYTES_MAX);
    return this.#out;
  }
}

/** Hot. */
function copyPage(from: PageMemory, fromAt: number, to: PageMemory, toAt: number): void {
  to.bytes.set(from.bytes.subarray(fromAt, fromAt + PAGE), toAt);
}
