/**
 * What a guest writes, from a few looks at some of its pages: how many of them differ after a short time and after a longer one.
 *
 * One rate does not tell it: a guest that writes the same 100 pages again and again and one that writes each page once have the
 * same rate, and opposite migrations. So two numbers are fitted: a guest that writes `pagesPerMs` pages at random among
 * `hotPages` has changed
 *
 *     D(t) = hotPages * (1 - exp(-pagesPerMs * t / hotPages))
 *
 * different pages after t milliseconds. The working set as a curve over time: Denning, "The working set model", 1968.
 */
import { assert } from '../base/assert.ts';
import type { WorkingSet } from '../model/prediction.ts';

/** Between two looks `ms` apart, this part of the pages looked at differed. */
export type ChangeWindow = { readonly ms: number; readonly changedShare: number };

/** Sizes of the hot set that are tried: each so many times the one before. */
const STEP = 1.15;
/** A window in which nearly every hot page changed tells nothing of the rate. */
const SATURATED = 0.98;

/**
 * `pages`: of the guest; `looked`: how many of them were looked at; `content`: how many hold something, which a hot set is a part of.
 * Of the windows, those of equal length are alike.
 */
export function fitWorkingSet(
  windows: readonly ChangeWindow[],
  { pages, looked, content }: { readonly pages: number; readonly looked: number; readonly content: number },
): WorkingSet {
  assert(pages > 0 && looked > 0, 'there are pages to look at');
  const seen = windows
    .filter(({ ms }) => ms > 0)
    .map(({ ms, changedShare }) => ({ ms, dirtied: changedShare * pages }));
  const most = Math.max(0, ...seen.map(({ dirtied }) => dirtied));
  if (most === 0) return { pagesPerMs: 0, hotPages: 0 };
  // What one page of the sample stands for: differences below it are chance.
  const grain = pages / looked;
  let best = { pagesPerMs: 0, hotPages: 0 };
  let bestError = Infinity;
  const largest = Math.max(1, most, Math.min(content, pages));
  for (let hotPages = Math.max(1, most); hotPages < largest * STEP; hotPages *= STEP) {
    const size = Math.min(hotPages, largest);
    const pagesPerMs = rateFor(seen, size);
    const error = errorOf(seen, { pagesPerMs, hotPages: size }, grain);
    // The smallest set that explains it: a larger one must do so clearly better.
    if (error < bestError * 0.99) [best, bestError] = [{ pagesPerMs, hotPages: size }, error];
  }
  return best;
}

/** Different pages that are written in a time. */
export function dirtiedPages({ pagesPerMs, hotPages }: WorkingSet, ms: number): number {
  return hotPages === 0 ? 0 : hotPages * -Math.expm1((-pagesPerMs * ms) / hotPages);
}

type Seen = { readonly ms: number; readonly dirtied: number };

/** The mean of what each window says, short ones first in weight, because they are farthest from saturation. */
function rateFor(seen: readonly Seen[], hotPages: number): number {
  let sum = 0;
  let weights = 0;
  for (const { ms, dirtied } of seen) {
    const share = Math.min(dirtied / hotPages, SATURATED);
    const weight = (1 - share) * Math.sqrt(ms);
    sum += (weight * (-hotPages * Math.log1p(-share))) / ms;
    weights += weight;
  }
  return weights === 0 ? 0 : sum / weights;
}

/** Squared distances, in units of what chance makes of a sample. */
function errorOf(seen: readonly Seen[], set: WorkingSet, grain: number): number {
  return seen.reduce((sum, { ms, dirtied }) => {
    const expected = dirtiedPages(set, ms);
    return sum + (dirtied - expected) ** 2 / (grain * Math.max(expected, grain));
  }, 0);
}
