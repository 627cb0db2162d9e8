/**
 * Writes the main table of bench/results/main.json into the README, between its two marks, and the picture beside it:
 *
 *     bin/vmferry bench --out bench/results && npm run readme:figures
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { argv } from 'node:process';
import { barChart } from '../src/app/bench/chart.ts';
import { barCharts } from '../src/app/bench/report-charts.ts';
import { linksOf, machineText, mainTable, summaryLines } from '../src/app/bench/report-markdown.ts';
import { resultSchema } from '../src/app/bench/results.ts';
import type { BenchResult } from '../src/app/bench/results.ts';

const root = join(import.meta.dirname, '..');
export const readmeFile = join(root, 'README.md');
export const resultFile = join(root, 'bench/results/main.json');
const pictureFile = 'bench/results/main.svg';

const BEGIN = '<!-- figures: begin (npm run readme:figures) -->';
const END = '<!-- figures: end -->';

export function readResult(file: string): BenchResult {
  return resultSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
}

/** What stands between the marks. */
export function readmeFigures(result: BenchResult): string {
  const runs = Math.min(...result.cells.map((cell) => cell.runs));
  return [
    BEGIN,
    '',
    `Total time / downtime / bytes on the wire, ${runs === 1 ? 'one run' : `medians of ${runs} runs, in turn`}; ${machineText(result)}; ${result.date.slice(0, 10)}.`,
    '',
    ...linksOf(result.cells).flatMap((link) => [...mainTable(result.cells, link), '']),
    `![Total time of each mode and guest](${pictureFile})`,
    '',
    "Divided by the best of QEMU's own modes, each case's and figure's own best (downtime and gap: of its pre-copies):",
    '',
    ...result.summaries.flatMap(summaryLines),
    '',
    END,
  ].join('\n');
}

/** Throws an Error for a README without the marks. */
export function withFigures(readme: string, figures: string): string {
  const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`The README has no "${BEGIN}" and "${END}" after it`);
  return readme.slice(0, from) + figures + readme.slice(to + END.length);
}

if (argv[1] === import.meta.filename) {
  const result = readResult(resultFile);
  writeFileSync(readmeFile, withFigures(readFileSync(readmeFile, 'utf8'), readmeFigures(result)));
  const [total] = linksOf(result.cells).flatMap((link) => barCharts(result.cells, link));
  if (total !== undefined) writeFileSync(join(root, pictureFile), barChart(total));
}
