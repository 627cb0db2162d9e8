/** `vmferry bench paper NAME`: makes what a paper needs and has not been made yet, and writes what follows from it. */
import { writeFileSync } from 'node:fs';
import { benchFiles } from '../bench.ts';
import type { BenchFiles } from '../bench.ts';
import { collect } from '../collect.ts';
import type { CollectOptions } from '../collect.ts';
import { writeReports } from '../reports.ts';
import { resultCells } from '../results.ts';
import type { Measured, ResultCell } from '../results.ts';
import type { Measurement } from '../samples.ts';
import type { Choice } from '../sets.ts';
import { renderPaperMarkdown } from './paper-markdown.ts';
import { chosenOf } from './papers.ts';
import type { Findings, Paper } from './paper.ts';

export type PaperOptions = Pick<CollectOptions, 'runs' | 'timeoutMs' | 'labName' | 'say' | 'signal'> & {
  readonly paper: Paper;
  readonly choice: Choice;
  readonly folder: string;
  /** As it was typed, for the report. */
  readonly command: string;
};

/** What `paper-NAME.json` holds. */
export type PaperResult = Measured &
  Pick<Paper, 'name' | 'title' | 'citation' | 'about' | 'scale'> &
  Findings & {
    readonly cells: readonly ResultCell[];
    readonly measurements: readonly Measurement[];
  };

export type PaperOutcome = { readonly result: PaperResult; readonly files: BenchFiles; readonly missing: number };

/** Throws as `collect`; BenchError BENCH_CHOICE, BENCH_SETUP where the library for charts is not installed. */
export async function runPaper({ paper, choice, folder, command, ...options }: PaperOptions): Promise<PaperOutcome> {
  const files = benchFiles(folder, `paper-${paper.name}`);
  const { samples, measurements, missing, ...facts } = await collect({
    ...options,
    ...chosenOf(paper, choice),
    knownMeasures: paper.measures ?? [],
    wantsSeries: paper.wantsSeries === true,
    samplesFile: files.samples,
  });
  const { name, title, citation, about, scale } = paper;
  const result = {
    ...{ name, title, citation, about, scale, ...facts, command },
    ...paper.findings({ samples, measurements }),
    cells: resultCells(samples),
    measurements,
  };
  writeFileSync(files.json, `${JSON.stringify(result, null, 1)}\n`);
  await writeReports(files, renderPaperMarkdown(result), async () =>
    (await import('./paper-html.ts')).renderPaperHtml(result),
  );
  return { result, files, missing };
}
