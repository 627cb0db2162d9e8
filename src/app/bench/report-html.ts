/**
 * A result as one HTML file that needs nothing else: no script, no font, no picture from elsewhere. Pure; the charts are drawn
 * by chart.ts.
 */
import { formatMs } from '../../core/model/units.ts';
import { caseOf } from './cases.ts';
import { barChart, lineChart, scatterChart } from './chart.ts';
import { comparedFigures } from './comparisons.ts';
import { escape, htmlPage } from './html-page.ts';
import {
  accuracyHeader,
  accuracyRows,
  foretoldHeader,
  foretoldRows,
  introduction,
  scatterCharts,
} from './forecast-report.ts';
import { barCharts, scalingCharts } from './report-charts.ts';
import { modeOf, referenceMode } from './modes.ts';
import {
  bytesText,
  casesOf,
  comparisonOf,
  endText,
  linksOf,
  modesOf,
  ratioText,
  serverHeader,
  serverRows,
  timeText,
} from './report-markdown.ts';
import type { BenchResult, ResultCell } from './results.ts';
import type { Figure } from './statistics.ts';
import type { LinkName } from '../lab/plan.ts';

export function renderHtml(result: BenchResult): string {
  const links = linksOf(result.cells);
  const scaling = scalingSection(result);
  const title = hasNative(result) ? "vmferry beside QEMU's own migration" : "Moves by vmferry's modes";
  return htmlPage('vmferry bench', title, result, [
    tiles(result),
    scaling,
    ...links.map((link) => linkSection(result, link, scaling === '')),
    serverSection(result),
    forecastSection(result),
    howToRead,
  ]);
}

/** Without QEMU's own modes there is nothing to divide by. */
function hasNative({ cells }: BenchResult): boolean {
  return cells.some(({ family }) => family === 'qemu');
}

const figureWords = {
  totalMs: 'total time',
  downtimeMs: 'downtime',
  clientGapMs: 'outage seen by a client',
  wireBytes: 'bytes on the wire',
} as const;

/** Geometric means of the mode that is compared. */
function tiles(result: BenchResult): string {
  const summary = result.summaries.find(({ mode }) => mode === referenceMode);
  if (summary === undefined || !hasNative(result)) return '';
  const each = comparedFigures.flatMap((figure) => {
    const mean = summary.figures[figure];
    if (mean === null) return [];
    const { geometricMean, cases, worst } = mean;
    const text = `geometric mean over ${cases} ${cases === 1 ? 'case' : 'cases'}, worst ${ratioText(worst.ratio)} (${worst.case})`;
    const kind = geometricMean > 1 ? 'tile behind' : 'tile';
    return [
      `<div class="${kind}">${figureWords[figure]}<b>× ${ratioText(geometricMean)}</b><small>${escape(text)}</small></div>`,
    ];
  });
  return `<p>${referenceMode}, divided by the best of QEMU's own modes of each case:</p>\n<div class="tiles">${each.join('')}</div>`;
}

/** Lines over a scale tell more than bars of the same cells would. */
function linkSection(result: BenchResult, link: LinkName, hasBars: boolean): string {
  const bars = hasBars ? barCharts(result.cells, link) : [];
  const charts = bars.map((options) => `<figure>${barChart(options)}</figure>`);
  return `<section>
<h2>Link of ${link.replace('mbit', ' Mbit/s').replace('gbit', ' Gbit/s')}</h2>
${mainTable(result, link)}
${charts.join('\n')}
</section>`;
}

