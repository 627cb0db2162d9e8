/**
 * The guest agent of a simulated guest: answers late, page by page while the guest goes on, or not at all, or stops
 * answering. What it says is true for each page at the moment at which it looks at that page.
 */
import type { InterleavingOptions } from './interleavings.ts';
import type { ReportOrder } from './pruning.ts';
import { PageUse, type SimGuest } from './sim-guest.ts';
import type { SimRandom } from './sim-random.ts';

export type SimAnswer =
  | { readonly type: 'answered' }
  | { readonly type: 'ready'; readonly isProof: boolean }
  | { readonly type: 'dropped' }
  | { readonly type: 'report'; readonly firstPage: number; readonly unneeded: Uint32Array }
  | { readonly type: 'failed' };

type Question = {
  readonly order: ReportOrder;
  /** The guest's pages in the order of the question; undefined where the block has none. */
  readonly pages: readonly number[];
  readonly unneeded: Uint32Array;
  /** With the planted mistake: what every page was used for long before the question. */
  readonly use: Uint8Array;
  next: number;
};

export class SimAgent {
  readonly #guest: SimGuest;
  readonly #options: InterleavingOptions;
  readonly #random: SimRandom;
  readonly #questions: Question[] = [];
  #state: 'silent' | 'answered' | 'ready' | 'failed' = 'silent';
  #oldUse: Uint8Array;

  constructor(guest: SimGuest, options: InterleavingOptions, random: SimRandom) {
    this.#guest = guest;
    this.#options = options;
    this.#random = random;
    this.#oldUse = guest.use.slice();
  }

  ask(order: ReportOrder, globalOf: readonly number[], pageOf: ReadonlyMap<number, number>): void {
    const isOld = this.#options.planted === 'the guest was asked before its answer counts';
    const pages =
      order.type === 'drop'
        ? []
        : Array.from({ length: order.pages }, (_, i) => pageOf.get(order.firstPage + i) ?? globalOf.length);
    const unneeded = new Uint32Array(Math.ceil(pages.length / 32));
    this.#questions.push({ order, pages, unneeded, use: isOld ? this.#oldUse : this.#guest.use, next: 0 });
  }

  /** A little of whatever it has to do. */
  step(): SimAnswer | null {
    if (this.#random.below(20) === 0) this.#oldUse = this.#guest.use.slice();
    if (this.#state === 'failed') return null;
    if (this.#random.below(2000) === 0) return this.#become('failed', { type: 'failed' });
    if (this.#state === 'silent') {
      return this.#random.below(10) === 0 ? this.#become('answered', { type: 'answered' }) : null;
    }
    if (this.#state === 'answered') return this.#random.below(10) === 0 ? this.#becomeReady() : null;
    return this.#answer();
  }

  #become(state: 'answered' | 'ready' | 'failed', answer: SimAnswer): SimAnswer {
    this.#state = state;
    return answer;
  }

  #becomeReady(): SimAnswer {
    const isProof = this.#options.feedHold === 'paced' || this.#random.below(2) === 0;
    if (isProof && this.#random.below(2) === 0) this.#guest.dropCache();
    return this.#become('ready', { type: 'ready', isProof });
  }

  #answer(): SimAnswer | null {
    const question = this.#questions[0];
    if (question === undefined) return null;
    const { order, pages, unneeded } = question;
    if (order.type === 'drop') {
      this.#questions.shift();
      this.#guest.dropCache();
      return { type: 'dropped' };
    }
    for (let left = this.#random.below(300); left > 0 && question.next < pages.length; left--) {
      if (this.#isUnneeded(question, order.isProof)) unneeded[question.next >>> 5]! |= 1 << (question.next & 31);
      question.next++;
    }
    if (question.next < pages.length) return null;
    this.#questions.shift();
    return { type: 'report', firstPage: order.firstPage, unneeded };
  }

  #isUnneeded({ use, pages, next }: Question, isProof: boolean): boolean {
    const seen = use[pages[next]!];
    const countsCache = !isProof || this.#options.planted === 'cache counts as free in the last report';
    return seen === PageUse.free || (countsCache && seen === PageUse.cleanCache);
  }
}
