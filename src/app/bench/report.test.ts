import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barCharts, scalingCharts } from './report-charts.ts';
import { renderHtml } from './report-html.ts';
import { renderMarkdown } from './report-markdown.ts';
import { resultOf, sampleOf } from './testing.ts';

const never = {
  outcome: 'failed',
  reason: 'The <move> did not become completed within 60000 ms',
  totalMs: null,
  downtimeMs: null,
  clientGapMs: null,
} as const;
const result = resultOf([
  sampleOf({ mode: 'vmferry-auto', totalMs: 1550, wireBytes: 82 * 2 ** 20, limitBytes: 50e6 }),
  sampleOf({ mode: 'qemu-default', totalMs: 9300, wireBytes: 1110 * 2 ** 20 }),
  sampleOf({ mode: 'vmferry-auto', case: 'fast', damage: 3 }),
  sampleOf({ mode: 'qemu-default', case: 'fast', ...never }),
]);

test('the Markdown has a row per case, a column per mode, and says what did not end', () => {
  const text = renderMarkdown(result);
  const rows = text.split('\n').filter((line) => line.startsWith('|'));
  assert.match(rows[0]!, /^\| case +\| vmferry-auto +\| qemu-default +\| limit +\|$/);
  assert.match(rows[2]!, /^\| slow +\| 1\.55 s \/ 40 ms \/ 82\.0 MiB +\| 9\.30 s .*1\.08 GiB +\| 400 ms +\|$/);
  assert.match(rows[3]!, /^\| fast +\| 2\.00 s .*\| does not end +\|/);
  assert.match(text, /total time: geometric mean 0\.17 over 1 cases/);
  assert.match(text, /Example 9000 <x>/);
  assert.match(text, /`vmferry bench --runs 3`/);
});

test('the HTML is whole in itself: no script, nothing loaded from elsewhere, no markup from outside', () => {
  const html = renderHtml(result);
  assert.ok(!/<script|<link|<img|@import|url\(|href=|src=/i.test(html));
  assert.ok(html.includes('Example 9000 &lt;x&gt;') && !html.includes('<x>'));
  assert.ok(html.includes('The &lt;move&gt; did not'));
});

test('the HTML has each figure of the table, and a drawing per chart', () => {
  const html = renderHtml(result);
  for (const text of ['1.55 s', '82.0 MiB', '9.30 s', 'does not end', '3 words damaged', '× 0.17', '400 ms']) {
    assert.ok(html.includes(text), text);
  }
  const count = barCharts(result.cells, '1gbit').length;
  assert.ok(count >= 7);
  assert.equal(html.match(/<svg/g)?.length, count);
  // ECharts writes the names of the axes as text.
  for (const text of ['Total time', 'Bytes on the wire', 'Efficiency', 'vmferry-auto', 'slow']) {
    assert.ok(html.includes(`>${text}</text>`), text);
  }
});

test('without modes of QEMU nothing is said to be divided by them', () => {
  const html = renderHtml(resultOf([sampleOf({ mode: 'vmferry-auto' }), sampleOf({ mode: 'vmferry-precopy' })]));
  assert.ok(html.includes('vmferry-precopy'));
  assert.ok(!/divided by|beside QEMU|-, -/.test(html));
});

test('a chart holds the medians of its cells, in order, and no bar for what did not end', () => {
  const total = barCharts(result.cells, '1gbit').find(({ title }) => title === 'Total time');
  assert.deepEqual(total?.categories, ['slow', 'fast']);
  assert.deepEqual(
    total?.series.map(({ name, values }) => [name, values]),
    [
      ['vmferry-auto', [1.55, 2]],
      ['qemu-default', [9.3, null]],
    ],
  );
  assert.deepEqual(total?.marks?.values, [0.4, null]);
});

test('points of a scale become lines with their slope', () => {
  const scaled = resultOf(
    [512, 1024, 2048].flatMap((mib) => [
      sampleOf({ mode: 'vmferry-auto', case: `memory-${mib}`, totalMs: mib * 2 + 100 }),
      sampleOf({ mode: 'qemu-default', case: `memory-${mib}`, totalMs: mib * 4 }),
    ]),
  );
  const [total] = scalingCharts(scaled);
  assert.equal(total?.title, 'Total time by memory');
  assert.match(total.note, /vmferry-auto: slope 2\.0 s .*\nqemu-default: slope 4\.1 s/);
  assert.deepEqual(total.series[0]?.points, [
    [0.5, 1.124],
    [1, 2.148],
    [2, 4.196],
  ]);
  assert.ok(renderHtml(scaled).includes('Total time by memory'));
  assert.equal(barCharts(scaled.cells, '1gbit').length, 0);
});
