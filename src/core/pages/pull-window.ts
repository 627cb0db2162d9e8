/**
 * How many pages may be on their way without having been asked for urgently.
 *
 * They stand before every urgent answer in the link's queue, so the window grows only while answers come about as fast as
 * the fastest one did, and shrinks when they wait (after TCP Vegas). It is never so small that a round trip is wasted
 * on a single request.
 */
import { assert } from '../base/assert.ts';

/** 768 KiB, 6 ms of 1 Gbit/s, half of that compressed: three requests, so that reading, sending and placing overlap. */
export const PULL_WINDOW_PAGES_MIN = 192;
/** 16 MiB: 1 Gbit/s over a round trip of 130 ms. */
export const PULL_WINDOW_PAGES_MAX = 4096;
/** An answer that takes longer than this much more than the fastest has waited in a queue. */
const QUEUE_MS = 5;
const SHRINK = 0.85;
const GROW_PAGES = 32;

export class PullWindow {
  #pages = PULL_WINDOW_PAGES_MIN;
  #fastestMs = Infinity;

  get pages(): number {
    return Math.floor(this.#pages);
  }

  /** A request that was not urgent was answered after ms. */
  answered(ms: number): void {
    assert(ms >= 0, 'time goes forward');
    this.#fastestMs = Math.min(this.#fastestMs, ms);
    const waited = ms > 1.5 * this.#fastestMs + QUEUE_MS;
    const pages = waited ? this.#pages * SHRINK : this.#pages + GROW_PAGES;
    this.#pages = Math.max(PULL_WINDOW_PAGES_MIN, Math.min(PULL_WINDOW_PAGES_MAX, pages));
  }
}
