/**
 * vmferry's modes beside the best of QEMU's own, case by case. Pure.
 *
 * For each figure the best native mode of a case and link is the one with the smallest median among those that completed
 * in every run; it need not be the same for time and bytes. Downtimes are compared with pre-copies only: a post-copy moves
 * the guest at once and lets it wait for its pages afterwards. Ratios are taken within a run, then the median over the runs.
 * Where no native mode completes there is no ratio, and the case does not count in the mean.
 */
import { z } from 'zod';
import { linkNames } from '../lab/plan.ts';
import type { LinkName } from '../lab/plan.ts';
import { isPostcopy, modeOf } from './modes.ts';
import type { Sample } from './samples.ts';
import { figureOf, geometricMean, pairedRatio } from './statistics.ts';
import type { RunValue } from './statistics.ts';

export const comparedFigures = ['totalMs', 'downtimeMs', 'clientGapMs', 'wireBytes'] as const;
export type ComparedFigure = (typeof comparedFigures)[number];

const ratioSchema = z.object({ median: z.number(), min: z.number(), max: z.number() });
const againstSchema = z.object({ mode: z.string(), ratio: ratioSchema }).nullable();
export const comparisonSchema = z.object({
  case: z.string(),
  link: z.enum(linkNames),
  mode: z.string(),
  against: z.object({
    totalMs: againstSchema,
    downtimeMs: againstSchema,
    clientGapMs: againstSchema,
    wireBytes: againstSchema,
  }),
});
export type Comparison = z.infer<typeof comparisonSchema>;
export type Against = z.infer<typeof againstSchema>;

const meanSchema = z.object({
  /** Over the cases that have a ratio. */
  geometricMean: z.number(),
  cases: z.int(),
  worst: z.object({ case: z.string(), link: z.enum(linkNames), ratio: z.number() }),
});
export const summarySchema = z.object({
  mode: z.string(),
  figures: z.object({
    totalMs: meanSchema.nullable(),
    downtimeMs: meanSchema.nullable(),
    clientGapMs: meanSchema.nullable(),
    wireBytes: meanSchema.nullable(),
  }),
});
export type Summary = z.infer<typeof summarySchema>;

/** One for each case, link and mode of vmferry, in the order of the samples. */
export function comparisonsOf(samples: readonly Sample[]): Comparison[] {
  const places = Map.groupBy(samples, ({ case: name, link }) => `${name} ${link}`);
  return [...places.values()].flatMap((place) => {
    const modes = [...new Set(place.map(({ mode }) => mode))];
    return modes
      .filter((mode) => modeOf(mode).family === 'vmferry')
      .map((mode) => ({ case: place[0]!.case, link: place[0]!.link, mode, against: againstOf(mode, place, modes) }));
  });
}

function againstOf(mode: string, place: readonly Sample[], modes: readonly string[]): Comparison['against'] {
  const native = modes.filter((name) => modeOf(name).family === 'qemu' && hasCompleted(name, place));
  const against = (figure: ComparedFigure): Against => {
    const isOutage = figure === 'downtimeMs' || figure === 'clientGapMs';
    const best = smallest(
      native.filter((name) => !isOutage || !isPostcopy(name)),
      (name) => figureOf(valuesOf(name, figure, place).map(({ value }) => value))?.median ?? null,
    );
    if (best === null) return null;
    const ratio = pairedRatio(valuesOf(mode, figure, place), valuesOf(best, figure, place));
    return ratio && { mode: best, ratio };
  };
  return {
    totalMs: against('totalMs'),
    downtimeMs: against('downtimeMs'),
    clientGapMs: against('clientGapMs'),
    wireBytes: against('wireBytes'),
  };
}

function hasCompleted(mode: string, place: readonly Sample[]): boolean {
  return place.every((sample) => sample.mode !== mode || sample.outcome === 'completed');
}

function valuesOf(mode: string, figure: ComparedFigure, place: readonly Sample[]): RunValue[] {
  return place
    .filter((sample) => sample.mode === mode)
    .map((sample) => ({ run: sample.run, value: sample.outcome === 'completed' ? sample[figure] : null }));
}

function smallest(names: readonly string[], of: (name: string) => number | null): string | null {
  let best: { readonly name: string; readonly value: number } | null = null;
  for (const name of names) {
    const value = of(name);
    if (value !== null && (best === null || value < best.value)) best = { name, value };
  }
  return best?.name ?? null;
}

/** One for each mode of vmferry. */
export function summariesOf(comparisons: readonly Comparison[]): Summary[] {
  return [...Map.groupBy(comparisons, ({ mode }) => mode)].map(([mode, own]) => ({
    mode,
    figures: {
      totalMs: meanOf(own, 'totalMs'),
      downtimeMs: meanOf(own, 'downtimeMs'),
      clientGapMs: meanOf(own, 'clientGapMs'),
      wireBytes: meanOf(own, 'wireBytes'),
    },
  }));
}

function meanOf(own: readonly Comparison[], figure: ComparedFigure): Summary['figures'][ComparedFigure] {
  const found = own.flatMap(({ case: name, link, against }) => {
    const ratio = against[figure]?.ratio.median;
    return ratio === undefined ? [] : [{ case: name, link: link as LinkName, ratio }];
  });
  const mean = geometricMean(found.map(({ ratio }) => ratio));
  const worst = found.reduce<(typeof found)[number] | null>((a, b) => (a === null || b.ratio > a.ratio ? b : a), null);
  return mean === null || worst === null ? null : { geometricMean: mean, cases: found.length, worst };
}
