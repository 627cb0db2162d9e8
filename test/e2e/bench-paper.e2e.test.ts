/**
 * `vmferry bench paper`: two moves of one paper and one measurement of another; what the reports then say follows from them, and
 * what was not measured is unknown.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';

const vmferry = resolve(import.meta.dirname, '../../bin/vmferry');
const folder = mkdtempSync(join(tmpdir(), 'vmferry-paper-'));
const lab = `paper-${process.pid}`;
after(() => rmSync(folder, { recursive: true }));

type Claim = { readonly claim: string; readonly here: string; readonly holds: string };
type Result = {
  readonly claims: readonly Claim[];
  readonly charts: readonly {
    readonly options: { readonly title: string; readonly series: readonly { points?: unknown[] }[] };
  }[];
  readonly cells: readonly { readonly outcome: string; readonly damage: number }[];
  readonly measurements: readonly { readonly measure: string; readonly values: Readonly<Record<string, number>> }[];
};

async function paper(...argv: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const all = ['bench', 'paper', ...argv, '--out', folder, '--lab', lab];
  const child = spawn(vmferry, all, { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => (said.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (said.stderr += data.toString()));
  const code = await new Promise<number | null>((done) => child.once('exit', done));
  return { code, ...said };
}

const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
const resultOf = (name: string): Result => JSON.parse(read(`paper-${name}.json`)) as Result;

test('two moves of the paper of DSM: what they tell, over time, too; the rest of it is unknown', async (t) => {
  const { code, stdout, stderr } = await paper('dsm', '--case', 'echo', '--mode', 'vmferry-precopy,vmferry-dsm');
  assert.equal(code, 0, stderr);
  const result = resultOf('dsm');
  assert.ok(
    result.cells.length === 2 && result.cells.every(({ outcome, damage }) => outcome === 'completed' && damage === 0),
  );
  assert.ok(
    result.claims.length >= 5 && result.claims.every(({ holds }) => holds === 'unknown'),
    'of one workload alone nothing follows',
  );
  const traffic = result.charts.find(({ options }) => options.title.endsWith('network: traffic'));
  const [line] = traffic?.options.series ?? [];
  const rates = (line?.points ?? []) as [number, number][];
  const before = rates.filter(([s]) => s < -0.3).map(([, rate]) => rate);
  const during = Math.max(...rates.filter(([s]) => s > 0).map(([, rate]) => rate));
  // The client's traffic is 16 Mbit/s each way before the move; during it the link of 100 Mbit/s is busy.
  assert.ok(before.length > 3 && before.every((rate) => rate > 10 && rate < 60), before.join(' '));
  assert.ok(during > 60 && during < 150, String(during));
  const [head, ...samples] = read('paper-dsm.samples.jsonl').trim().split('\n');
  assert.ok(head?.includes('"plan"') && samples.length === 2);
  for (const sample of samples) {
    const { echo } = JSON.parse(sample) as { echo: { echoedBytes: number; lostConnections: number } };
    assert.ok(echo.echoedBytes > 5e6 && echo.lostConnections === 0, JSON.stringify(echo));
  }
  for (const text of ['DSM shortens the downtime', 'unknown', 'Figure 4']) {
    assert.ok(read('paper-dsm.md').includes(text) && read('paper-dsm.html').includes(text), text);
  }
  assert.match(stdout, /Report: .*paper-dsm\.html/);
  t.diagnostic(stderr);
});

test('a measurement is kept, and not made again', async () => {
  const first = await paper('compression', '--case', 'random', '--json');
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stderr, /\[1\/1\] run 1 measure methods random: pieces \d+/);
  const [measured] = resultOf('compression').measurements;
  assert.equal(measured?.measure, 'methods random');
  // A quarter of what is not zero in this guest is its kernel and programs, the rest is noise.
  const ratio = measured.values['lz ratio'] ?? 0;
  assert.ok(ratio >= 1 && ratio < 1.6, String(ratio));
  assert.deepEqual((JSON.parse(first.stdout) as Result).measurements, resultOf('compression').measurements);

  const again = await paper('compression', '--case', 'random');
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /1 of 1 moves were made before/);
  assert.ok(
    ['a', 'b'].every((host) => !existsSync(`/run/netns/vmferry-${lab}-${host}`)),
    'the lab is removed',
  );
});

test('papers are listed, and what there is not is refused before anything is done', async () => {
  const list = await paper();
  assert.equal(list.code, 0);
  for (const name of ['dsm', 'sonic', 'mplm', 'compression']) assert.match(list.stdout, new RegExp(`^${name} `, 'm'));
  for (const argv of [['nope'], ['dsm', '--case', 'cache'], ['dsm', '--set', 'quick'], ['dsm', '--runs', '0']]) {
    const { code, stderr } = await paper(...argv);
    assert.equal(code, 2, argv.join(' '));
    assert.ok(stderr.length > 20, stderr);
  }
});
