/**
 * A guest whose pages hold version numbers instead of bytes: 0 is a zero page, every other write is a number never written
 * before, so a lost or swapped write always shows. Writes set bits in the log of the accelerator.
 */
import type { SimRandom } from './sim-random.ts';

export type SimWorkload = {
  /** Pages written per millisecond while active. */
  readonly pagesPerMs: number;
  /** Writes fall on the first so many pages of memory; the whole of it when absent. */
  readonly hotPages?: number;
  /** Writes go through those pages in order, round and round from the middle of them on, instead of falling on any of them. */
  readonly isInOrder?: boolean;
  /** Writes in bursts: active for so long, then idle for as long. */
  readonly burstMs?: number;
  /** Share of writes that write zeros. */
  readonly zeroShare?: number;
  /** Share of the moments at which a page's bit is collected that leave all later writes to it unseen. */
  readonly blindShare?: number;
};

/** What the guest's kernel knows a page as. */
export const PageUse = { used: 0, free: 1, cleanCache: 2 } as const;

export class SimGuest {
  readonly memory: Uint32Array;
  /** A PageUse per page. */
  readonly use: Uint8Array;
  /** The kernel zeroes what it frees, and counts on finding it zero (init_on_free). */
  readonly zeroesOnFree: boolean;
  /** The accelerator's dirty log, one byte per page. */
  readonly log: Uint8Array;
  /** Writes to these are not logged any more, as a race in software emulation has it. */
  readonly #isBlind: Uint8Array;
  #isRunning = true;
  #version = 0;
  #owedPages = 0;
  #nextInOrder = 0;

  constructor(pages: number, zeroesOnFree = false) {
    this.memory = new Uint32Array(pages);
    this.use = new Uint8Array(pages);
    this.zeroesOnFree = zeroesOnFree;
    this.log = new Uint8Array(pages);
    this.#isBlind = new Uint8Array(pages);
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  stop(): void {
    this.#isRunning = false;
  }

  write(page: number, isZero: boolean): void {
    if (!this.#isRunning) return;
    this.memory[page] = isZero ? 0 : ++this.#version;
    if (this.#isBlind[page] === 0) this.log[page] = 1;
    this.use[page] = PageUse.used;
  }

  goBlind(page: number): void {
    this.#isBlind[page] = 1;
  }

  free(page: number): void {
    if (!this.#isRunning) return;
    if (this.zeroesOnFree) this.write(page, true);
    this.use[page] = PageUse.free;
  }

  /** A file is read into the page. */
  readFile(page: number): void {
    if (!this.#isRunning) return;
    this.write(page, false);
    this.use[page] = PageUse.cleanCache;
  }

  /** Gives a free page out as zeroed memory: nothing is written where the kernel trusts that it is zero already. */
  allocateZeroed(page: number): void {
    if (!this.#isRunning || this.use[page] !== PageUse.free) return;
    if (this.zeroesOnFree) this.use[page] = PageUse.used;
    else this.write(page, true);
  }

  dropCache(): void {
    for (const [page, use] of this.use.entries()) if (use === PageUse.cleanCache) this.free(page);
  }

  /** Whether anybody may ever look at what the page holds now. */
  isNeeded(page: number): boolean {
    return this.zeroesOnFree || this.use[page] !== PageUse.free;
  }

  /** What a workload writes in the millisecond that begins now. */
  work(workload: SimWorkload, random: SimRandom, nowMs: number): void {
    if (workload.burstMs !== undefined && Math.floor(nowMs / workload.burstMs) % 2 === 1) return;
    this.#owedPages += workload.pagesPerMs;
    const target = Math.min(this.memory.length, workload.hotPages ?? this.memory.length);
    for (; this.#owedPages >= 1; this.#owedPages--) {
      const page = workload.isInOrder === true ? ((target >>> 1) + this.#nextInOrder++) % target : random.below(target);
      this.write(page, random.fraction() < (workload.zeroShare ?? 0));
    }
  }
}
