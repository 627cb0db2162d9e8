import { test } from 'node:test';
import { run as delta } from './delta.bench.ts';
import { run as pageTable } from './page-table.bench.ts';
import { run as vmstream } from './vmstream.bench.ts';

test('the micro-benchmarks run', () => {
  vmstream(0.0001);
  pageTable(0.0001);
  delta(0.001);
});
