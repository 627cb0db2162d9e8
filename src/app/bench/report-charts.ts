/** Which charts a result gives: what is in them, as plain data for chart.ts. Pure. */
import { GIB, MIB } from '../../core/model/units.ts';
import { linkBitsPerS } from '../lab/plan.ts';
import type { LinkName } from '../lab/plan.ts';
import { caseOf } from './cases.ts';
import type { BenchCase } from './cases.ts';
import type { BarOptions, LineOptions } from './chart.ts';
import { casesOf, modesOf } from './report-markdown.ts';
import type { BenchResult, ResultCell } from './results.ts';
import { fitLine } from './statistics.ts';
import type { Figure } from './statistics.ts';

const vmferryColors = ['#0b7a5c', '#3fa27f', '#7cc3a4', '#b0ddc8', '#d5eee3'] as const;
const qemuColors = ['#34495e', '#8e6bb0', '#5d86b5', '#e0943a', '#a88b5a', '#b8c2cc', '#d9b8c4', '#cfd8dc'] as const;

export function colorOf(mode: string, modes: readonly string[]): string {
  const isOwn = mode.startsWith('vmferry');
  const colors: readonly string[] = isOwn ? vmferryColors : qemuColors;
  const family = modes.filter((each) => each.startsWith('vmferry') === isOwn);
  return colors[Math.max(0, family.indexOf(mode)) % colors.length]!;
}

type BarFigure = {
  readonly title: string;
  readonly note: string;
  readonly unit: string;
  readonly of: (cell: ResultCell) => number | null;
  readonly limit?: (cell: ResultCell) => number | null;
  readonly isLogarithmic?: boolean;
};

const per = (figure: Figure | null, unit: number): number | null =>
  figure === null ? null : round(figure.median / unit);

const barFigures: readonly BarFigure[] = [
  {
    title: 'Total time',
    note: 'from the request until all is moved; less is better; no bar: it does not end by itself',
    unit: 's',
    of: (cell) => per(cell.totalMs, 1000),
    limit: (cell) => per(cell.limitMs, 1000),
  },
  {
    title: 'Downtime',
    note: 'as the mover says; less is better; logarithmic',
    unit: 'ms',
    of: (cell) => per(cell.downtimeMs, 1),
    isLogarithmic: true,
  },
  {
    title: 'Outage that a client sees',
    note: "the longest gap between the guest's heartbeats of 1 ms, during the move and 2 s after it; less is better; logarithmic",
    unit: 'ms',
    of: (cell) => per(cell.clientGapMs, 1),
    isLogarithmic: true,
  },
  {
    title: 'Bytes on the wire',
    note: 'both directions, counted at the link; less is better',
    unit: 'MiB',
    of: (cell) => per(cell.wireBytes, MIB),
    limit: (cell) => per(cell.limitBytes, MIB),
  },
  {
    title: 'Efficiency',
    note: 'the limit (needed pages once, zstd 3, at the rate of the link) as a part of the total time; more is better',
    unit: '%',
    of: (cell) => per(cell.efficiency, 0.01),
  },
  {
    title: "The guest's own work while it is moved",
    note: 'as a part of its rate before the move; more is better',
    unit: '%',
    of: (cell) => per(cell.workDuring, 0.01),
  },
  {
    title: 'What the move cost the guest',
    note: 'time that the guest lost for its own work, downtime included; less is better',
    unit: 'ms',
    of: (cell) => per(cell.workLostMs, 1),
  },
  {
    title: 'Processor time of moving',
    note: 'QEMU without its virtual processors, and agents, both hosts; less is better',
    unit: 's',
    of: ({ sourceCpuMs, destinationCpuMs }) =>
      sourceCpuMs && destinationCpuMs && round((sourceCpuMs.median + destinationCpuMs.median) / 1000),
  },
];

/** For people; a value of the chart needs no more than four digits. */
function round(value: number): number {
  return value === 0 ? 0 : Number(value.toPrecision(4));
}

/** One chart per figure that has a value, for the cases of a link that are not points of a scale. */
export function barCharts(cells: readonly ResultCell[], link: LinkName): BarOptions[] {
  const own = cells.filter((cell) => cell.link === link && caseOf(cell.case).scale === undefined);
  const categories = casesOf(own, link);
  const modes = modesOf(own, link);
  const cellOf = (name: string, mode: string): ResultCell | undefined =>
    own.find((cell) => cell.case === name && cell.mode === mode);
  return barFigures.flatMap(({ of, limit, ...words }) => {
    const series = modes.map((mode) => ({
      name: mode,
      color: colorOf(mode, modes),
      values: categories.map((name) => valueOf(cellOf(name, mode), of)),
    }));
    if (series.every(({ values }) => values.every((value) => value === null))) return [];
    const marks = limit && {
      name: 'limit',
      values: categories.map((name) =>
        valueOf(
          own.find((cell) => cell.case === name && limit(cell) !== null),
          limit,
        ),
      ),
    };
    return [{ ...words, categories, series, ...(marks !== undefined && { marks }) }];
  });
}

