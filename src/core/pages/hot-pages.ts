/**
 * Pages that are withheld because the guest keeps writing to them (DSM: hot pages travel last, or are pulled). A page becomes hot
 * when it has been named often enough, and cools when sweeps leave it out.
 */
import { countSetBits, nextSetBit } from './bitmap.ts';

export class HotPages {
  readonly #withheld: Uint32Array;
  /** How many sweeps in a row have not named a withheld page. */
  readonly #quietSweeps: Uint8Array;
  readonly #pagesOfChunk: Uint16Array;
  /** Pages named this often after the first time are hot; Infinity = none. */
  #hotFrom = Infinity;
  #pages = 0;

  constructor(spanPages: number) {
    this.#withheld = new Uint32Array(spanPages / 32);
    this.#quietSweeps = new Uint8Array(spanPages);
    this.#pagesOfChunk = new Uint16Array(spanPages / 512);
  }

  get pages(): number {
    return this.#pages;
  }

  /** Whether a page is withheld or may become so. Hot. */
  get isInUse(): boolean {
    return this.#pages > 0 || this.#hotFrom !== Infinity;
  }

  set hotFrom(dirtyCount: number) {
    this.#hotFrom = dirtyCount;
  }

  isHot(dirtyCount: number): boolean {
    return dirtyCount >= this.#hotFrom;
  }

  isWithheld(global: number): boolean {
    return ((this.#withheld[global >>> 5] ?? 0) & (1 << (global & 31))) !== 0;
  }

  pagesOfChunk(chunk: number): number {
    return this.#pagesOfChunk[chunk]!;
  }

  word(word: number): number {
    return this.#withheld[word]!;
  }

  next(from: number, end: number): number {
    return nextSetBit(this.#withheld, from, end);
  }

  /** The guest wrote to a withheld page again. Hot. */
  stir(global: number): void {
    this.#quietSweeps[global] = 0;
  }

  /** A sweep has left the page out; returns for how many in a row that is so, the one that named it last included. */
  quiet(global: number): number {
    return ++this.#quietSweeps[global]!;
  }

  add(global: number): void {
    this.#withheld[global >>> 5]! |= 1 << (global & 31);
    this.#quietSweeps[global] = 0;
    this.#pagesOfChunk[global >>> 9]!++;
    this.#pages++;
  }

  remove(global: number): void {
    this.#withheld[global >>> 5]! &= ~(1 << (global & 31));
    this.#pagesOfChunk[global >>> 9]!--;
    this.#pages--;
  }

  /** Whether the counters say what the bitmap says. Slow: for tests. */
  isSound(): boolean {
    const perChunk = new Uint16Array(this.#pagesOfChunk.length);
    const end = this.#quietSweeps.length;
    for (let page = this.next(0, end); page < end; page = this.next(page + 1, end)) perChunk[page >>> 9]!++;
    return countSetBits(this.#withheld) === this.#pages && perChunk.every((n, i) => n === this.#pagesOfChunk[i]);
  }
}
