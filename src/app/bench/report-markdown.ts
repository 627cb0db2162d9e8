/** A result as Markdown, which is also what the command prints: the main table, the ratios, what it was measured on. Pure. */
import { formatBytes, formatMs } from '../../core/model/units.ts';
import type { LinkName } from '../lab/plan.ts';
import type { Against, Comparison, Summary } from './comparisons.ts';
import { accuracyHeader, accuracyRows, foretoldHeader, foretoldRows, introduction } from './forecast-report.ts';
import type { BenchResult, Measured, ResultCell } from './results.ts';
import type { Figure } from './statistics.ts';

/** A cell of the table: the medians of total time, downtime and bytes on the wire; or how it ended. */
export function cellText(cell: ResultCell | undefined): string {
  if (cell === undefined) return '';
  if (cell.totalMs === null) return endText(cell);
  const figures = [timeText(cell.totalMs), timeText(cell.downtimeMs), bytesText(cell.wireBytes)].join(' / ');
  return cell.outcome === 'completed' ? figures : `${figures} (${cell.completed} of ${cell.runs})`;
}

/** Of a cell without a completed move. */
export function endText({ reason }: ResultCell): string {
  return reason !== null && /did not become \w+ within/.test(reason) ? 'does not end' : 'fails';
}

export function timeText(figure: Figure | null): string {
  return figure === null ? '-' : formatMs(figure.median);
}

export function bytesText(figure: Figure | null): string {
  return figure === null ? '-' : formatBytes(figure.median);
}

export function ratioText(ratio: number): string {
  return ratio.toFixed(2);
}

export function machineText({ machine, versions }: Measured): string {
  const how = machine.accelerator === 'kvm' ? 'guests under KVM' : 'guests in software emulation';
  const memory = formatBytes(machine.memoryBytes);
  const hardware = `${machine.processors} processors (${machine.processor}), ${memory}, ${how}`;
  return `${hardware}; ${machine.system}, ${machine.kernel}; QEMU ${versions.qemu}, vmferry ${versions.vmferry}, Node.js ${versions.node}`;
}

/** The links of the cells, and the cases and modes of one link, in the order of the result. */
export function linksOf(cells: readonly ResultCell[]): LinkName[] {
  return [...new Set(cells.map(({ link }) => link))];
}
export function casesOf(cells: readonly ResultCell[], link: LinkName): string[] {
  return [...new Set(cells.filter((cell) => cell.link === link).map((cell) => cell.case))];
}
export function modesOf(cells: readonly ResultCell[], link: LinkName): string[] {
  return [...new Set(cells.filter((cell) => cell.link === link).map(({ mode }) => mode))];
}

export function renderMarkdown(result: BenchResult): string {
  return `${resultLines(result).join('\n')}\n`;
}

export function resultLines(result: BenchResult): string[] {
  const tables = linksOf(result.cells).flatMap((link) => [
    '',
    `Link ${link}; total time / downtime / bytes on the wire, medians:`,
    '',
    ...mainTable(result.cells, link),
  ]);
  return [
    ...tables.slice(1),
    '',
    ...(result.comparisons.every(({ against }) => Object.values(against).every((each) => each === null))
      ? []
      : ratioLines(result)),
    ...serverLines(result.cells),
    ...forecastLines(result),
    ...measuredLines(result),
  ];
}

export function measuredLines(measured: Measured): string[] {
  const { date, until, command } = measured;
  return [`${machineText(measured)}.`, `Measured from ${date} to ${until} by \`${command}\`.`];
}

/** Rows of a Markdown table: cases down, modes across. */
export function mainTable(cells: readonly ResultCell[], link: LinkName): string[] {
  const modes = modesOf(cells, link);
  const rows = casesOf(cells, link).map((name) => {
    const own = cells.filter((cell) => cell.link === link && cell.case === name);
    const limitMs = own.find((cell) => cell.limitMs !== null)?.limitMs ?? null;
    return [name, ...modes.map((mode) => cellText(own.find((cell) => cell.mode === mode))), timeText(limitMs)];
  });
  return markdownTable(['case', ...modes, 'limit'], rows);
}

/** Empty where no guest is a server. */
export function serverRows(cells: readonly ResultCell[]): string[][] {
  return cells.flatMap(({ case: name, link, mode, server }) => {
    if (server === null) return [];
    const { requests, failures, lostConnections, longestGapMs } = server;
    return [[name, link, mode, ...[requests, failures, lostConnections].map(String), formatMs(longestGapMs)]];
  });
}
export const serverHeader = ['server', 'link', 'mode', 'requests', 'failed', 'connections lost', 'longest gap'];

function serverLines(cells: readonly ResultCell[]): string[] {
  const rows = serverRows(cells);
  if (rows.length === 0) return [];
  return [
    'What a client of the server saw, from before the move until after it:',
    '',
    ...markdownTable(serverHeader, rows),
    '',
  ];
}

function forecastLines({ forecasts }: BenchResult): string[] {
  if (forecasts === null) return [];
  return [
    introduction(forecasts),
    '',
    ...markdownTable(accuracyHeader, accuracyRows(forecasts)),
    '',
    'Expected (10th to 90th percentile): measured; with an asterisk what was outside.',
    '',
    ...markdownTable(foretoldHeader, foretoldRows(forecasts)),
    '',
  ];
}

function ratioLines({ comparisons, summaries }: BenchResult): string[] {
  const rows = comparisons.map((each) => [
    each.case,
    each.link,
    each.mode,
    ...[each.against.totalMs, each.against.downtimeMs, each.against.clientGapMs, each.against.wireBytes].map(
      againstText,
    ),
  ]);
  return [
    "Divided by the best of QEMU's own modes, each figure's own best (downtime and gap: of its pre-copies):",
    '',
    ...markdownTable(['case', 'link', 'mode', 'total', 'downtime', 'gap', 'bytes'], rows),
    '',
    ...summaries.flatMap(summaryLines),
    '',
  ];
}

export function againstText(against: Against): string {
  return against === null ? '-' : `${ratioText(against.ratio.median)} (${against.mode})`;
}

/** One sentence per figure: geometric mean, number of cases, worst case. */
export function summaryLines({ mode, figures }: Summary): string[] {
  const words = {
    totalMs: 'total time',
    downtimeMs: 'downtime',
    clientGapMs: 'gap seen by a client',
    wireBytes: 'bytes',
  };
  return Object.entries(words).flatMap(([name, what]) => {
    const mean = figures[name as keyof typeof words];
    if (mean === null) return [];
    const worst = `at most ${ratioText(mean.worst.ratio)} (${mean.worst.case}, ${mean.worst.link})`;
    return [`- ${mode}, ${what}: geometric mean ${ratioText(mean.geometricMean)} over ${mean.cases} cases, ${worst}.`];
  });
}

export function comparisonOf(result: BenchResult, cell: ResultCell): Comparison | undefined {
  return result.comparisons.find((one) => one.case === cell.case && one.link === cell.link && one.mode === cell.mode);
}

export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, column) => Math.max(3, title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, n) => cell.padEnd(widths[n]!)).join(' | ')} |`;
  return [line(header), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)];
}
