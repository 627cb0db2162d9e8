/**
 * What the destination of a pull phase knows of every page, and which it wants next.
 *
 *     missing ── wanted ──ask, nextRuns──▶ asked ──arrived──▶ given to QEMU           (with content)
 *                                                  └────────▶ known to be zero ─┐
 *     never missing, never given: zero, or placed before ──────────────────────┴─ fault ─▶ given to QEMU as zero
 *
 * Invariants: a page is given to QEMU at most once, because QEMU fails on a second copy; a page leaves `missing` only when
 * its answer is here, so after a lost connection `missing` is the whole truth (everything asked is wanted again).
 *
 * Order: pages around the last faults first (adaptive pre-paging, Hines and Gopalan 2009): a fault opens a window of
 * WINDOW_PAGES from its 64 KiB neighbourhood on; the newest window is served first; when none has anything left, a cursor
 * goes on through memory.
 */
import { assert } from '../base/assert.ts';
import { countSetBits, nextClearBit, nextSetBit } from './bitmap.ts';

/** Pages around a fault that go before all others: 1 MiB. */
const WINDOW_PAGES = 256;
/** A window begins at this boundary below the fault: 64 KiB. */
const NEIGHBOURS = 16;
const WINDOWS_MAX = 8;
const CHUNK_PAGES = 512;

/** `ask`: fetch it now. `waits`: it is on its way. `zero`: give zeros to QEMU. `done`: QEMU has it already. */
export type FaultAnswer = 'ask' | 'waits' | 'zero' | 'done';

export class PullLedger {
  readonly spanPages: number;
  readonly #missing: Uint32Array;
  readonly #wanted: Uint32Array;
  readonly #given: Uint32Array;
  /** When QEMU asked for pages that it does not have yet. */
  readonly #faultedAtMs = new Map<number, number>();
  readonly #windows: { at: number; readonly end: number }[] = [];
  #missingPages: number;
  #wantedPages: number;
  #cursor = 0;

