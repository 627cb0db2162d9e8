/** The report of a migration as a table for people. Pure. */
import { stageNames } from '../../core/model/migration.ts';
import type { CpuMs, MigrationReport, RoundReport, StageName } from '../../core/model/migration.ts';
import { switchoverText } from '../../core/model/switchover.ts';
import { formatBytes, formatMs, formatRate, PAGE_BYTES } from '../../core/model/units.ts';
import { outcomeText, stageWords } from './migration-words.ts';
import { foretoldText } from './prediction-text.ts';
import { formatTable } from './table.ts';

export function renderReport(report: MigrationReport): string[] {
  return [outcomeText(report), '', ...stageTable(report), '', ...factTable(report)];
}

/** Stages and rounds with times that add up to the total as they are printed. */
function stageTable(report: MigrationReport): string[] {
  const stages = roundToSum(
    stageNames.map((stage) => report.stagesMs[stage]),
    Math.round(report.totalMs),
  );
  const rows = stageNames.flatMap((stage, index) => {
    const row = [stageWords[stage], seconds(stages[index] ?? 0), ...sentIn(report, stage)];
    return stage === 'preCopy' ? [row, ...roundRows(report)] : [row];
  });
  const total = [
    'total',
    seconds(Math.round(report.totalMs)),
    formatBytes(report.bytes.wire),
    pages(report.pages.sent),
    '',
  ];
  return formatTable(['stage', 'time', 'wire', 'sent', 'dirtied'], [...rows, total], 'lrrrr');
}

/** Wire bytes, pages and dirtied pages of a stage that sends any. */
function sentIn({ rounds }: MigrationReport, stage: StageName): string[] {
  const own = rounds.filter((round) => round.stage === stage);
  if (own.length === 0) return ['', '', ''];
  const sum = (of: (round: RoundReport) => number): number => own.reduce((total, round) => total + of(round), 0);
  const dirtied = stage === 'preCopy' ? pages(sum((round) => round.pagesDirtied)) : '';
  return [formatBytes(sum((round) => round.wireBytes)), pages(sum((round) => round.pagesSent)), dirtied];
}

function roundRows({ rounds }: MigrationReport): string[][] {
  const own = rounds.filter((round) => round.stage === 'preCopy');
  return own.map(({ round, ms, wireBytes, pagesSent, pagesDirtied }) => [
    `  round ${round}`,
    `(${seconds(Math.round(ms))})`,
    formatBytes(wireBytes),
    pages(pagesSent),
    pages(pagesDirtied),
  ]);
}

function factTable(report: MigrationReport): string[] {
  const { pages: counts, bytes, options, cpuMs } = report;
  const foretold = foretoldText(report);
  const rate = report.totalMs > 0 ? ` (${formatRate((bytes.wire * 1000) / report.totalMs)} on average)` : '';
  const kinds = [
    `${pages(counts.sent)} sent`,
    `${pages(counts.resent)} of them again`,
    `${pages(counts.zero)} zero`,
    ...(counts.pruned === null ? [] : [`${pages(counts.pruned)} pruned`]),
    ...(counts.delta === null ? [] : [`${pages(counts.delta)} as deltas`]),
    ...(counts.unchanged === null ? [] : [`${pages(counts.unchanged)} unchanged`]),
    ...(counts.pulled === null ? [] : [`${pages(counts.pulled)} pulled`]),
  ];
  const rows = [
    ['downtime', report.downtimeMs === null ? 'none' : `${formatMs(report.downtimeMs)}${targetText(report)}`],
    ['on the wire', `${formatBytes(bytes.wire)}${rate}, ${formatBytes(bytes.resent)} of it pages sent again`],
    [
      'guest memory',
      `${formatBytes(counts.total * PAGE_BYTES)}, ${formatBytes(bytes.raw)} of it sent before compression`,
    ],
    ['pages', kinds.join(', ')],
    ...(foretold === null ? [] : [['expected', foretold]]),
    ['CPU time', `source ${cpuText(cpuMs.source)}; destination ${cpuText(cpuMs.destination)}`],
    ['verified', verifiedText(report)],
    ...report.notes.map((note) => ['note', note]),
    ['ended because', whyEnded(report)],
    [
      'migration',
      `${report.id}, strategy ${report.strategy}, compression ${options.compress}, deltas ${options.delta}, ${options.lanes} ${options.lanes === 1 ? 'lane' : 'lanes'}`,
    ],
  ];
  return formatTable(['', ''], rows, 'll').slice(1);
}

function verifiedText({ verified, pages: { pruned } }: MigrationReport): string {
  if (!verified) return 'no';
  return (pruned ?? 0) > 0
    ? 'every page that the guest needs is equal on both sides'
    : 'every page is equal on both sides';
}

/** Not every strategy goes by the target. */
function targetText({ strategy, options }: MigrationReport): string {
  return strategy === 'mplm' || strategy === 'postcopy' ? '' : ` (target ${formatMs(options.downtimeTargetMs)})`;
}

function whyEnded({ outcome, reason, switchover }: MigrationReport): string {
  return outcome === 'completed' && switchover !== null ? switchoverText(switchover) : reason;
}

function cpuText({ agent, qemu }: CpuMs): string {
  const text = (ms: number | null): string => (ms === null ? 'unknown' : formatMs(ms));
  return `agent ${text(agent)}, QEMU ${text(qemu)}`;
}

/** Thousands apart by a blank: "202 144". */
function pages(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ' ');
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(3)} s`;
}

/**
 * Whole numbers near the given ones with exactly this sum (largest remainder first), so that a printed column adds up.
 * What the given numbers lack to the sum, beyond rounding, goes to the largest of them.
 */
export function roundToSum(values: readonly number[], sum: number): number[] {
  const rounded = values.map(Math.floor);
  let missing = sum - rounded.reduce((total, value) => total + value, 0);
  const byRemainder = values
    .map((value, index) => ({ index, remainder: value - Math.floor(value) }))
    .sort((a, b) => b.remainder - a.remainder || a.index - b.index);
  for (const { index, remainder } of byRemainder) {
    if (missing <= 0 || remainder === 0) break;
    rounded[index] = (rounded[index] ?? 0) + 1;
    missing--;
  }
  const largest = rounded.indexOf(Math.max(...rounded));
  if (largest >= 0) rounded[largest] = (rounded[largest] ?? 0) + missing;
  return rounded;
}
