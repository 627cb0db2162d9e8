/**
 * Soft-page pruning (SonicMigration; rule R4): which part of memory the guest is asked about next, and when it is too
 * early to stop because what was left out is not proven to be free yet.
 *
 *     waiting ──ready──▶ pass ──every range reported──▶ idle ──wantFinal──▶ dropping ──dropped──▶ pass ─▶ idle
 *        │ no agent in time          ▲                   │ refresh
 *        ▼                           └───────────────────┘
 *       late ──ready──▶ pass         fail: everything unproven is needed again, nothing is asked any more
 *
 * The first pass follows the feed's first sweep: a range is asked about as soon as the sweep has passed it, so that every naming
 * that comes after the question means a write. Lanes get nothing of a range before its answer, hence soft pages are not sent
 * first and regretted later. Where the sweep found little but zero pages the guest is not asked: it takes longer to answer than
 * those few take to send. A pass is a proof when the guest had dropped its clean cache before, or when only free
 * pages are left out; otherwise cache counts as soft for now, and a last pass after the drop has to prove it.
 */
import { assert } from '../base/assert.ts';
import type { PageTable } from '../pages/page-table.ts';
import * as limits from './limits.ts';

export type ReportOrder =
  /** Let the guest drop its clean cache. */
  | { readonly type: 'drop' }
  /** Ask the guest about these pages: which are free, and unless `isProof`, which are clean cache. */
  | {
      readonly type: 'report';
      readonly firstPage: number;
      readonly pages: number;
      readonly isProof: boolean;
      /** No other question follows in this pass. */
      readonly isLast: boolean;
    };

export type PruningOptions = {
  /** False: the guest is never asked. */
  readonly isOn: boolean;
  /** Older QEMU, which may stop the guest by itself after the first sweep. */
  readonly isPaced: boolean;
  /** Pages of one question, a multiple of 512. */
  readonly reportPages?: number | undefined;
};

const CHUNK_PAGES = 512;
const nothing = new Uint32Array(0);

type Range = { readonly firstPage: number; readonly pages: number };

export class Pruning {
  readonly #table: PageTable;
  readonly #isPaced: boolean;
  readonly #ranges: readonly Range[];
  #state: 'off' | 'waiting' | 'late' | 'dropping' | 'pass' | 'idle';
  /** When the first sweep began, and how long from then on lanes wait for the guest to be ready. */
  #sweepSinceMs: number | null = null;
  #patienceMs = limits.AGENT_CONTACT_MS;
  #wantsFinal = false;
  /** Of the pass that runs or ran last. */
  #isProof = false;
  #isFirst = true;
  #next = 0;
  /** Asked and not answered. */
  readonly #open: Range[] = [];
  #startedMs = 0;
  #passMs = 0;
  #dropAsked = false;

