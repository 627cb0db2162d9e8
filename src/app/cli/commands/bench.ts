/** `vmferry bench`: reads what is wanted, runs it, says where the report is. */
import { resolve } from 'node:path';
import { UsageError } from '../errors.ts';
import { runBench } from '../../bench/bench.ts';
import { benchCases } from '../../bench/cases.ts';
import { benchModes } from '../../bench/modes.ts';
import { resultLines } from '../../bench/report-markdown.ts';
import { cellsOfSet, runsOf } from '../../bench/sets.ts';
import type { SetName } from '../../bench/set-names.ts';
import type { Choice } from '../../bench/sets.ts';
import type { ResultCell } from '../../bench/results.ts';
import { linkNames } from '../../lab/plan.ts';
import type { Console } from '../console.ts';
import { printResult } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { formatTable } from '../table.ts';

export type BenchCommandOptions = {
  readonly set: SetName;
  readonly quick?: boolean;
  readonly case?: readonly string[];
  readonly link?: readonly string[];
  readonly mode?: readonly string[];
  readonly runs?: number;
  readonly out: string;
  readonly timeout: number;
  readonly lab: string;
  readonly predict?: boolean;
  readonly list?: boolean;
  readonly json?: boolean;
};

const RUNS_MAX = 100;

/** Throws UsageError, BenchError, LabError, QemuProcessError. */
export async function bench(
  options: BenchCommandOptions,
  argv: readonly string[],
  console: Console,
): Promise<ExitCode> {
  if (options.list === true) return list(options, console);
  const set = options.quick === true ? 'quick' : options.set;
  const runs = runsFrom(options, runsOf[set]);
  const cells = cellsOfSet(set, choiceOf(options));
  return await whileInterruptible(console, async (signal) => {
    const { result, files, missing } = await runBench({
      ...{ set, cells, runs, folder: resolve(options.out), timeoutMs: options.timeout, labName: options.lab, signal },
      wantsForecast: options.predict ?? set === 'prediction',
      command: `vmferry bench ${argv.join(' ')}`.trim(),
      say: (line) => console.remark(line),
    });
    printResult(console, options, { ...result, files, missing }, () => [
      ...resultLines(result),
      '',
      `Report: ${files.html}`,
      `Figures: ${files.json}, every move: ${files.samples}`,
    ]);
    return endCodeOf(result.cells, missing, console);
  });
}

/** Throws UsageError. */
export function runsFrom({ runs }: BenchCommandOptions, otherwise: number): number {
  if (runs === undefined || (runs >= 1 && runs <= RUNS_MAX)) return runs ?? otherwise;
  throw new UsageError('USAGE_ARGUMENT', `--runs ${runs} is not from 1 to ${RUNS_MAX}`);
}

export function choiceOf({ case: cases, link: links, mode: modes }: BenchCommandOptions): Choice {
  return {
    ...(cases !== undefined && { cases }),
    ...(links !== undefined && { links }),
    ...(modes !== undefined && { modes }),
  };
}

/** Until Ctrl-C, SIGTERM or SIGHUP; these are no errors: what was measured is kept. */
export async function whileInterruptible(
  console: Console,
  run: (signal: AbortSignal) => Promise<ExitCode>,
): Promise<ExitCode> {
  const interrupted = new AbortController();
  const abort = (): void => interrupted.abort();
  const off = console.onInterrupt(abort);
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, abort);
  try {
    return await run(interrupted.signal);
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    console.remark('Interrupted; the lab is removed. The same command goes on after the last move that was made.');
    return exitCodes.interrupted;
  } finally {
    off();
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.off(signal, abort);
  }
}

/** All was made, and no guest found damage. */
export function endCodeOf(cells: readonly ResultCell[], missing: number, console: Console): ExitCode {
  if (missing > 0) console.remark(`${missing} moves could not be made; the same command tries them again.`);
  const isSound = missing === 0 && cells.every(({ damage }) => damage === 0);
  return isSound ? exitCodes.completed : exitCodes.failed;
}

function list(options: BenchCommandOptions, console: Console): ExitCode {
  const cases = benchCases.map(({ name, about }) => ({ name, about }));
  const modes = benchModes.map(({ name, family, about }) => ({ name, family, about }));
  printResult(console, options, { cases, modes, links: linkNames }, () => [
    ...formatTable(
      ['CASE', 'GUEST'],
      cases.map(({ name, about }) => [name, about]),
      'll',
    ),
    '',
    ...formatTable(
      ['MODE', 'HOW'],
      modes.map(({ name, about }) => [name, about]),
      'll',
    ),
    '',
    `Links: ${linkNames.join(', ')}`,
  ]);
  return exitCodes.completed;
}
