/** What was found of a paper, as one HTML file that needs nothing else. Pure; the charts are drawn by chart.ts. */
import { barChart, lineChart } from '../chart.ts';
import { escape, htmlPage } from '../html-page.ts';
import type { Claim, PaperChart, PaperTable } from './paper.ts';
import type { PaperResult } from './run-paper.ts';

export function renderPaperHtml(result: PaperResult): string {
  const { name, title, citation, about, scale, claims, tables, charts } = result;
  return htmlPage(`vmferry bench paper ${name}`, title, result, [
    `<p>${escape(citation)}.</p>\n<p>${escape(about)}</p>\n<p class="notes"><b>Scale.</b> ${escape(scale)}</p>`,
    claimsSection(claims),
    chartsSection(charts),
    ...tables.map(tableSection),
  ]);
}

function claimsSection(claims: readonly Claim[]): string {
  const rows = claims.map(
    ({ claim, paper, here, holds, why }) =>
      `<tr><td>${escape(claim)}</td><td>${escape(paper)}</td><td>${escape(here)}</td>` +
      `<td><b class="holds-${holds}">${holds}</b></td><td>${escape(why)}</td></tr>`,
  );
  const head = ['What the paper claims', 'its value', 'here', 'holds', 'why'].map((each) => `<th>${each}</th>`);
  return `<section><h2>Claims</h2><div class="scroll"><table class="claims"><thead><tr>${head.join('')}</tr></thead><tbody>
${rows.join('\n')}
</tbody></table></div></section>`;
}

/** Lines in pairs, bars over the whole width, in the order of the paper. */
function chartsSection(charts: readonly PaperChart[]): string {
  if (charts.length === 0) return '';
  const parts: string[] = [];
  for (const [index, chart] of charts.entries()) {
    if (chart.kind === 'bars') parts.push(`<figure>${barChart(chart.options)}</figure>`);
    else {
      if (charts[index - 1]?.kind !== 'lines') parts.push('<div class="pair">');
      parts.push(`<figure>${lineChart(chart.options)}</figure>`);
      if (charts[index + 1]?.kind !== 'lines') parts.push('</div>');
    }
  }
  return `<section><h2>Figures</h2>${parts.join('\n')}</section>`;
}

function tableSection({ title, note, columns, rows }: PaperTable): string {
  const head = columns.map((name) => `<th>${escape(name)}</th>`).join('');
  const body = rows.map((row) => `<tr>${row.map((text) => `<td>${escape(text)}</td>`).join('')}</tr>`);
  return `<section><h2>${escape(title)}</h2><div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>
${body.join('\n')}
</tbody></table></div><p class="notes">${escape(note)}</p></section>`;
}
