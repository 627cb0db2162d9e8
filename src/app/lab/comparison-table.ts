/** A comparison as text for people: one table, and one sentence that says no more than the figures. Pure. */
import { formatBytes, formatMs } from '../../core/model/units.ts';
import { ratiosOf, rowsOf } from './comparison.ts';
import type { ModeRatio, ModeRow, MoveSample } from './comparison.ts';

const header = ['', 'total', 'downtime', 'longest gap', 'on the wire', 'corrupted words', 'outcome'];

/** `back`: vmferry's move back, shown below its first row. */
export function renderComparison(samples: readonly MoveSample[], back: MoveSample | null): string[] {
  const rows = rowsOf(samples).flatMap((row) => {
    const own = [cellsOf(row.mode, row)];
    return row.mode === 'vmferry' && back !== null ? [...own, cellsOf('vmferry, back', back)] : own;
  });
  return alignColumns([header, ...rows]);
}

/** "vmferry took 41 % of the time, 37 % of the bytes and ... of qemu-default; no word of the guest was corrupted." */
export function renderConclusion(samples: readonly MoveSample[]): string {
  const rows = rowsOf(samples);
  const compared = ratiosOf(samples)
    .filter(({ totalMs }) => totalMs !== null)
    .flatMap(ratioTexts);
  const unfinished = rows.filter((row) => row.outcome !== 'completed').map((row) => row.mode);
  const corrupted = rows.filter((row) => row.corruptedWords > 0).map((row) => `${row.corruptedWords} by ${row.mode}`);
  const parts = [
    ...(compared.length === 0 ? [] : [`vmferry took ${compared.join('; ')}`]),
    ...(unfinished.length === 0 ? [] : [`not every move completed: ${unfinished.join(', ')}`]),
    corrupted.length === 0 ? 'no word of the guest was corrupted' : `words were corrupted: ${corrupted.join(', ')}`,
  ];
  const text = `${parts.join('; ')}.`;
  return text.startsWith('vmferry') ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

/** The first names the figures, the others give theirs in the same order. */
function ratioTexts({ mode, totalMs, wireBytes, longestGapMs }: ModeRatio, index: number): string[] {
  if (totalMs === null || wireBytes === null || longestGapMs === null) return [];
  const [time, bytes, gap] = [totalMs, wireBytes, longestGapMs].map((ratio) => `${Math.round(ratio * 100)} %`);
  if (index > 0) return [`${time}, ${bytes} and ${gap} of those of ${mode}`];
  return [`${time} of the time, ${bytes} of the bytes and ${gap} of the longest gap of ${mode}`];
}

/** Lines of at most `width` characters, broken between words; a figure keeps its percent sign. */
export function wrapWords(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/ (?!%)/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

type Figures = Pick<ModeRow, 'totalMs' | 'downtimeMs' | 'longestGapMs' | 'wireBytes' | 'corruptedWords' | 'outcome'>;

function cellsOf(name: string, row: Figures): string[] {
  const show = (value: number | null, format: (value: number) => string): string =>
    value === null ? '-' : format(value);
  return [
    name,
    show(row.totalMs, (ms) => `${(ms / 1000).toFixed(2)} s`),
    show(row.downtimeMs, formatMs),
    show(row.longestGapMs, formatMs),
    show(row.wireBytes, formatBytes),
    String(row.corruptedWords),
    row.outcome,
  ];
}

/** First and last column to the left, figures to the right. */
function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const isText = (column: number): boolean => column === 0 || column === header.length - 1;
  return rows.map((row) =>
    row
      .map((cell, column) => (isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('   ')
      .trimEnd(),
  );
}
