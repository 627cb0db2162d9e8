/** Table 5, total time and downtime of a guest with each kernel, which to move first, and the stages' sum of equation 1. Pure. */
import { formatMs } from '../../../core/model/units.ts';
import { stageNames } from '../../../core/model/migration.ts';
import type { Sample } from '../samples.ts';
import { figureOf } from '../statistics.ts';
import type { Figure } from '../statistics.ts';
import { paperMoves, paperPreference } from './cpu-paper-values.ts';
import { judge, samplesOf, unknownClaim, verdictOf } from './evidence.ts';
import { kernels } from './kernel-guest.ts';
import type { Kernel } from './kernel-guest.ts';
import type { Claim, Evidence, Findings, PaperChart, PaperTable } from './paper.ts';

export const moveLink = '1gbit';
export const moveModes = ['vmferry-auto', 'vmferry-precopy'] as const;
type Mode = (typeof moveModes)[number];

/** Medians that differ by less are no difference: the paper's 63 and 64 s are 1.6 % apart, moves of a second scatter by more. */
const SAME = 1.1;
/** Of the time from the request. */
const SUM_PART_MIN = 0.9;
/** Of the paper's three, the least part of the total time that the guest stands still. */
const paperParts = kernels.map((kernel) => paperMoves[kernel].downtimeS / paperMoves[kernel].totalS);

type FiguresOf = (kernel: Kernel, mode: Mode) => { readonly total: Figure | null; readonly downtime: Figure | null };

export function moveFindings(evidence: Evidence): Findings {
  const completed = (kernel: Kernel, mode: Mode): Sample[] =>
    samplesOf(evidence, { case: kernel, link: moveLink, mode }).filter(
      ({ outcome, damage }) => outcome === 'completed' && damage === 0,
    );
  const figures: FiguresOf = (kernel, mode) => ({
    total: figureOf(completed(kernel, mode).map(({ totalMs }) => totalMs)),
    downtime: figureOf(completed(kernel, mode).map(({ downtimeMs }) => downtimeMs)),
  });
  const all = moveModes.flatMap((mode) => kernels.map((kernel) => completed(kernel, mode)));
  return {
    claims: [totalClaim(figures), downtimeClaim(figures), partClaim(figures), preferenceClaim(figures), sumClaim(all)],
    tables: [movesTable(figures), stagesTable(completed)],
    charts: [
      movesChart(
        'Total time (table 5)',
        (kernel) => paperMoves[kernel].totalS,
        (kernel, mode) => figures(kernel, mode).total,
      ),
      movesChart(
        'Downtime (table 5)',
        (kernel) => paperMoves[kernel].downtimeS,
        (kernel, mode) => figures(kernel, mode).downtime,
      ),
    ],
  };
}

/** Of all kernels and modes; mode by mode. */
function medians(figures: FiguresOf, name: 'total' | 'downtime'): (number | null)[] {
  return moveModes.flatMap((mode) => kernels.map((kernel) => figures(kernel, mode)[name]?.median ?? null));
}

function ofMode(known: readonly number[], index: number): number[] {
  return known.slice(index * kernels.length, (index + 1) * kernels.length);
}

function ratioOf(values: readonly number[]): number {
  return Math.max(...values) / Math.min(...values);
}

/** Whether a move with the kernel of the least median took as long as one with that of the greatest. */
function overlap(figures: FiguresOf, mode: Mode, name: 'total' | 'downtime'): boolean {
  const all = kernels.flatMap((kernel) => figures(kernel, mode)[name] ?? []).toSorted((a, b) => a.median - b.median);
  const [least, most] = [all[0], all.at(-1)];
  return least !== undefined && most !== undefined && least.max >= most.min;
}

function totalClaim(figures: FiguresOf): Claim {
  const asked = {
    claim: 'The three kernels take nearly the same total time (table 5)',
    paper: kernels.map((kernel) => `${kernel} ${paperMoves[kernel].totalS} s`).join(', '),
  };
  return judge(asked, medians(figures, 'total'), (known) => {
    const ratios = moveModes.map((_, index) => ratioOf(ofMode(known, index)));
    const verdicts = moveModes.map((mode, index) => ratios[index]! <= SAME || overlap(figures, mode, 'total'));
    const areClose = ratios.every((ratio) => ratio <= SAME);
    return {
      here: perMode(known),
      // Medians that are further apart than the paper's, but not further than the moves scatter, show neither.
      holds: verdicts.every(Boolean) ? (areClose ? 'yes' : 'partly') : verdictOf(verdicts),
      why: `the slowest takes ${moveModes.map((mode, index) => `${ratios[index]!.toFixed(2)} times the fastest (${mode}; their moves ${overlap(figures, mode, 'total') ? 'overlap' : 'are apart'})`).join(', ')}; in the paper 1.02`,
    };
  });
}

