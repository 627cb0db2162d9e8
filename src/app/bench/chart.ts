/**
 * Charts as SVG text, drawn by ECharts on the server side, so that a report needs no script. The one file that knows the library.
 */
import { BarChart, LineChart, ScatterChart } from 'echarts/charts';
import { GridComponent, LegendComponent, MarkAreaComponent, TitleComponent } from 'echarts/components';
import { init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';

use([
  ...[BarChart, LineChart, ScatterChart],
  ...[GridComponent, LegendComponent, MarkAreaComponent, TitleComponent],
  SVGRenderer,
]);

export type Series = {
  readonly name: string;
  readonly color: string;
  /** One for each category; null: no bar. */
  readonly values: readonly (number | null)[];
};

export type BarOptions = {
  readonly title: string;
  /** Below the title: what the figure is, what is better. */
  readonly note: string;
  readonly unit: string;
  readonly categories: readonly string[];
  readonly series: readonly Series[];
  /** A mark across each category's bars. */
  readonly marks?: { readonly name: string; readonly values: readonly (number | null)[] };
  readonly isLogarithmic?: boolean;
};

export type LineSeries = {
  readonly name: string;
  readonly color: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** `line`: without symbols, for many points; `points`: without lines, each a diamond. Default: both, as dots on a line. */
  readonly shape?: 'line' | 'points';
  readonly isDashed?: boolean;
};

export type LineOptions = {
  readonly title: string;
  readonly note: string;
  readonly xName: string;
  readonly unit: string;
  readonly series: readonly LineSeries[];
  /** Spans of the x axis, in pale colour. */
  readonly bands?: readonly { readonly name: string; readonly from: number; readonly to: number }[];
  /** Both axes logarithmic. */
  readonly isLogarithmic?: boolean;
};

export type ScatterOptions = Pick<LineOptions, 'title' | 'note' | 'xName' | 'unit'> & {
  readonly series: readonly Pick<LineSeries, 'name' | 'color' | 'points'>[];
  /** Horizontal lines. */
  readonly ranges: readonly { readonly low: number; readonly high: number; readonly y: number }[];
};

const WIDTH = 1160;
const BAR_HEIGHT = 420;
const LINE_WIDTH = 570;
const LINE_HEIGHT = 360;
const SCATTER_HEIGHT = 540;
const FONT = 'system-ui, sans-serif';
const TEXT = '#333';
const FAINT = '#777';
const GRID = '#e6e6e6';
const RANGE = 'rgba(52, 73, 94, 0.35)';
const BAND = 'rgba(52, 73, 94, 0.10)';
const BAR_WIDTH_MAX = 32;
/** Ends of a logarithmic axis are no round numbers. */
const ROUNDED = { color: TEXT, formatter: (value: number): string => String(Number(value.toPrecision(2))) };
/** Without a browser the width of a text is a guess, so there is room for a wrong one. */
const LEGEND = { bottom: 0, itemWidth: 14, itemHeight: 10, itemGap: 26, textStyle: { color: TEXT } };

export function barChart({ title, note, unit, categories, series, marks, isLogarithmic }: BarOptions): string {
  const bars = series.map(({ name, color, values }) => ({
    ...{ type: 'bar', name, barMaxWidth: BAR_WIDTH_MAX, barGap: '8%', barCategoryGap: '22%' },
    itemStyle: { color, borderRadius: [2, 2, 0, 0] },
    // On a logarithmic axis a bar begins at the axis' lower end.
    data: values.map((value) => (value === null ? '-' : value)),
  }));
  const mark = marks && {
    ...{
      type: 'scatter',
      name: marks.name,
      symbol: 'rect',
      symbolSize: [markWidth(categories.length, series.length), 3],
      z: 5,
    },
    itemStyle: { color: '#c0392b' },
    data: marks.values.map((value, index) => [categories[index], value ?? '-']),
  };
  return draw(WIDTH, BAR_HEIGHT, {
    ...frame(title, note),
    legend: LEGEND,
    grid: { left: 64, right: 16, top: 70, bottom: 74 },
    xAxis: { type: 'category', data: categories, axisLabel: { color: TEXT, interval: 0 }, axisTick: { show: false } },
    yAxis: { ...axis(unit), type: isLogarithmic === true ? 'log' : 'value' },
    series: mark === undefined ? bars : [...bars, mark],
  });
}

export function lineChart({ title, note, xName, unit, series, bands = [], isLogarithmic }: LineOptions): string {
  const type = isLogarithmic === true ? 'log' : 'value';
  const areas = bands.map(({ name, from, to }) => [{ name, xAxis: from }, { xAxis: to }]);
  const markArea = { silent: true, itemStyle: { color: BAND }, label: { color: FAINT, fontSize: 11 }, data: areas };
  const ends = series.flatMap(({ points }) => points.map(([x]) => x));
  return draw(LINE_WIDTH, LINE_HEIGHT, {
    ...frame(title, note),
    legend: LEGEND,
    grid: { left: 64, right: 24, top: 84, bottom: 74 },
    xAxis: { ...axis(xName), ...rangeOf(ends, type), type, nameLocation: 'middle', nameGap: 26 },
    yAxis: { ...axis(unit), type },
    series: series.map((each, index) => ({
      ...lineSeries(each),
      ...(index === 0 && areas.length > 0 && { markArea }),
    })),
  });
}

/** Measured over expected, with the diagonal on which they are equal. */
export function scatterChart({ title, note, xName, unit, series, ranges }: ScatterOptions): string {
  const values = [
    ...ranges.flatMap(({ low, high, y }) => [low, high, y]),
    ...series.flatMap(({ points }) => points.flat()),
  ];
  const ends = { min: Math.min(...values) / 1.1, max: Math.max(...values) * 1.1 };
  const diagonal = [
    [ends.min, ends.min],
    [ends.max, ends.max],
  ];
  // A place without a value ends a line.
  const bars = ranges.flatMap(({ low, high, y }) => [
    [low, y],
    [high, y],
    ['-', '-'],
  ]);
  const plain = { type: 'line', showSymbol: false, silent: true };
  return draw(LINE_WIDTH, SCATTER_HEIGHT, {
    ...frame(title, note),
    legend: { ...LEGEND, data: series.map(({ name }) => name) },
    grid: { left: 64, right: 24, top: 84, bottom: 74 },
    xAxis: { ...axis(xName), ...ends, type: 'log', nameLocation: 'middle', nameGap: 26, axisLabel: ROUNDED },
    yAxis: { ...axis(unit), ...ends, type: 'log', axisLabel: ROUNDED },
    series: [
      { ...plain, name: 'equal', data: diagonal, lineStyle: { color: FAINT, width: 1, type: 'dashed' } },
      { ...plain, name: 'range', data: bars, lineStyle: { color: RANGE, width: 2 } },
      ...series.map(({ name, color, points }) => ({
        ...{ type: 'scatter', name, symbolSize: 8, itemStyle: { color }, data: points, z: 3 },
      })),
    ],
  });
}

/** Of a linear axis that has values below 0: by itself it would have much room there. */
function rangeOf(xs: readonly number[], type: 'log' | 'value'): object {
  const min = Math.min(...xs);
  return type === 'value' && min < 0 ? { min: Math.floor(min), max: Math.ceil(Math.max(...xs)) } : {};
}

function lineSeries({ name, color, points, shape, isDashed }: LineSeries): object {
  const symbol = shape === 'line' ? { showSymbol: false } : { symbol: 'circle', symbolSize: 7 };
  const look =
    shape === 'points'
      ? { type: 'scatter', symbol: 'diamond', symbolSize: 14 }
      : { type: 'line', ...symbol, lineStyle: { color, width: 2, type: isDashed === true ? 'dashed' : 'solid' } };
  return { ...look, name, itemStyle: { color }, data: points };
}

/** As wide as the bars of a category together. */
function markWidth(categories: number, bars: number): number {
  return Math.min(((WIDTH - 80) / categories) * 0.8, bars * BAR_WIDTH_MAX * 1.1);
}

function frame(title: string, note: string): object {
  return {
    animation: false,
    backgroundColor: '#fff',
    textStyle: { fontFamily: FONT },
    title: {
      ...{ text: title, subtext: note, left: 0, top: 0, itemGap: 6 },
      textStyle: { fontSize: 16, fontWeight: 600, color: TEXT },
      subtextStyle: { fontSize: 12, color: FAINT },
    },
  };
}

function axis(name: string): object {
  return {
    name,
    nameTextStyle: { color: FAINT },
    axisLabel: { color: TEXT },
    splitLine: { lineStyle: { color: GRID } },
  };
}

function draw(width: number, height: number, option: Record<string, unknown>): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption(option);
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}
