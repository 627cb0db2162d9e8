/** What was found of a paper, as Markdown, which is also what the command prints. Pure. */
import { markdownTable, measuredLines } from '../report-markdown.ts';
import type { PaperResult } from './run-paper.ts';

export function renderPaperMarkdown(result: PaperResult): string {
  const { title, citation, about, scale } = result;
  const head = [`# ${title}`, '', `${citation}.`, '', about, '', `**Scale.** ${scale}`, ''];
  return `${[...head, ...paperLines(result)].join('\n')}\n`;
}

/** Claims, tables, what it was measured on. */
export function paperLines(result: PaperResult): string[] {
  const claims = result.claims.map(({ claim, paper, here, holds, why }) => [claim, paper, here, holds, why].map(cell));
  const tables = result.tables.flatMap(({ title, note, columns, rows }) => [
    '',
    `${title}${note === '' ? '' : ` (${note})`}:`,
    '',
    ...markdownTable(
      columns.map(cell),
      rows.map((row) => row.map(cell)),
    ),
  ]);
  return [
    ...markdownTable(['claim', 'paper', 'here', 'holds', 'why'], claims),
    ...tables,
    '',
    ...measuredLines(result),
  ];
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
