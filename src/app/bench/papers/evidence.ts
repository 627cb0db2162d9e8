/**
 * Figures out of what was found, and claims judged by them. Pure.
 *
 * A figure of a cell is the median over the runs that have it, null where none has. A move that was made and did not end
 * within the time-out has no figures, but it is there: `endOf` tells the two apart.
 */
import { median } from '../../lab/comparison.ts';
import type { LinkName } from '../../lab/plan.ts';
import type { Sample } from '../samples.ts';
import type { Cell } from '../schedule.ts';
import type { Claim, Evidence, Verdict } from './paper.ts';

export type CellFigure = (sample: Sample) => number | null | undefined;

export function samplesOf({ samples }: Pick<Evidence, 'samples'>, cell: Cell): Sample[] {
  return samples.filter((each) => each.case === cell.case && each.link === cell.link && each.mode === cell.mode);
}

/** Median over the completed moves of a cell; of a guest that found damage there is no figure. */
export function figureOfCell(evidence: Pick<Evidence, 'samples'>, cell: Cell, of: CellFigure): number | null {
  return median(figuresOfCell(evidence, cell, of));
}

/** The same of each of these moves: how much a figure differs between moves that are alike. */
export function figuresOfCell(evidence: Pick<Evidence, 'samples'>, cell: Cell, of: CellFigure): number[] {
  return sound(samplesOf(evidence, cell)).flatMap((sample) => of(sample) ?? []);
}

/** The same, and Infinity where the migration was made and did not end. */
export function figureOrEndless(evidence: Pick<Evidence, 'samples'>, cell: Cell, of: CellFigure): number | null {
  return endOf(evidence, cell) === 'endless' ? Infinity : figureOfCell(evidence, cell, of);
}

/** The first completed move of a cell, for figures over time. */
export function firstOf(evidence: Pick<Evidence, 'samples'>, cell: Cell): Sample | undefined {
  return sound(samplesOf(evidence, cell))[0];
}

function sound(samples: readonly Sample[]): Sample[] {
  return samples.filter(({ outcome, damage }) => outcome === 'completed' && damage === 0);
}

/** A figure of a measurement, median over the runs. */
export function measured({ measurements }: Pick<Evidence, 'measurements'>, key: string, name: string): number | null {
  const values = measurements
    .filter(({ measure }) => measure === key)
    .flatMap(({ values: found }) => found[name] ?? []);
  return median(values);
}

/** A row of figures of a measurement, each the median over the runs; null where no run has it. */
export function measuredRow(
  { measurements }: Pick<Evidence, 'measurements'>,
  key: string,
  name: string,
): readonly number[] | null {
  const rows = measurements
    .filter(({ measure }) => measure === key)
    .flatMap(({ values }) => (Array.isArray(values[name]) ? [values[name]] : []));
  return rows[0]?.map((_, index) => median(rows.flatMap((row) => row[index] ?? []))!) ?? null;
}

/** `missing`: it was not made. `endless`: it was made, and no run of it completed. */
export function endOf(evidence: Pick<Evidence, 'samples'>, cell: Cell): 'missing' | 'completed' | 'endless' {
  const own = samplesOf(evidence, cell);
  if (own.length === 0) return 'missing';
  return own.some(({ outcome }) => outcome === 'completed') ? 'completed' : 'endless';
}

export function cellsOf(cases: readonly string[], link: LinkName, modes: readonly string[]): Cell[] {
  return cases.flatMap((name) => modes.map((mode) => ({ case: name, link, mode })));
}

export type Judged = { readonly here: string; readonly holds: Exclude<Verdict, 'unknown'>; readonly why: string };

/** `decide` is asked only when every value is there; else the claim is unknown. */
export function judge<const T extends readonly (number | null)[]>(
  { claim, paper }: Pick<Claim, 'claim' | 'paper'>,
  values: T,
  decide: (known: { [K in keyof T]: number }) => Judged,
): Claim {
  const missing = values.filter((value) => value === null).length;
  if (values.length === 0 || missing > 0)
    return unknownClaim({ claim, paper }, `${missing} of ${values.length} figures are missing`);
  return { claim, paper, ...decide(values as { [K in keyof T]: number }) };
}

export function unknownClaim({ claim, paper }: Pick<Claim, 'claim' | 'paper'>, why: string): Claim {
  return { claim, paper, here: 'not measured', holds: 'unknown', why };
}

/** `yes` when all are so, `no` when none is, else `partly`. */
export function verdictOf(parts: readonly boolean[]): Exclude<Verdict, 'unknown'> {
  if (parts.every(Boolean)) return 'yes';
  return parts.some(Boolean) ? 'partly' : 'no';
}

/** "32 % less", "5 % more": `ours` than `theirs`. */
export function partLess(ours: number, theirs: number): number {
  return 1 - ours / theirs;
}

export function changeText(ours: number, theirs: number): string {
  const percent = (1 - ours / theirs) * 100;
  return `${Math.abs(percent).toFixed(0)} % ${percent >= 0 ? 'less' : 'more'}`;
}
