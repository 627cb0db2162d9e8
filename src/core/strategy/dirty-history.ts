/**
 * How many pages a guest dirties in a given time, from what the last rounds showed.
 *
 * Guests rewrite the same pages, so the number grows less than linearly. Between two samples it is interpolated, beyond the
 * longest it is taken to be linear. Below the shortest it is taken to grow with the square root, and far below it not to
 * shrink at all: in one long sample, a guest that rewrites its pages ten times a second and one that writes each of them
 * once look the same. Stopping the first too early costs downtime, stopping the second too late costs a short round.
 */
import * as limits from './limits.ts';

type Sample = { readonly ms: number; readonly pages: number };

/** Samples whose lengths differ by less than this factor measure the same thing: the newer one stays. */
const SAME_LENGTH = 1.25;
/** A sample longer than this multiple says nothing about how pages are shared out over its time. */
const TOO_LONG = 8;

export class DirtyHistory {
  #samples: Sample[] = [];

  get isEmpty(): boolean {
    return this.#samples.length === 0;
  }

  add(ms: number, pages: number): void {
    const sample = { ms: Math.max(1, ms), pages };
    const others = this.#samples.filter((old) => old.ms > sample.ms * SAME_LENGTH || old.ms < sample.ms / SAME_LENGTH);
    this.#samples = [...others, sample].slice(-limits.DIRTY_SAMPLES_MAX);
  }

  /** Pages expected to be dirtied within ms. */
  expectedPages(ms: number): number {
    let below: Sample = { ms: 0, pages: 0 };
    let above: Sample | null = null;
    for (const sample of this.#samples) {
      if (sample.ms <= ms && sample.ms >= below.ms) below = sample;
      if (sample.ms > ms && (above === null || sample.ms < above.ms)) above = sample;
    }
    if (above === null) return below.ms === 0 ? 0 : (below.pages * ms) / below.ms;
    if (below.ms === 0 && above.ms > ms * TOO_LONG) return above.pages;
    if (below.ms === 0) return above.pages * Math.sqrt(ms / above.ms);
    return below.pages + ((above.pages - below.pages) * (ms - below.ms)) / (above.ms - below.ms);
  }
}