  constructor(table: PageTable, options: PruningOptions) {
    this.#table = table;
    this.#isPaced = options.isPaced;
    const reportPages = options.reportPages ?? limits.REPORT_PAGES;
    const blocks = table.blocks.filter((block) => table.canSpare(block));
    this.#ranges = blocks.flatMap((block) => rangesOf(block.firstPage, block.pageCount, reportPages));
    this.#state = options.isOn && this.#ranges.length > 0 ? 'waiting' : 'off';
    if (this.#state === 'waiting') table.closeAll();
  }

  /** What is left out is proven to be free, or nothing is: pruning does not stand against stopping the guest. */
  get mayStop(): boolean {
    if (this.#state === 'idle') return this.#isProof;
    return this.#state === 'off' || this.#state === 'late';
  }

  /** What is left out needs another pass before the guest may stop. */
  get needsFinal(): boolean {
    return this.#state === 'idle' && !this.#isProof;
  }

  /** How much there is to send is not known before the first pass is through. */
  get isLearning(): boolean {
    return this.#state === 'waiting' || (this.#state === 'pass' && this.#isFirst);
  }

  /** How long the last pass took; 0 before. */
  get passMs(): number {
    return this.#passMs;
  }

  /** The agent in the guest has answered: worth waiting for the rest. */
  contact(): void {
    this.#patienceMs = limits.AGENT_READY_MS;
  }

  /** The guest may be asked. `isProof`: it has dropped its cache, or only free pages count. */
  ready(isProof: boolean, nowMs: number): void {
    if (this.#state !== 'waiting' && this.#state !== 'late') return;
    this.#isFirst = this.#state === 'waiting';
    this.#begin(isProof, nowMs);
  }

  dropped(nowMs: number): void {
    if (this.#state !== 'dropping') return;
    this.#begin(true, nowMs);
  }

  /** The guest cannot be asked (any more). What is proven stays left out. */
  fail(): void {
    if (this.#state === 'off') return;
    this.#state = 'off';
    this.#table.settle();
  }

  /** The guest's CPUs have stopped: what is not proven must be sent. */
  guestStopped(): void {
    this.fail();
  }

  /** The answer to the oldest open question: bit n is set when the guest can do without page firstPage + n. */
  answered(firstPage: number, unneeded: Uint32Array, nowMs: number): void {
    if (this.#state !== 'pass') return;
    const range = this.#open.shift();
    assert(range?.firstPage === firstPage, 'answers come in the order of the questions');
    this.#table.applyReport(range.firstPage, range.pages, unneeded, this.#isProof);
    if (this.#open.length > 0 || this.#next < this.#ranges.length) return;
    this.#state = 'idle';
    this.#isFirst = false;
    this.#passMs = nowMs - this.#startedMs;
  }

  /** The strategy wants to stop the guest soon: prove what is left out. */
  wantFinal(): void {
    if (this.needsFinal) this.#wantsFinal = true;
  }

  /** Looks again at what is still to be sent, when that will take long enough for the answer to have changed. */
  refresh(unsentMs: number, nowMs: number): void {
    if (this.#state !== 'idle' || unsentMs < limits.PRUNE_REFRESH_MS) return;
    if (nowMs - this.#startedMs < Math.max(limits.PRUNE_REFRESH_MS, limits.PRUNE_REFRESH_SHARE * this.#passMs)) return;
    this.#begin(this.#isProof, nowMs);
  }

  /** `sweptPages`: how far the first sweep has named all of memory; Infinity once it is through. */
  tick(sweptPages: number, nowMs: number): void {
    if (this.#state !== 'waiting') return;
    if (this.#sweepSinceMs === null && sweptPages >= 0) this.#sweepSinceMs = nowMs;
    if (this.#sweepSinceMs === null || nowMs - this.#sweepSinceMs < this.#patienceMs) return;
    this.#state = 'late';
    this.#table.settle();
  }

  /** What to ask now, or null. From the return of a report order on, a naming of one of its pages means that it is needed. */
  nextOrder(sweptPages: number, nowMs: number): ReportOrder | null {
    if (this.#state === 'idle' && this.#wantsFinal) {
      this.#wantsFinal = false;
      this.#state = 'dropping';
      this.#startedMs = nowMs;
      this.#dropAsked = false;
    }
    if (this.#state === 'dropping' && !this.#dropAsked) {
      this.#dropAsked = true;
      return { type: 'drop' };
    }
    if (this.#state !== 'pass' || this.#open.length >= limits.REPORTS_OPEN_MAX) return null;
    for (let range = this.#ranges[this.#next]; range !== undefined; range = this.#ranges[this.#next]) {
      if (!this.#mayAsk(range, sweptPages)) return null;
      this.#next++;
      const isLast = this.#next === this.#ranges.length;
      this.#table.beginReport(range.firstPage, range.pages);
      const asked = this.#isFirst && isSwept(range, sweptPages) ? this.#worthAsking(range, isLast) : range;
      if (asked === null) continue;
      this.#open.push(asked);
      return { type: 'report', ...asked, isProof: this.#isProof, isLast };
    }
    return null;
  }

  /** Paced: QEMU must not see the end of its first sweep before the last answer, or it may stop the guest. */
  holdsFeed(sweptPages: number): boolean {
    if (!this.#isPaced || !this.#isFirst || this.#state === 'off' || this.#state === 'late') return false;
    return sweptPages >= (this.#ranges.at(-1)?.firstPage ?? Infinity);
  }

  #begin(isProof: boolean, nowMs: number): void {
    this.#state = 'pass';
    this.#isProof = isProof;
    this.#next = 0;
    this.#open.length = 0;
    this.#startedMs = nowMs;
  }

  /** In the first pass only behind the sweep; a paced feed is held before its end, so its last range is asked about earlier. */
  #mayAsk(range: Range, sweptPages: number): boolean {
    return !this.#isFirst || isSwept(range, sweptPages) || this.holdsFeed(sweptPages);
  }

  /** The part of the range from the first to the last chunk that holds more than a few pages; what lies outside of it is needed. */
  #worthAsking({ firstPage, pages }: Range, isLast: boolean): Range | null {
    const end = firstPage + pages;
    let from = end;
    let to = firstPage;
    for (let page = firstPage; page < end; page += CHUNK_PAGES) {
      if (this.#table.waitingPagesOfChunk(page) <= limits.UNASKED_PAGES_MAX) continue;
      from = Math.min(from, page);
      to = Math.min(end, page + CHUNK_PAGES);
    }
    // The end of a pass is told by its last question.
    if (from === end && isLast) return { firstPage, pages };
    this.#need(firstPage, from);
    if (from === end) return null;
    this.#need(to, end);
    return { firstPage: from, pages: to - from };
  }

  /** As if the guest had said so. */
  #need(firstPage: number, end: number): void {
    if (end > firstPage) this.#table.applyReport(firstPage, end - firstPage, nothing, this.#isProof);
  }
}

function isSwept({ firstPage, pages }: Range, sweptPages: number): boolean {
  return sweptPages >= firstPage + pages - 1;
}

function rangesOf(firstPage: number, pageCount: number, reportPages: number): Range[] {
  const ranges: Range[] = [];
  for (let page = 0; page < pageCount; page += reportPages) {
    ranges.push({ firstPage: firstPage + page, pages: Math.min(reportPages, pageCount - page) });
  }
  return ranges;
}
