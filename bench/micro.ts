/**
 * The micro-benchmarks of the hot paths, one after the other: `npm run bench [-- SCALE]`.
 *
 * Scale 1 is the full size. Speeds are for people to compare on a quiet machine; tests only run tiny scales, so that the
 * benchmarks do not rot.
 */
import { run as delta } from './delta.bench.ts';
import { run as pageTable } from './page-table.bench.ts';
import { run as vmstream } from './vmstream.bench.ts';

const scale = Number(process.argv[2] ?? '1');
if (!(scale > 0 && scale <= 4)) {
  process.stderr.write(`The scale must be a number above 0 and at most 4, not "${process.argv[2]}"\n`);
  process.exit(2);
}
vmstream(scale);
pageTable(scale);
delta(scale);
