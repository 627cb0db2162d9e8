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
  const claims = result.claims.flatMap(({ claim, paper, here, holds, why }) => [
    `- **${holds}**: ${claim}.`,
    `  - paper: ${paper}`,
    `  - here: ${here}`,
    `  - ${holds === 'unknown' ? 'because' : 'judged'}: ${why}`,
  ]);
  const tables = result.tables.flatMap(({ title, note, columns, rows }) => [
    '',
    `${title}${note === '' ? '' : ` (${note})`}:`,
    '',
    ...markdownTable(
      columns.map(cell),
      rows.map((row) => row.map(cell)),
    ),
  ]);
  return ['What the paper claims, and whether it holds here:', '', ...claims, ...tables, '', ...measuredLines(result)];
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
