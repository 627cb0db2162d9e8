/**
 * `vmferry bench`: one case, two modes, one run; interrupted after the first move, started again, and what the report says is
 * what was measured.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';

const vmferry = resolve(import.meta.dirname, '../../bin/vmferry');
const folder = mkdtempSync(join(tmpdir(), 'vmferry-bench-'));
const lab = `bench-${process.pid}`;
const argv = ['--case', 'idle', '--mode', 'vmferry-auto,qemu-default', '--runs', '1', '--out', folder, '--lab', lab];
after(() => rmSync(folder, { recursive: true }));

type Run = { readonly code: number | null; readonly stdout: string; readonly stderr: string };
type Figure = { readonly median: number; readonly min: number; readonly max: number };
type Cell = Readonly<Record<string, unknown>> & {
  readonly mode: string;
  readonly totalMs: Figure;
  readonly downtimeMs: Figure;
  readonly wireBytes: Figure;
  readonly limitMs: Figure;
};

/** `interruptAt`: Ctrl-C as soon as it says that. */
async function bench(more: readonly string[], interruptAt: string | null = null): Promise<Run> {
  const child = spawn(vmferry, ['bench', ...argv, ...more], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => (said.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => {
    const isNew = interruptAt !== null && !said.stderr.includes(interruptAt);
    said.stderr += data.toString();
    if (isNew && said.stderr.includes(interruptAt)) child.kill('SIGINT');
  });
  const code = await new Promise<number | null>((done) => child.once('exit', done));
  return { code, ...said };
}

const labIsThere = (): boolean => ['a', 'b'].some((host) => existsSync(`/run/netns/vmferry-${lab}-${host}`));
const samples = (): { mode: string }[] =>
  readFileSync(join(folder, 'main.samples.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => JSON.parse(line) as { mode: string });

test('a bench that was interrupted goes on after its last move, and its report says what was measured', async (t) => {
  const first = await bench([], '[1/2]');
  assert.equal(first.code, 130, first.stderr);
  assert.ok(!labIsThere(), 'the lab is removed after Ctrl-C');
  assert.deepEqual(
    samples().map(({ mode }) => mode),
    ['vmferry-auto'],
  );

  const second = await bench(['--json']);
  assert.equal(second.code, 0, second.stderr);
  assert.ok(!labIsThere(), 'the lab is removed');
  assert.match(second.stderr, /1 of 2 moves were made before/);
  assert.match(second.stderr, /\[2\/2\] run 1 1gbit idle +qemu-default/);
  assert.deepEqual(
    samples().map(({ mode }) => mode),
    ['vmferry-auto', 'qemu-default'],
  );
  const result = JSON.parse(readFileSync(join(folder, 'main.json'), 'utf8')) as { cells: Cell[] };
  assert.deepEqual((JSON.parse(second.stdout) as { cells: unknown }).cells, result.cells);
  t.diagnostic(second.stderr);
  for (const cell of result.cells) assertPlausible(cell);
  assertReportsSay(result.cells);
});

function assertPlausible(cell: Cell): void {
  assert.equal(cell['outcome'], 'completed', String(cell['reason']));
  assert.equal(cell['damage'], 0);
  const { totalMs, downtimeMs, wireBytes, limitMs } = cell;
  assert.ok(totalMs.median > downtimeMs.median && downtimeMs.median > 0, JSON.stringify(cell));
  // An idle guest of 512 MiB has some tens of MiB that are not zero; QEMU sends nine bytes for each zero page.
  assert.ok(wireBytes.median > 2e6 && wireBytes.median < 400e6, JSON.stringify(wireBytes));
  assert.ok(limitMs.median > 10 && limitMs.median < totalMs.median, JSON.stringify(limitMs));
  for (const name of ['sourceCpuMs', 'destinationCpuMs', 'sourcePeakBytes', 'destinationPeakBytes', 'clientGapMs']) {
    assert.ok((cell[name] as Figure).median > 0, name);
  }
}

function assertReportsSay(cells: readonly Cell[]): void {
  const markdown = readFileSync(join(folder, 'main.md'), 'utf8');
  const html = readFileSync(join(folder, 'main.html'), 'utf8');
  const time = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);
  for (const { totalMs, mode } of cells) {
    for (const text of [time(totalMs.median), mode]) {
      assert.ok(markdown.includes(text), `Markdown: ${text}`);
      assert.ok(html.includes(text), `HTML: ${text}`);
    }
  }
}

test('a browser shows the report: its table, and each chart with a size', (t) => {
  const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  if (chromium === undefined) return t.skip('no Chromium here: install the Debian package "chromium" to run this');
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'];
  const page = `file://${join(folder, 'main.html')}`;
  const profile = `--user-data-dir=${join(folder, 'browser')}`;
  const { stdout, status } = spawnSync(chromium, [...flags, profile, '--dump-dom', page], { encoding: 'utf8' });
  assert.equal(status, 0);
  // What the browser made of it: a broken document would have lost its end, or closed its drawings early.
  assert.ok((stdout.match(/<svg [^>]*width="\d+" height="\d+"/g) ?? []).length >= 6);
  assert.equal((stdout.match(/<tr>/g) ?? []).length, 2);
  assert.ok(stdout.includes('How to read this'));
});

test('what does not exist, and what is out of range, is refused with what there is', () => {
  const refused = (...more: string[]): string => {
    const { status, stderr } = spawnSync(vmferry, ['bench', ...more], { encoding: 'utf8' });
    assert.equal(status, 2, stderr);
    return stderr;
  };
  assert.match(refused('--case', 'idel'), /no case "idel": the cases are idle, slow/);
  assert.match(refused('--mode', 'fast'), /no mode "fast": the modes are vmferry-auto/);
  assert.match(refused('--link', '1gb'), /no link "1gb": the links are 100mbit/);
  assert.match(refused('--runs', '0'), /--runs 0 is not from 1 to 100/);
  assert.match(refused('--set', 'huge'), /main, quick, servers, scaling/);
  assert.match(refused('--timeout', 'soon'), /soon/);
});
