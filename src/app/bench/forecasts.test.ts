import assert from 'node:assert/strict';
import { test } from 'node:test';
import { samplePlan } from '../../core/api/testing.ts';
import type { Sample } from './samples.ts';
import { forecastsOf } from './forecasts.ts';
import { accuracyRows, foretoldRows, scatterCharts } from './forecast-report.ts';
import { scatterChart } from './chart.ts';
import { renderHtml } from './report-html.ts';
import { renderMarkdown } from './report-markdown.ts';
import { resultOf, sampleOf } from './testing.ts';

/** Expected 2500 ms (2000 to 3250), 120 ms and 110 MB. */
const [prediction] = samplePlan.predictions;
assert.ok(prediction !== undefined);
const predicted = { ...prediction, facts: samplePlan.facts };

function foretold(totalMs: number, change: Partial<Sample> = {}): Sample {
  const forecast = {
    ...{ predicted, measured: { totalMs, downtimeMs: 120, wireBytes: 220e6 } },
    ...{ pages: { sent: 10, resent: 1, zero: 5, pruned: null }, resentBytes: 100 },
  };
  return sampleOf({ mode: 'vmferry-auto', forecast, ...change });
}

test('errors are medians of what was measured against what was expected; moves without both do not count', () => {
  const found = forecastsOf([
    foretold(2500),
    foretold(2750, { mode: 'vmferry-precopy' }),
    foretold(5000, { link: '100mbit' }),
    sampleOf({ mode: 'qemu-default' }),
    foretold(1, { outcome: 'failed' }),
  ]);
  assert.ok(found !== null);
  assert.equal(found.moves.length, 3);
  const [total, downtime, bytes] = found.accuracy;
  assert.ok(Math.abs(total!.medianError - 0.1) < 1e-9 && Math.abs(total!.insideShare - 2 / 3) < 1e-9);
  assert.deepEqual([downtime!.medianError, downtime!.insideShare], [0, 1]);
  assert.deepEqual([bytes!.medianError, bytes!.insideShare], [1, 0]);
  assert.equal(forecastsOf([sampleOf({ mode: 'vmferry-auto' })]), null);
});

test('a case counts once, by the median of its runs', () => {
  const slow = [3000, 5000, 3500].map((totalMs, i) => foretold(totalMs, { run: i + 1 }));
  const found = forecastsOf([...slow, foretold(2500, { mode: 'vmferry-precopy' })])!;
  const [total] = found.accuracy;
  assert.ok(Math.abs(total!.medianError - (0.4 + 0) / 2) < 1e-9, 'errors of 40 and of 0 %');
  assert.ok(Math.abs(total!.medianErrorOfMoves - (0.2 + 0.4) / 2) < 1e-9, 'of 0, 20, 40 and 100 %');
});

test('what the history did to a prediction is told apart', () => {
  const correction = { totalMs: 2, downtimeMs: 1, wireBytes: 1, moves: 4 };
  const sample = foretold(1250);
  const forecast = { ...sample.forecast!, predicted: { ...predicted, correction } };
  const [total] = forecastsOf([{ ...sample, forecast }])!.accuracy;
  assert.deepEqual([total!.medianError, total!.medianErrorUncorrected], [0.5, 0]);
});

test('reports say what passes and what misses, and mark what was outside', () => {
  const found = forecastsOf([foretold(2500), foretold(5000), foretold(2500)])!;
  assert.deepEqual(accuracyRows(found)[0], [
    ...['total time', '0 %', '0 %', 'at most 10 %: pass'],
    ...['0 %', '67 %', 'at least 80 %: miss'],
  ]);
  assert.match(foretoldRows(found)[1]![3]!, /^2\.50 s \(2\.00 s to 3\.25 s\): 5\.00 s \*$/);
  const result = resultOf([foretold(2500), foretold(5000, { run: 2 })]);
  assert.match(renderMarkdown(result), /\| total time +\| 50 %/);
  const html = renderHtml(result);
  assert.ok(html.includes('measured over expected') && html.includes('2.00 s to 3.25 s'));
});

test('a chart has the diagonal, a point per move and a line per range', () => {
  const [total] = scatterCharts(forecastsOf([foretold(2500), foretold(5000)])!);
  assert.deepEqual(total!.series[0]!.points, [
    [2.5, 2.5],
    [2.5, 5],
  ]);
  assert.deepEqual(total!.ranges[1], { low: 2, high: 3.25, y: 5 });
  assert.match(scatterChart(total!), /^<svg/);
});
