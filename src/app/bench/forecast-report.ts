/** The accuracy of predictions in reports: tables of text, and charts of what was measured over what was expected. Pure. */
import { formatBytes, formatMs, MIB } from '../../core/model/units.ts';
import type { PredictedFigure } from '../../core/model/prediction.ts';
import type { ScatterOptions } from './chart.ts';
import { errorBars, INSIDE_BAR, isInside } from './forecasts.ts';
import type { Accuracy, ForecastMove, Forecasts } from './forecasts.ts';
import { colorOf } from './report-charts.ts';

type FigureWords = {
  readonly name: string;
  readonly unit: string;
  readonly scale: number;
  readonly format: (value: number) => string;
};

const words: Readonly<Record<PredictedFigure, FigureWords>> = {
  totalMs: { name: 'total time', unit: 's', scale: 1000, format: formatMs },
  downtimeMs: { name: 'downtime', unit: 'ms', scale: 1, format: formatMs },
  wireBytes: { name: 'bytes on the wire', unit: 'MiB', scale: MIB, format: formatBytes },
};

/** What the table and the charts below it show. */
export function introduction({ moves }: Forecasts): string {
  return (
    `What was expected just before each of ${moves.length} moves, and what its report then said. In the first median error a case ` +
    '(link, guest and mode) counts once, by the median of measured / expected over its runs. Lines in the charts are ranges, from ' +
    'the 10th to the 90th percentile; both axes are logarithmic.'
  );
}

export const accuracyHeader = [
  ...['figure', 'median error of cases', 'without history', 'bar'],
  ...['of single moves', 'within its range', 'bar'],
];

export function accuracyRows({ accuracy }: Forecasts): string[][] {
  return accuracy.map(({ figure, medianError, medianErrorOfMoves, medianErrorUncorrected, insideShare }) => [
    words[figure].name,
    percent(medianError),
    percent(medianErrorUncorrected),
    verdict(medianError <= errorBars[figure], `at most ${percent(errorBars[figure])}`),
    percent(medianErrorOfMoves),
    percent(insideShare),
    verdict(insideShare >= INSIDE_BAR, `at least ${percent(INSIDE_BAR)}`),
  ]);
}

export const foretoldHeader = ['case', 'link', 'mode', 'total time', 'downtime', 'on the wire', 'limited by'];

/** Of each move: what was expected, its range, what it was; an asterisk where that is outside of the range. */
export function foretoldRows({ moves }: Forecasts): string[][] {
  return moves.map((move) => [
    ...[move.case, move.link, move.mode],
    ...(['totalMs', 'downtimeMs', 'wireBytes'] as const).map((figure) => foretold(move, figure)),
    move.predicted.limitedBy,
  ]);
}

function foretold(move: ForecastMove, figure: PredictedFigure): string {
  const { format } = words[figure];
  const { low, expected, high } = move.predicted[figure];
  const mark = isInside(move, figure) ? '' : ' *';
  return `${format(expected)} (${format(low)} to ${format(high)}): ${format(move.measured[figure])}${mark}`;
}

/** One chart per figure. */
export function scatterCharts({ moves, accuracy }: Forecasts): ScatterOptions[] {
  const modes = [...new Set(moves.map(({ mode }) => mode))];
  return accuracy.map(({ figure, ...found }) => {
    const { name, unit, scale } = words[figure];
    const places = moves.map(({ mode, predicted, measured }) => ({
      mode,
      low: predicted[figure].low / scale,
      expected: predicted[figure].expected / scale,
      high: predicted[figure].high / scale,
      measured: measured[figure] / scale,
    }));
    return {
      title: `${name[0]!.toUpperCase()}${name.slice(1)}: measured over expected`,
      note: noteOf(found),
      ...{ xName: `expected, ${unit}`, unit: `measured, ${unit}` },
      series: modes.map((mode) => ({
        ...{ name: mode, color: colorOf(mode, modes) },
        points: places.filter((place) => place.mode === mode).map((place) => [place.expected, place.measured] as const),
      })),
      ranges: places.map(({ low, high, measured }) => ({ low, high, y: measured })),
    };
  });
}

function noteOf({ medianError, medianErrorOfMoves, insideShare }: Omit<Accuracy, 'figure'>): string {
  return `median error of cases ${percent(medianError)}, of moves ${percent(medianErrorOfMoves)}; ${percent(insideShare)} within the range`;
}

function verdict(isMet: boolean, bar: string): string {
  return `${bar}: ${isMet ? 'pass' : 'miss'}`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
