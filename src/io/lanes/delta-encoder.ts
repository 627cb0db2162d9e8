/**
 * Decides for each page of a batch how it travels: whole, as a delta to the version that this lane sent last, or not at
 * all because nothing changed; and keeps the cache of those versions in step with what was sent (R2).
 *
 * Only hot pages enter the cache of versions, those that the guest has been seen to write to; the others leave a signature,
 * which costs half as much as a copy and a sixteenth of its memory. The destination needs no cache: the version sent last is what its memory holds.
 */
import { randomFillSync } from 'node:crypto';
import { encodeDelta, type PageMemory } from '../../core/wire/page-delta.ts';
import { PageSignatures } from '../../core/wire/page-signatures.ts';
import { DELTA_BYTES_MAX, LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import { BATCH_PAGES_MAX } from './lane-protocol.ts';
import { VersionCache } from './version-cache.ts';

/** After so many repeats of signed pages it is known whether signatures are worth their time, 1.7 us a page. */
const PROBES_MIN = 64;
const PROBES_MAX = 1024;
/** One repeat in so many must have been shortened by its signature. */
const PROBES_PER_USE = 8;

export const PageTravel = { whole: 0, delta: 1, unchanged: 2 } as const;
export type PageTravel = (typeof PageTravel)[keyof typeof PageTravel];

export type DeltaStores = {
  /** Bytes of page versions, and of signatures, for this lane; 0 = none. */
  readonly versionBytes: number;
  readonly signatureBytes: number;
  readonly lanes: number;
};

export class DeltaEncoder {
  readonly cache: VersionCache;
  readonly #signatures: PageSignatures;
  #out: Uint8Array | undefined;
  #length = 0;
  /** Repeats of signed pages of late, and those of them that did not travel whole. */
  #probes = 0;
  #uses = 0;

  constructor({ versionBytes, signatureBytes, lanes }: DeltaStores) {
    this.cache = new VersionCache(versionBytes, lanes);
    this.#signatures = new PageSignatures(signatureBytes, lanes, randomFillSync(new Int32Array(4)));
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
    const slot = this.cache.find(page);
    return slot >= 0 ? this.#fromVersion(slot, memory, at) : this.#fromSignature(page, isHot, memory, at);
  }

  #fromVersion(slot: number, memory: PageMemory, at: number): PageTravel {
    const { cache } = this;
    const end = encodeDelta(cache.memory, slot * PAGE, memory, at, this.#deltas(), this.#length);
    if (end !== this.#length) copyPage(memory, at, cache.memory, slot * PAGE);
    // What the guest writes anew all over is no use in the cache: it grows old there, however often it comes.
    if (end >= 0) cache.use(slot);
    return this.#travel(end);
  }

  #fromSignature(page: number, isHot: boolean, memory: PageMemory, at: number): PageTravel {
    const isSigned = this.#signatures.has(page);
    const end = isSigned ? this.#signatures.encodeDelta(page, memory, at, this.#deltas(), this.#length) : -1;
    if ((isHot || isSigned) && this.#keepVersion(page, memory, at)) this.#signatures.drop(page);
    else if (!isSigned && this.#signsPay()) this.#signatures.sign(page, isHot, memory, at);
    if (isSigned) this.#probed(end >= 0);
    return this.#travel(end);
  }

  /** A guest that writes its pages anew all over has nothing of signatures; those that are there go on telling whether it does. */
  #signsPay(): boolean {
    return this.#probes < PROBES_MIN || this.#uses * PROBES_PER_USE >= this.#probes;
  }

  #probed(isUse: boolean): void {
    this.#probes++;
    if (isUse) this.#uses++;
    if (this.#probes < PROBES_MAX) return;
    this.#probes /= 2;
    this.#uses /= 2;
  }

  /** Gives the page a slot if there is one for it; what is pushed out is signed. Hot: no allocation. */
  #keepVersion(page: number, memory: PageMemory, at: number): boolean {
    const { cache } = this;
    const slot = cache.choose(page);
    if (slot < 0) return false;
    const before = cache.pageIn(slot);
    if (before >= 0) this.#signatures.sign(before, true, cache.memory, slot * PAGE);
    cache.put(slot, page);
    copyPage(memory, at, cache.memory, slot * PAGE);
    return true;
  }

  /** `end`: of the delta in the batch's deltas, -1 without one. */
  #travel(end: number): PageTravel {
    if (end < 0) return PageTravel.whole;
    if (end === this.#length) return PageTravel.unchanged;
    this.#length = end;
    return PageTravel.delta;
  }

  /** These pages are zero at the destination from now on. Hot: no allocation. */
  zeroed(page: number, count: number): void {
    for (let each = page; each < page + count; each++) {
      if (!this.cache.isEmpty) this.cache.drop(each);
      this.#signatures.drop(each);
    }
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