function mainTable(result: BenchResult, link: LinkName): string {
  const cells = result.cells.filter((cell) => cell.link === link);
  const modes = modesOf(cells, link);
  const head = ['case', ...modes, 'limit']
    .map((name) => `<th title="${escape(aboutMode(name))}">${nameParts(name)}</th>`)
    .join('');
  const rows = casesOf(cells, link).map((name) => {
    const own = cells.filter((cell) => cell.case === name);
    const best = Math.min(...own.map((cell) => cell.totalMs?.median ?? Infinity));
    const limit = own.find(({ limitMs }) => limitMs !== null);
    const limitText = `${timeText(limit?.limitMs ?? null)}<small>${bytesText(limit?.limitBytes ?? null)}</small>`;
    const data = modes.map((mode) =>
      tableCell(
        result,
        own.find((cell) => cell.mode === mode),
        best,
      ),
    );
    return `<tr><td><b>${name}</b><small>${escape(caseOf(name).about)}</small></td>${data.join('')}<td>${limitText}</td></tr>`;
  });
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table></div>
<p class="notes">In each place: total time, downtime, bytes on the wire; medians, with the smallest and largest as tool tips.
${hasNative(result) ? "Below vmferry's figures: total time and bytes divided by the best of QEMU's own modes. " : ''}Green: the fastest of a case.</p>`;
}

/** "qemu-multifd-zstd" in two lines, so that many modes fit side by side. */
function nameParts(name: string): string {
  const [family = '', ...rest] = name.split('-');
  return rest.length === 0 ? family : `<small>${escape(family)}</small>${escape(rest.join('-'))}`;
}

function aboutMode(name: string): string {
  return name === 'case'
    ? ''
    : name === 'limit'
      ? 'the least that has to be sent, at the rate of the link'
      : modeOf(name).about;
}

function tableCell(result: BenchResult, cell: ResultCell | undefined, best: number): string {
  if (cell === undefined) return '<td></td>';
  if (cell.totalMs === null) return `<td class="never" title="${escape(cell.reason ?? '')}">${endText(cell)}</td>`;
  const kind = cell.damage > 0 ? 'damaged' : cell.totalMs.median === best ? 'best' : '';
  const part = cell.outcome === 'completed' ? '' : `<small>${cell.completed} of ${cell.runs} completed</small>`;
  const damaged = cell.damage > 0 ? `<small>${cell.damage} words damaged</small>` : '';
  const title = `total ${rangeText(cell.totalMs)}; downtime ${rangeText(cell.downtimeMs)}; client ${rangeText(cell.clientGapMs)}`;
  const figures = `${timeText(cell.totalMs)}<small>${timeText(cell.downtimeMs)}</small><small>${bytesText(cell.wireBytes)}</small>`;
  return `<td class="${kind}" title="${escape(title)}">${figures}${part}${damaged}${ratios(result, cell)}</td>`;
}

function ratios(result: BenchResult, cell: ResultCell): string {
  const against = comparisonOf(result, cell)?.against;
  if (against === undefined || !hasNative(result)) return '';
  const one = (ratio: number | undefined): string =>
    ratio === undefined ? '-' : `<span class="ratio${ratio > 1 ? ' behind' : ''}">× ${ratioText(ratio)}</span>`;
  return `<small>${one(against.totalMs?.ratio.median)}, ${one(against.wireBytes?.ratio.median)}</small>`;
}

function rangeText(figure: Figure | null): string {
  return figure === null ? 'unknown' : `${formatMs(figure.min)} to ${formatMs(figure.max)}`;
}

function serverSection({ cells }: BenchResult): string {
  const rows = serverRows(cells).map((row) => `<tr>${row.map((text) => `<td>${escape(text)}</td>`).join('')}</tr>`);
  if (rows.length === 0) return '';
  const head = serverHeader.map((title) => `<th>${title}</th>`).join('');
  return `<section><h2>What clients of the servers saw</h2>
<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table></div>
<p class="notes">From before the move until after it. Failed: not answered, answered wrongly, or an acknowledged write that is gone.</p></section>`;
}

function forecastSection({ forecasts }: BenchResult): string {
  if (forecasts === null) return '';
  const table = (header: readonly string[], rows: readonly string[][]): string =>
    `<div class="scroll"><table><thead><tr>${header.map((title) => `<th>${title}</th>`).join('')}</tr></thead><tbody>
${rows.map((row) => `<tr>${row.map((text) => `<td>${escape(text)}</td>`).join('')}</tr>`).join('\n')}\n</tbody></table></div>`;
  const charts = scatterCharts(forecasts).map((options) => `<figure>${scatterChart(options)}</figure>`);
  return `<section><h2>Predictions</h2>
<p class="notes">${introduction(forecasts)}</p>
${table(accuracyHeader, accuracyRows(forecasts))}
<div class="pair">${charts.join('\n')}</div>
${table(foretoldHeader, foretoldRows(forecasts))}
<p class="notes">Expected (10th to 90th percentile): measured; with an asterisk what was outside.</p></section>`;
}

function scalingSection(result: BenchResult): string {
  const charts = scalingCharts(result).map((options) => `<figure>${lineChart(options)}</figure>`);
  return charts.length === 0 ? '' : `<section><h2>Scaling</h2><div class="pair">${charts.join('\n')}</div></section>`;
}

const howToRead = `<section class="notes"><h2>How to read this</h2><ul>
<li><b>Total time</b> is from the request until the guest runs at the destination and all of its memory is there. The start of QEMU at the
destination belongs to it for all, vmferry's checks and its encryption, too; QEMU's own modes send in the clear.</li>
<li><b>Downtime</b> is what each mover says; the <b>outage seen by a client</b> is measured in the same way for all, at the network.</li>
<li>A mode that does not end by itself within the time-out is an <b>outcome</b>, no number: it takes no part in ratios. Where none of QEMU's
modes ends, a case has no ratio.</li>
<li>The best native mode is chosen <b>per case and figure</b>; downtimes are compared with pre-copies only. Ratios are taken within a run, then
the median.</li>
<li>The <b>limit</b> is what has to be sent at least: pages that are neither zero, nor free, nor clean file cache, each once, compressed by
zstd at level 3, at the rate of the link.</li>
</ul><p>More in docs/benchmarks.md.</p></section>`;
