/**
 * From samples to figures. Pure.
 *
 * A mode that does not complete is an outcome and no number: a cell has figures of its completed moves only, and a ratio
 * needs both moves of a run to have completed.
 */
import { median } from '../lab/comparison.ts';

export type Figure = { readonly median: number; readonly min: number; readonly max: number };

/** Null when there is no value. */
export function figureOf(values: readonly (number | null | undefined)[]): Figure | null {
  const known = values.filter((value) => value !== null && value !== undefined && Number.isFinite(value)) as number[];
  const middle = median(known);
  return middle === null ? null : { median: middle, min: Math.min(...known), max: Math.max(...known) };
}

/** A figure of one mode in one run; null where the move did not complete. */
export type RunValue = { readonly run: number; readonly value: number | null };

/** `ours` divided by `theirs` within each run, over the runs that have both; null where none has. */
export function pairedRatio(ours: readonly RunValue[], theirs: readonly RunValue[]): Figure | null {
  return figureOf(
    ours.map(({ run, value }) => {
      const other = theirs.find((each) => each.run === run)?.value ?? null;
      return value === null || other === null || other === 0 ? null : value / other;
    }),
  );
}

/** Null of an empty list, and where a value is not above zero. */
export function geometricMean(values: readonly number[]): number | null {
  if (values.length === 0 || values.some((value) => !(value > 0))) return null;
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

export type Line = { readonly slope: number; readonly intercept: number };

/** Least squares through (x, y); null with fewer than two different x. */
export function fitLine(points: readonly (readonly [number, number])[]): Line | null {
  const count = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / count;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / count;
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  if (count < 2 || spread === 0) return null;
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  return { slope, intercept: meanY - slope * meanX };
}
