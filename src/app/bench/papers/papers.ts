/** The papers there are, and what of one a person chose. */
import { BenchError } from '../errors.ts';
import type { Choice } from '../sets.ts';
import { compression } from './compression.ts';
import { cpuThreshold } from './cpu-threshold.ts';
import { dsm } from './dsm.ts';
import { mplm } from './mplm.ts';
import type { Paper } from './paper.ts';
import { sonic } from './sonic.ts';

export const papers: readonly Paper[] = [dsm, cpuThreshold, sonic, mplm, compression];

/** Throws BenchError BENCH_CHOICE. */
export function paperOf(name: string): Paper {
  const found = papers.find((each) => each.name === name);
  if (found !== undefined) return found;
  const names = papers.map((each) => each.name).join(', ');
  throw new BenchError('BENCH_CHOICE', `There is no paper "${name}": the papers are ${names}`, { paper: name });
}

/**
 * Those cells and measures of the paper that are chosen; measurements are chosen by their case, and have neither link nor mode.
 * Throws BenchError BENCH_CHOICE where the paper has none of a name.
 */
export function chosenOf(paper: Paper, choice: Choice): Required<Pick<Paper, 'cells' | 'measures'>> {
  const { cells, measures = [] } = paper;
  const known = {
    cases: new Set([...cells.map((cell) => cell.case), ...measures.map((measure) => measure.case)]),
    links: new Set<string>(cells.map(({ link }) => link)),
    modes: new Set(cells.map(({ mode }) => mode)),
  };
  for (const [kind, names] of Object.entries(choice) as [keyof Choice, readonly string[]][]) {
    const unknown = names.find((name) => !known[kind].has(name));
    if (unknown === undefined) continue;
    const text = `Paper "${paper.name}" has no ${kind.slice(0, -1)} "${unknown}": it has ${[...known[kind]].join(', ') || 'none'}`;
    throw new BenchError('BENCH_CHOICE', text, { paper: paper.name });
  }
  const has = (names: readonly string[] | undefined, name: string): boolean => names?.includes(name) ?? true;
  return {
    cells: cells.filter(
      (cell) => has(choice.cases, cell.case) && has(choice.links, cell.link) && has(choice.modes, cell.mode),
    ),
    measures: measures.filter(
      (measure) => has(choice.cases, measure.case) && choice.links === undefined && choice.modes === undefined,
    ),
  };
}
