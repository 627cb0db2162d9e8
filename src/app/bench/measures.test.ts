import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { OpenLab } from './jobs.ts';
import { isValidMeasurement, measureJob, remainingMeasures } from './measures.ts';
import type { Measure } from './measures.ts';
import { SamplesFile } from './samples.ts';
import { sampleOf } from './testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'vmferry-measures-'));
after(() => rmSync(folder, { recursive: true }));
const file = (name: string): SamplesFile => SamplesFile.open(join(folder, name), 'p', '2026-01-01');
const lab = { plan: {}, heartbeats: {} } as unknown as OpenLab;
const options = { accelerator: 'tcg', timeoutMs: 1000, signal: new AbortController().signal } as const;

function measureOf(key: string, definition: unknown = 1): Measure {
  return { key, case: key, definition, run: async ({ run }) => await Promise.resolve({ value: run, row: [1, 2] }) };
}

test('what a measure found is there again, between moves, and is not measured again in that run', async () => {
  const measures = [measureOf('a'), measureOf('b')];
  const first = file('again.jsonl');
  first.append(sampleOf({ mode: 'vmferry-auto' }));
  const lines = await measureJob(measures[0]!, 1, first, options).run(lab);
  first.append(sampleOf({ mode: 'qemu-default' }));
  assert.deepEqual(lines, ['value 1']);
  const again = file('again.jsonl');
  assert.equal(again.samples.length, 2);
  assert.deepEqual(
    again.measurements.map(({ measure, values }) => [measure, values]),
    [['a', { value: 1, row: [1, 2] }]],
  );
  const left = (run: number): string[] => remainingMeasures(measures, run, again.measurements).map(({ key }) => key);
  assert.deepEqual([left(1), left(2)], [['b'], ['a', 'b']]);
});

test('a measure that is another one now is measured again, and so is one that failed', async () => {
  const opened = file('other.jsonl');
  await measureJob(measureOf('a', { pages: 1 }), 1, opened, options).run(lab);
  measureJob(measureOf('b'), 1, opened, options).keepFailure(new Error('no guest'), 5);
  const now = [measureOf('a', { pages: 2 }), measureOf('b')];
  assert.equal(remainingMeasures(now, 1, opened.measurements).length, 2);
  assert.equal(remainingMeasures([measureOf('a', { pages: 1 })], 1, opened.measurements).length, 0);
  assert.deepEqual(
    opened.measurements.map((each) => [each.outcome, isValidMeasurement(each, now)]),
    [
      ['completed', false],
      ['error', false],
    ],
  );
});
