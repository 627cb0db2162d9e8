/**
 * The weighted average of a load: each sample counts half as much as one that is a half-life younger.
 *
 * By the time between samples and not by their number, so that a late sample weighs what it should.
 */

/** Two samples of a minute apart weigh 2 : 1; a burst of ten seconds moves it by a ninth of its height. */
export const HALF_LIFE_MS = 60_000;

/** The share of a new sample in the average, in (0, 1], after so much time. */
export function sampleWeight(elapsedMs: number, halfLifeMs: number = HALF_LIFE_MS): number {
  return 1 - 2 ** (-Math.max(0, elapsedMs) / halfLifeMs);
}

/** `average` is null before the first sample. */
export function foldSample(
  average: number | null,
  sample: number,
  elapsedMs: number,
  halfLifeMs: number = HALF_LIFE_MS,
): number {
  return average === null ? sample : average + (sample - average) * sampleWeight(elapsedMs, halfLifeMs);
}
