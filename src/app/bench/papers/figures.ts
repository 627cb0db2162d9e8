/** Pieces of charts and tables that papers share. Pure. */
import { formatMs } from '../../../core/model/units.ts';
import type { LineSeries } from '../chart.ts';
import { colorOf } from '../report-charts.ts';
import type { Series as TimeSeries } from '../samples.ts';

export const oursColor = '#0b7a5c';
export const theirsColor = '#34495e';
export const thirdColor = '#e0943a';

/** The colour of a mode among those of a chart. */
export function modeColor(mode: string, modes: readonly string[]): string {
  return colorOf(mode, modes);
}

/** No more digits than a reader wants. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

/** "1.23 s", "does not end", "-" of what was not made. */
export function timeOrEnd(ms: number | null): string {
  if (ms === null) return '-';
  return ms === Infinity ? 'does not end' : formatMs(ms);
}

export function percentText(part: number): string {
  return `${(part * 100).toFixed(0)} %`;
}

/** Samples of a tenth of a second, taken together by so many: counters come in steps. */
const TOGETHER = 3;

/**
 * Points (seconds since the request, value per second) of a column of what happened in each interval, until `untilS`; `unit` is what one of the chart
 * is, per second.
 */
export function overTime(
  { atMs, stepMs }: TimeSeries,
  column: readonly number[],
  unit: number,
  untilS: number,
): [number, number][] {
  const points: [number, number][] = [];
  for (let first = 0; first + TOGETHER <= atMs.length; first += TOGETHER) {
    const lastAt = atMs[first + TOGETHER - 1]!;
    const spanMs = sum(stepMs.slice(first, first + TOGETHER));
    if (lastAt / 1000 > untilS || spanMs <= 0) continue;
    const perS = (sum(column.slice(first, first + TOGETHER)) / spanMs) * 1000;
    points.push([rounded((lastAt - spanMs / 2) / 1000), rounded(perS / unit)]);
  }
  return points;
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}

/** Of two columns, place by place. */
export function added(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, index) => value + (b[index] ?? 0));
}

export function smoothLine(name: string, color: string, points: LineSeries['points']): LineSeries {
  return { name, color, points, shape: 'line' };
}
