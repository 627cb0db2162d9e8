/** `vmferry bench`: makes the moves of a set that have not been made yet, and writes what they add up to. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { collect } from './collect.ts';
import type { Collected, CollectOptions } from './collect.ts';
import { comparisonsOf, summariesOf } from './comparisons.ts';
import { forecastsOf } from './forecasts.ts';
import { renderMarkdown } from './report-markdown.ts';
import { writeReports } from './reports.ts';
import { resultCells } from './results.ts';
import type { BenchResult } from './results.ts';
import type { SetName } from './set-names.ts';

export type BenchOptions = Omit<CollectOptions, 'samplesFile' | 'measures' | 'wantsSeries'> & {
  readonly set: SetName;
  readonly folder: string;
  /** As it was typed, for the report. */
  readonly command: string;
};

export type BenchFiles = {
  readonly json: string;
  readonly html: string;
  readonly markdown: string;
  readonly samples: string;
};
export type BenchOutcome = {
  readonly result: BenchResult;
  readonly files: BenchFiles;
  /** Moves that the bench could not make; they are tried again by the next bench of the same folder. */
  readonly missing: number;
};

/** Throws as `collect`; BenchError BENCH_SETUP where the library for charts is not installed. */
export async function runBench({ set, folder, command, ...options }: BenchOptions): Promise<BenchOutcome> {
  const files = benchFiles(folder, set);
  const collected = await collect({ ...options, samplesFile: files.samples });
  const result = resultOf(collected, command);
  writeFileSync(files.json, `${JSON.stringify(result, null, 2)}\n`);
  await writeReports(files, renderMarkdown(result), async () => (await import('./report-html.ts')).renderHtml(result));
  return { result, files, missing: collected.missing };
}

/** The files of a set or paper in the folder of results. */
export function benchFiles(folder: string, name: string): BenchFiles {
  const file = (end: string): string => join(folder, `${name}.${end}`);
  return { json: file('json'), html: file('html'), markdown: file('md'), samples: file('samples.jsonl') };
}

function resultOf({ machine, versions, date, until, samples }: Collected, command: string): BenchResult {
  const comparisons = comparisonsOf(samples);
  const figures = {
    cells: resultCells(samples),
    comparisons,
    summaries: summariesOf(comparisons),
    forecasts: forecastsOf(samples),
  };
  return { machine, versions, date, until, command, ...figures };
}
