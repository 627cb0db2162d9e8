/** `vmferry bench paper`: measures what a paper claims, and says where the report is. */
import { resolve } from 'node:path';
import { UsageError } from '../errors.ts';
import { paperLines } from '../../bench/papers/paper-markdown.ts';
import { paperOf, papers } from '../../bench/papers/papers.ts';
import { runPaper } from '../../bench/papers/run-paper.ts';
import type { Console } from '../console.ts';
import { printResult } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { formatTable } from '../table.ts';
import { choiceOf, endCodeOf, runsFrom, whileInterruptible } from './bench.ts';
import type { BenchCommandOptions } from './bench.ts';

/** Without a name: which papers there are. Throws UsageError, BenchError, LabError, QemuProcessError. */
export async function benchPaper(
  name: string | undefined,
  options: BenchCommandOptions,
  argv: readonly string[],
  console: Console,
): Promise<ExitCode> {
  if (name === undefined) return listPapers(options, console);
  for (const word of ['set', 'quick', 'list'] as const) {
    if (!argv.includes(`--${word}`)) continue;
    throw new UsageError('USAGE_ARGUMENT', `--${word} is not for papers: a paper has its own moves`);
  }
  const paper = paperOf(name);
  const runs = runsFrom(options, paper.runs);
  return await whileInterruptible(console, async (signal) => {
    const { result, files, missing } = await runPaper({
      ...{ paper, runs, choice: choiceOf(options), folder: resolve(options.out) },
      ...{ timeoutMs: options.timeout, labName: options.lab, signal },
      command: `vmferry bench paper ${[name, ...argv].join(' ')}`,
      say: (line) => console.remark(line),
    });
    printResult(console, options, { ...result, files, missing }, () => [
      ...paperLines(result),
      '',
      `Report: ${files.html}`,
      `Figures: ${files.json}, every move: ${files.samples}`,
    ]);
    return endCodeOf(result.cells, missing, console);
  });
}

function listPapers(options: BenchCommandOptions, console: Console): ExitCode {
  const list = papers.map(({ name, title, citation, about, cells, measures = [] }) => ({
    ...{ name, title, citation, about },
    moves: cells.length,
    measurements: measures.length,
  }));
  printResult(console, options, { papers: list }, () =>
    formatTable(
      ['PAPER', 'MOVES', 'MEASURED', 'WHAT'],
      list.map(({ name, title, moves, measurements }) => [name, String(moves), String(measurements), title]),
      'lrrl',
    ),
  );
  return exitCodes.completed;
}
