/** Writes what a bench found for people: Markdown, and HTML where the library for charts is there. */
import { writeFileSync } from 'node:fs';
import { BenchError } from './errors.ts';
import { renderMarkdown } from './report-markdown.ts';
import type { BenchResult } from './results.ts';

export type ReportFiles = { readonly html: string; readonly markdown: string };

/** Throws BenchError BENCH_SETUP when the packages for development are not installed; the Markdown is written then. */
export async function writeReports(result: BenchResult, files: ReportFiles): Promise<void> {
  writeFileSync(files.markdown, renderMarkdown(result));
  writeFileSync(files.html, (await htmlRenderer())(result));
}

/** Loaded last: the library takes a moment, and a host that only migrates does not have it. */
async function htmlRenderer(): Promise<(result: BenchResult) => string> {
  try {
    return (await import('./report-html.ts')).renderHtml;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    throw new BenchError(
      'BENCH_SETUP',
      'The charts of the report need the package "echarts": run "npm ci"',
      {},
      { cause },
    );
  }
}
