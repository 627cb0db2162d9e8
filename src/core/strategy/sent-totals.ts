/** What lanes have sent so far, by kind, and what a repeat costs compared with a first copy. */
import * as limits from './limits.ts';
import type { SentBatch } from './scheduler-types.ts';

export class SentTotals {
  dataPages = 0;
  deltaPages = 0;
  unchangedPages = 0;
  zeroPages = 0;
  resentPages = 0;
  wireBytes = 0;
  /** Of `wireBytes`. */
  resentBytes = 0;

  /** `againPages`: pages of the batch that had been handed out before. */
  add(batch: SentBatch, againPages: number): void {
    this.dataPages += batch.dataPages;
    this.deltaPages += batch.deltaPages ?? 0;
    this.unchangedPages += batch.unchangedPages ?? 0;
    this.resentPages += batch.resentPages ?? Math.min(againPages, batch.dataPages);
    this.zeroPages += Math.max(0, batch.zeroPages - againPages);
    this.wireBytes += batch.wireBytes;
    this.resentBytes += batch.resentBytes ?? 0;
  }

  /** Wire bytes of a page sent again, as a share of those of a first copy; null while too few were sent again. */
  get repeatCost(): number | null {
    const repeats = this.resentPages + this.unchangedPages;
    const firsts = this.dataPages - this.resentPages;
    if (repeats < limits.REPEATS_MIN || firsts === 0) return null;
    return this.resentBytes / repeats / ((this.wireBytes - this.resentBytes) / firsts);
  }
}
