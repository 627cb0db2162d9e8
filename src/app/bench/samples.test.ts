import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BenchError } from './errors.ts';
import { hashOf, SamplesFile } from './samples.ts';
import { sampleOf } from './testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'vmferry-samples-'));
after(() => rmSync(folder, { recursive: true }));

test('samples are there again when the file is opened again', () => {
  const file = join(folder, 'deep/again.jsonl');
  const first = SamplesFile.open(file, 'p', '2026-01-01');
  first.append(sampleOf({ mode: 'vmferry-auto' }));
  first.append(sampleOf({ mode: 'qemu-default' }));
  const again = SamplesFile.open(file, 'p', '2026-01-02');
  assert.deepEqual(again.samples, first.samples);
  assert.equal(again.head.startedAt, '2026-01-01');
});

test('a line that was cut off is no sample, and does not swallow the next one', () => {
  const file = join(folder, 'cut.jsonl');
  SamplesFile.open(file, 'p', '').append(sampleOf({ mode: 'vmferry-auto' }));
  appendFileSync(file, '{"run":1,"case":"sl');
  const opened = SamplesFile.open(file, 'p', '');
  assert.equal(opened.samples.length, 1);
  opened.append(sampleOf({ mode: 'qemu-default' }));
  assert.deepEqual(
    SamplesFile.open(file, 'p', '').samples.map(({ mode }) => mode),
    ['vmferry-auto', 'qemu-default'],
  );
});

test('samples of another plan, and files that hold none, are refused and stay as they are', () => {
  const file = join(folder, 'other.jsonl');
  SamplesFile.open(file, 'p', '');
  const refused = (plan: string, where: string): void =>
    assert.throws(
      () => SamplesFile.open(where, plan, ''),
      (error) => error instanceof BenchError && error.code === 'BENCH_OUT' && error.message.includes(where),
    );
  refused('q', file);
  const strange = join(folder, 'strange.jsonl');
  writeFileSync(strange, 'my notes\n');
  refused('p', strange);
  assert.equal(readFileSync(strange, 'utf8'), 'my notes\n');
});

test('a hash stands for a value', () => {
  assert.equal(hashOf({ a: [1, 2] }), hashOf({ a: [1, 2] }));
  assert.notEqual(hashOf({ a: [1, 2] }), hashOf({ a: [2, 1] }));
});
