/**
 * A paper whose tables and figures are drawn again: what is moved and measured for it, and what follows from that.
 *
 * Moves are cells of the bench (case x link x mode), measurements are steps of the paper's own (../measures.ts); both are made, kept
 * and resumed by collect.ts. Findings are a pure function of what was found, whatever part of it there is: a claim whose samples
 * are missing is `unknown`, never `yes`.
 */
import type { BarOptions, LineOptions } from '../chart.ts';
import type { Measure } from '../measures.ts';
import type { Measurement, Sample } from '../samples.ts';
import type { Cell } from '../schedule.ts';

export type Paper = {
  /** As the command line has it. */
  readonly name: string;
  readonly title: string;
  /** Authors, venue, year. */
  readonly citation: string;
  /** What is drawn again: which tables and figures, of what. */
  readonly about: string;
  /** What is smaller or other here than in the paper, and how. */
  readonly scale: string;
  readonly cells: readonly Cell[];
  readonly measures?: readonly Measure[];
  /** How often each, unless somebody says otherwise. */
  readonly runs: number;
  /** Whether moves keep what went on over time (`Sample.series`). */
  readonly wantsSeries?: boolean;
  readonly findings: (evidence: Evidence) => Findings;
};

/** What was found so far; any of it may be missing. Medians are taken over the runs (evidence.ts). */
export type Evidence = { readonly samples: readonly Sample[]; readonly measurements: readonly Measurement[] };

export type Verdict = 'yes' | 'partly' | 'no' | 'unknown';

export type Claim = {
  readonly claim: string;
  /** What the paper has, and what was found here, as text. */
  readonly paper: string;
  readonly here: string;
  readonly holds: Verdict;
  readonly why: string;
};

export type PaperTable = {
  readonly title: string;
  readonly note: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
};

export type PaperChart =
  { readonly kind: 'bars'; readonly options: BarOptions } | { readonly kind: 'lines'; readonly options: LineOptions };

export type Findings = {
  readonly claims: readonly Claim[];
  readonly tables: readonly PaperTable[];
  readonly charts: readonly PaperChart[];
};