  /** `runs`: what is missing, as pairs [first global page, page count] below spanPages. */
  constructor(spanPages: number, runs: Uint32Array) {
    this.spanPages = spanPages;
    const words = Math.ceil(spanPages / 32);
    this.#missing = new Uint32Array(words);
    this.#given = new Uint32Array(words);
    for (let i = 0; i < runs.length; i += 2) {
      assert(runs[i]! + runs[i + 1]! <= spanPages, 'missing pages are pages');
      for (let page = runs[i]!; page < runs[i]! + runs[i + 1]!; page++) set(this.#missing, page);
    }
    this.#wanted = this.#missing.slice();
    this.#missingPages = this.#wantedPages = countSetBits(this.#missing);
  }

  get missingPages(): number {
    return this.#missingPages;
  }

  /** Of the missing pages, those that are not on their way. */
  get wantedPages(): number {
    return this.#wantedPages;
  }

  /** Pages that QEMU waits for. */
  get waitingFaults(): number {
    return this.#faultedAtMs.size;
  }

  isMissing(page: number): boolean {
    return has(this.#missing, page);
  }

  /** QEMU asks for a page that the guest touched. After `zero` it must be given zeros. */
  fault(page: number, nowMs: number): FaultAnswer {
    assert(page >= 0 && page < this.spanPages, 'a fault lies within the blocks');
    if (has(this.#given, page)) return 'done';
    if (!has(this.#missing, page)) {
      set(this.#given, page);
      return 'zero';
    }
    if (!this.#faultedAtMs.has(page)) this.#faultedAtMs.set(page, nowMs);
    this.#openWindow(page);
    if (!has(this.#wanted, page)) return 'waits';
    this.#markAsked(page);
    return 'ask';
  }

  /** Pages to fetch next, at most maxPages, as pairs in `out`, each within a 2 MiB chunk; returns the numbers written. */
  nextRuns(maxPages: number, out: Uint32Array): number {
    let count = 0;
    let left = maxPages;
    const take = (from: number, end: number): number => {
      const first = nextSetBit(this.#wanted, from, end);
      if (first === end) return end;
      const runEnd = Math.min(end, first + left, ((first >>> 9) + 1) * CHUNK_PAGES);
      const after = nextClearBit(this.#wanted, first, runEnd);
      for (let page = first; page < after; page++) this.#markAsked(page);
      out[count++] = first;
      out[count++] = after - first;
      left -= after - first;
      return after;
    };
    const isOpen = (): boolean => left > 0 && this.#wantedPages > 0 && count + 2 <= out.length;
    for (let window = this.#windows.at(-1); window !== undefined && isOpen(); window = this.#windows.at(-1)) {
      window.at = take(window.at, window.end);
      if (window.at === window.end) this.#windows.pop();
    }
    while (isOpen()) {
      this.#cursor = take(this.#cursor, this.spanPages);
      if (this.#cursor === this.spanPages) this.#cursor = 0;
    }
    return count;
  }

  /**
   * The content of a page came. Returns whether it must be given to QEMU now: not if it came twice, and zeros only when QEMU
   * waits for them, since an untouched page is zero by itself.
   */
  arrived(page: number, isZero: boolean): boolean {
    if (!has(this.#missing, page)) return false;
    clear(this.#missing, page);
    this.#missingPages--;
    if (has(this.#wanted, page)) {
      clear(this.#wanted, page);
      this.#wantedPages--;
    }
    if (isZero && !this.#faultedAtMs.has(page)) return false;
    set(this.#given, page);
    return true;
  }

  /** The page has been given to QEMU: how long it waited, or null when it had not asked. */
  givenAfterMs(page: number, nowMs: number): number | null {
    const atMs = this.#faultedAtMs.get(page);
    if (atMs === undefined) return null;
    this.#faultedAtMs.delete(page);
    return nowMs - atMs;
  }

  /** What was asked for and did not come is wanted again. Returns the pages that QEMU waits for; they count as asked. */
  connectionLost(): number[] {
    this.#wanted.set(this.#missing);
    this.#wantedPages = this.#missingPages;
    const waiting = [...this.#faultedAtMs.keys()].filter((page) => has(this.#missing, page));
    for (const page of waiting) this.#markAsked(page);
    return waiting;
  }

  /** Throws AssertionError unless counters and bitmaps agree. Slow: for tests. */
  checkInvariants(): void {
    assert(countSetBits(this.#missing) === this.#missingPages, 'missingPages counts the missing bits');
    assert(countSetBits(this.#wanted) === this.#wantedPages, 'wantedPages counts the wanted bits');
    for (const [i, word] of this.#wanted.entries()) assert((word & ~this.#missing[i]!) === 0, 'only missing is wanted');
    for (const [i, word] of this.#given.entries()) assert((word & this.#missing[i]!) === 0, 'nothing given is missing');
  }

  #openWindow(page: number): void {
    const at = Math.floor(page / NEIGHBOURS) * NEIGHBOURS;
    const newest = this.#windows.at(-1);
    // A guest that walks through memory stays in its window.
    if (newest !== undefined && page >= newest.at && page < newest.end) return;
    this.#windows.push({ at, end: Math.min(this.spanPages, at + WINDOW_PAGES) });
    if (this.#windows.length > WINDOWS_MAX) this.#windows.shift();
  }

  #markAsked(page: number): void {
    clear(this.#wanted, page);
    this.#wantedPages--;
  }
}

function has(words: Uint32Array, bit: number): boolean {
  return (words[bit >>> 5]! & (1 << (bit & 31))) !== 0;
}

function set(words: Uint32Array, bit: number): void {
  words[bit >>> 5]! |= 1 << (bit & 31);
}

function clear(words: Uint32Array, bit: number): void {
  words[bit >>> 5]! &= ~(1 << (bit & 31));
}