function downtimeClaim(figures: FiguresOf): Claim {
  const order = [...kernels].toSorted((a, b) => paperMoves[a].downtimeS - paperMoves[b].downtimeS);
  const asked = {
    claim: 'The downtime is least with Livermore, then Linpack, and by far the longest with Dhrystone (table 5)',
    paper: order.map((kernel) => `${kernel} ${paperMoves[kernel].downtimeS} s`).join(', '),
  };
  return judge(asked, medians(figures, 'downtime'), (known) => {
    const orders = moveModes.map((_, index) => orderOf(ofMode(known, index)));
    // An order of medians of three runs is none where what is first and last in the paper overlaps.
    const distinct = moveModes.map((mode) => {
      const [least, most] = [order[0]!, order.at(-1)!].map((kernel) => figures(kernel, mode).downtime!);
      return least!.max < most!.min;
    });
    return {
      here: perMode(known),
      holds: verdictOf(orders.map((found, index) => isSame(found, order) && distinct[index]!)),
      why: `by the medians: ${orders.map((found, index) => `${found.join(', ')} (${moveModes[index]}; ${order[0]} and ${order.at(-1)} ${distinct[index]! ? 'are apart' : 'overlap'})`).join('; ')}`,
    };
  });
}

function partClaim(figures: FiguresOf): Claim {
  const [least, most] = [Math.min(...paperParts), Math.max(...paperParts)];
  const asked = {
    claim: 'A guest with such a load stands still for a large part of its migration (table 5)',
    paper: `${percent(least)} to ${percent(most)} of the total time`,
  };
  const [totals, downtimes] = [medians(figures, 'total'), medians(figures, 'downtime')];
  return judge(asked, [...totals, ...downtimes], (known) => {
    const parts = totals.map((_, index) => known[totals.length + index]! / known[index]!);
    const isLess = parts.every((part) => part < least);
    return {
      here: `${percent(Math.min(...parts))} to ${percent(Math.max(...parts))}`,
      holds: verdictOf(parts.map((part) => part >= least)),
      why: isLess
        ? 'these kernels write little memory, so little is left to be sent while the guest stands still'
        : `at least ${percent(least)} is taken as large, the least of the paper`,
    };
  });
}

/** Least total time first; where those are the same, least downtime first. */
function preferenceClaim(figures: FiguresOf): Claim {
  const asked = {
    claim:
      'The guest to be moved first is that with the least total time, of equal ones that with the least downtime: Livermore, Linpack, Dhrystone',
    paper: paperPreference.join(', '),
  };
  const [totals, downtimes] = [medians(figures, 'total'), medians(figures, 'downtime')];
  return judge(asked, [...totals, ...downtimes], (known) => {
    const found = moveModes.map((mode, index) => {
      const own = ofMode(known, index);
      const isEqual = ratioOf(own) <= SAME || overlap(figures, mode, 'total');
      const by = isEqual ? ofMode(known.slice(totals.length), index) : own;
      return { order: orderOf(by), by: isEqual ? 'downtime, total times being no different' : 'total time' };
    });
    const firsts = new Set(found.map(({ order }) => order[0]!));
    const apart = moveModes.filter((mode) => !overlap(figures, mode, 'downtime'));
    return {
      here: found.map(({ order, by }, index) => `${order.join(', ')} (${moveModes[index]}, by ${by})`).join('; '),
      holds: verdictOf(found.map(({ order }) => isSame(order, paperPreference))),
      why: `${firsts.size === 1 ? `${[...firsts].join()} is first in both modes` : 'the modes do not agree on the first'}; downtimes are further apart than the moves scatter in ${apart.length === 0 ? 'no mode' : apart.join(' and ')}`,
    };
  });
}

/**
 * Equation 1. A report's total is the sum of its stages by construction, so that sum is compared with clocks that know nothing of
 * stages: the bench's own, from the request until it has the report, and the time of day at which the first stage began.
 */
function sumClaim(cells: readonly (readonly Sample[])[]): Claim {
  const asked = {
    claim:
      'The total time is the sum of its stages: initialisation, reservation, pre-copy, stop-and-copy, commitment, activation (equation 1)',
    paper: 'a definition, without numbers',
  };
  const found = cells.map((samples) => samples.map(stageTimesOf).filter((each) => each !== null));
  const missing = found.filter((each) => each.length === 0).length;
  if (missing > 0) return unknownClaim(asked, `stages of ${missing} of ${cells.length} kernels and modes are missing`);
  const times = found.flat();
  const range = (values: readonly number[], text: (value: number) => string): string =>
    `${text(Math.min(...values))} to ${text(Math.max(...values))}`;
  const parts = times.map(({ sumMs, beforeMs }) => sumMs / (beforeMs + sumMs));
  return {
    ...asked,
    here: `${times.length} moves: the stages are ${range(parts, percent)} of the time from the request until all is at the destination; before the first stage are ${range(
      times.map(({ beforeMs }) => beforeMs),
      formatMs,
    )}, from the last one to the report ${range(
      times.map(({ afterMs }) => afterMs),
      formatMs,
    )}`,
    holds: verdictOf(times.map(({ afterMs }, index) => parts[index]! >= SUM_PART_MIN && afterMs >= 0)),
    why: `a report's own total is the sum; the way of the request is in no stage, nor is the end of the source's QEMU after the guest runs (${percent(SUM_PART_MIN)} of a move at least, and no more than its whole time, is taken as equal)`,
  };
}

