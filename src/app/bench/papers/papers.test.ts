import assert from 'node:assert/strict';
import { test } from 'node:test';
import { caseOf } from '../cases.ts';
import { modeOf } from '../modes.ts';
import { renderPaperHtml } from './paper-html.ts';
import { renderPaperMarkdown } from './paper-markdown.ts';
import type { Evidence, Paper } from './paper.ts';
import { chosenOf, paperOf, papers } from './papers.ts';
import type { PaperResult } from './run-paper.ts';
import { evidenceOf } from './testing.ts';
import { resultOf } from '../testing.ts';

const nothing: Evidence = { samples: [], measurements: [] };

function resultWith(paper: Paper, evidence: Evidence): PaperResult {
  const { name, title, citation, about, scale, findings } = paper;
  const { cells, ...measured } = resultOf(evidence.samples);
  return { ...measured, name, title, citation, about, scale, ...findings(evidence), cells, measurements: [] };
}

test('papers have names of their own, moves that exist, no cell and no measurement twice', () => {
  assert.equal(new Set(papers.map(({ name }) => name)).size, papers.length);
  for (const { name, cells, measures = [] } of papers) {
    for (const cell of cells) assert.ok(caseOf(cell.case) && modeOf(cell.mode));
    const keys = cells.map((cell) => JSON.stringify(cell));
    assert.equal(new Set(keys).size, keys.length, name);
    assert.equal(new Set(measures.map(({ key }) => key)).size, measures.length, name);
    assert.ok(cells.length + measures.length > 0, name);
  }
});

test('without a single sample every claim of every paper is unknown, and the report can be drawn', () => {
  for (const paper of papers) {
    const result = resultWith(paper, nothing);
    assert.ok(result.claims.length > 0, paper.name);
    for (const { claim, holds, why } of result.claims)
      assert.ok(holds === 'unknown' && why !== '', `${paper.name}: ${claim}`);
    assert.ok(renderPaperHtml(result).includes('holds-unknown'));
  }
});

test('no claim is judged by a part of what it needs: without one cell or measurement, no claim is more than with all', () => {
  for (const paper of papers) {
    const all = evidenceOf(paper);
    for (const lacking of paper.cells) {
      const samples = all.samples.filter(
        (each) => each.case !== lacking.case || each.link !== lacking.link || each.mode !== lacking.mode,
      );
      const less = paper.findings({ ...all, samples }).claims;
      for (const [n, { holds, claim }] of paper.findings(all).claims.entries()) {
        const now = less[n]!.holds;
        assert.ok(now === holds || now === 'unknown', `${paper.name}: "${claim}" ${holds} became ${now}`);
      }
    }
  }
});

test('a report has claims, tables and charts, whole in itself, and what was measured on', () => {
  for (const paper of papers) {
    const result = resultWith(paper, evidenceOf(paper));
    const html = renderPaperHtml(result);
    // Drawings name parts of themselves: url(#...).
    assert.ok(!/<script|<link|<img|@import|url\((?!#)|href=|src=/i.test(html), paper.name);
    assert.ok(html.includes('Example 9000 &lt;x&gt;') && !html.includes('<x>'), paper.name);
    assert.equal(html.match(/<svg/g)?.length ?? 0, result.charts.length, paper.name);
    const markdown = renderPaperMarkdown(result);
    assert.equal(markdown.match(/^- \*\*(yes|partly|no|unknown)\*\*: /gm)?.length, result.claims.length);
    for (const { title } of result.tables)
      assert.ok(markdown.includes(title) && html.includes(title.replaceAll('"', '&quot;')), title);
  }
});

test('an unknown paper, and what a paper does not have, are refused with what there is', () => {
  assert.throws(() => paperOf('nope'), {
    code: 'BENCH_CHOICE',
    message: /There is no paper "nope": the papers are .*dsm/,
  });
  const dsm = paperOf('dsm');
  assert.throws(() => chosenOf(dsm, { cases: ['cache'] }), {
    code: 'BENCH_CHOICE',
    message: /no case "cache": it has idle/,
  });
  assert.throws(() => chosenOf(dsm, { links: ['1gbit'] }), { code: 'BENCH_CHOICE' });
  assert.throws(() => chosenOf(dsm, { modes: ['qemu-xbzrle'] }), { code: 'BENCH_CHOICE' });
});

test('a choice takes a part of the cells; measurements only by their case', () => {
  const mplm = paperOf('mplm');
  const mode = 'vmferry-mplm';
  assert.deepEqual(chosenOf(mplm, { cases: ['is'], modes: [mode] }), {
    cells: [{ case: 'is', link: '100mbit', mode }],
    measures: [],
  });
  assert.deepEqual(
    chosenOf(mplm, { cases: ['is'] }).measures.map((measure) => measure.case),
    ['is'],
  );
  assert.equal(chosenOf(mplm, {}).cells.length, mplm.cells.length);
});
