/** Writes what was found for people: Markdown, and HTML where the library for charts is there. */
import { writeFileSync } from 'node:fs';
import { BenchError } from './errors.ts';

export type ReportFiles = { readonly html: string; readonly markdown: string };

/**
 * `renderHtml` loads what it draws with: that takes a moment, and a host that only migrates does not have it. Throws BenchError
 * BENCH_SETUP when the packages for development are not installed; the Markdown is written then.
 */
export async function writeReports(
  files: ReportFiles,
  markdown: string,
  renderHtml: () => Promise<string>,
): Promise<void> {
  writeFileSync(files.markdown, markdown);
  try {
    writeFileSync(files.html, await renderHtml());
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    const text = 'The charts of the report need the package "echarts": run "npm ci"';
    throw new BenchError('BENCH_SETUP', text, {}, { cause });
  }
}