type StageTimes = {
  readonly sumMs: number;
  /** From the request to the first stage. */
  readonly beforeMs: number;
  /** From the last stage to the report; below zero: the stages are more than there was time for. */
  readonly afterMs: number;
};

/** Null where a move has not said all of them. */
function stageTimesOf({ furtherMs, totalMs, elapsedMs }: Sample): StageTimes | null {
  const stages = stageNames.map((name) => furtherMs[name] ?? null);
  if (totalMs === null || elapsedMs === null || stages.some((ms) => ms === null)) return null;
  const sumMs = (stages as number[]).reduce((all, ms) => all + ms, 0);
  return { sumMs, beforeMs: totalMs - sumMs, afterMs: elapsedMs - totalMs };
}

function movesTable(figures: FiguresOf): PaperTable {
  const text = (figure: Figure | null): string =>
    figure === null ? '-' : `${formatMs(figure.median)} (${formatMs(figure.min)} to ${formatMs(figure.max)})`;
  return {
    title: 'Total time and downtime by kernel (table 5)',
    note: 'medians, in parentheses the least and the most',
    columns: [
      'kernel',
      ...['paper: total', 'paper: downtime'],
      ...moveModes.flatMap((mode) => [`${mode}: total`, `${mode}: downtime`]),
    ],
    rows: paperPreference.map((kernel) => [
      kernel,
      `${paperMoves[kernel].totalS} s`,
      `${paperMoves[kernel].downtimeS} s`,
      ...moveModes.flatMap((mode) => [text(figures(kernel, mode).total), text(figures(kernel, mode).downtime)]),
    ]),
  };
}

function stagesTable(completed: (kernel: Kernel, mode: Mode) => readonly Sample[]): PaperTable {
  const ms = (values: readonly (number | null | undefined)[]): string => {
    const figure = figureOf(values);
    return figure === null ? '-' : figure.median.toFixed(1);
  };
  return {
    title: 'Stages of equation 1',
    note: 'milliseconds, each the median over the moves; in no stage: from the request to the first, and from the last to the report',
    columns: ['kernel, mode', 'from the request', ...stageNames, 'sum of stages', 'to the report'],
    rows: kernels.flatMap((kernel) =>
      moveModes.map((mode) => {
        const own = completed(kernel, mode);
        const times = own.map(stageTimesOf).filter((each) => each !== null);
        return [
          `${kernel}, ${mode}`,
          ms(times.map(({ beforeMs }) => beforeMs)),
          ...stageNames.map((name) => ms(own.map(({ furtherMs }) => furtherMs[name]))),
          ms(times.map(({ sumMs }) => sumMs)),
          ms(times.map(({ afterMs }) => afterMs)),
        ];
      }),
    ),
  };
}

function movesChart(
  title: string,
  paper: (kernel: Kernel) => number,
  figure: (kernel: Kernel, mode: Mode) => Figure | null,
): PaperChart {
  const colors = ['#0b7a5c', '#7cc3a4'];
  return {
    kind: 'bars',
    options: {
      ...{ title, note: 'milliseconds, logarithmic; less is better', unit: 'ms', isLogarithmic: true },
      categories: [...paperPreference],
      series: [
        { name: 'paper (Xen)', color: '#b98536', values: paperPreference.map((kernel) => paper(kernel) * 1000) },
        ...moveModes.map((mode, index) => ({
          name: mode,
          color: colors[index]!,
          values: paperPreference.map((kernel) => rounded(figure(kernel, mode))),
        })),
      ],
    },
  };
}

function rounded(figure: Figure | null): number | null {
  return figure === null ? null : Math.round(figure.median);
}

/** Kernels by their values, the least first. */
function orderOf(values: readonly number[]): Kernel[] {
  return [...kernels].toSorted((a, b) => values[kernels.indexOf(a)]! - values[kernels.indexOf(b)]!);
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.join() === other.join();
}

function perMode(known: readonly number[]): string {
  return moveModes
    .map((mode, index) => {
      const own = ofMode(known, index);
      return `${mode}: ${kernels.map((kernel, at) => `${kernel} ${formatMs(own[at]!)}`).join(', ')}`;
    })
    .join('; ');
}

function percent(part: number): string {
  return `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`;
}