function valueOf(cell: ResultCell | undefined, of: (cell: ResultCell) => number | null): number | null {
  return cell === undefined ? null : of(cell);
}

/** Lines over memory, dirty rate, lanes and links, where the result has at least three points of them; slopes are in the notes. */
export function scalingCharts({ cells }: BenchResult): LineOptions[] {
  const scaled = (of: NonNullable<BenchCase['scale']>['of']) => (cell: ResultCell) => {
    const { scale } = caseOf(cell.case);
    return scale?.of === of ? scale.value : null;
  };
  const lanes = (cell: ResultCell): number | null => {
    const found = /^vmferry-lanes-(\d)$/.exec(cell.mode)?.[1];
    return found === undefined ? null : Number(found);
  };
  const linked = (cell: ResultCell): number | null =>
    caseOf(cell.case).scale === undefined && lanes(cell) === null ? linkBitsPerS[cell.link] / 1e6 : null;
  const byMode = ({ mode }: ResultCell): string => mode;
  const seconds = { unit: 's', of: (cell: ResultCell) => scaleFigure(cell.totalMs, 1000) };
  const downtime = { unit: 'ms', of: (cell: ResultCell) => cell.downtimeMs };
  // Beside QEMU's own modes they sleep.
  const agentBytes = ({ family, agentPeakBytes }: ResultCell): Figure | null =>
    family === 'vmferry' ? agentPeakBytes : null;
  const agents = { unit: 'MiB', of: (cell: ResultCell) => scaleFigure(agentBytes(cell), MIB) };
  const sent = { unit: 'GiB', of: (cell: ResultCell) => scaleFigure(cell.wireBytes, GIB) };
  const charts: readonly (LineFigure & { readonly title: string; readonly xName: string })[] = [
    {
      title: 'Total time by memory',
      xName: 'GiB of memory, three eighths of it full',
      x: scaled('memory'),
      name: byMode,
      ...seconds,
    },
    { title: 'Memory of both agents by memory', xName: 'GiB of memory', x: scaled('memory'), name: byMode, ...agents },
    { title: 'Total time by dirty rate', xName: 'MiB/s written', x: scaled('dirtyRate'), name: byMode, ...seconds },
    { title: 'Downtime by dirty rate', xName: 'MiB/s written', x: scaled('dirtyRate'), name: byMode, ...downtime },
    { title: 'Bytes by dirty rate', xName: 'MiB/s written', x: scaled('dirtyRate'), name: byMode, ...sent },
    {
      title: 'Total time by lanes',
      xName: 'lanes',
      x: lanes,
      name: (cell) => `${cell.case}, ${cell.link}`,
      ...seconds,
    },
    {
      ...{ title: 'Total time by link', xName: 'Mbit/s', x: linked, ...seconds, isLogarithmic: true },
      name: (cell) => `${cell.case}, ${cell.mode}`,
    },
  ];
  return charts.flatMap((chart) => lineOptions(cells, chart) ?? []);
}

type LineFigure = {
  readonly x: (cell: ResultCell) => number | null;
  readonly name: (cell: ResultCell) => string;
  readonly unit: string;
  readonly of: (cell: ResultCell) => Figure | null;
  readonly isLogarithmic?: boolean;
};
const POINTS_MIN = 3;
export const lineColors = ['#0b7a5c', '#34495e', '#e0943a', '#8e6bb0', '#5d86b5', '#b8575a'] as const;

function lineOptions(
  cells: readonly ResultCell[],
  { title, xName, x, name, unit, of, ...rest }: LineFigure & { readonly title: string; readonly xName: string },
): LineOptions | null {
  const lines = Map.groupBy(
    cells.filter((cell) => x(cell) !== null && of(cell) !== null),
    name,
  );
  const series = [...lines].flatMap(([line, own]) => {
    const points = own.map((cell) => [x(cell)!, of(cell)!.median] as const).sort(([a], [b]) => a - b);
    return points.length < POINTS_MIN ? [] : [{ name: line, points }];
  });
  if (series.length === 0) return null;
  const note = series
    .map(({ name: line, points }) => slopeText(line, points, rest.isLogarithmic === true, unit))
    .join('\n');
  const colored = series.map((each, index) => ({ ...each, color: lineColors[index % lineColors.length]! }));
  return { title, note, xName, unit, series: colored, ...rest };
}

/** On logarithmic axes the slope is an exponent: -1 is "ten times the link, a tenth of the time". */
function slopeText(
  name: string,
  points: readonly (readonly [number, number])[],
  isExponent: boolean,
  unit: string,
): string {
  const line = fitLine(isExponent ? points.map(([x, y]) => [Math.log(x), Math.log(y)] as const) : points);
  if (line === null) return name;
  return `${name}: slope ${line.slope.toPrecision(2)}${isExponent ? ' (exponent)' : ` ${unit} per step of 1`}`;
}

function scaleFigure(figure: Figure | null, unit: number): Figure | null {
  return figure && { median: figure.median / unit, min: figure.min / unit, max: figure.max / unit };
}
