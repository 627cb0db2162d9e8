/**
 * Runs the tests: first the fast ones beside the sources, then the end-to-end ones on real QEMU guests.
 *
 *     node bin/with-node24 scripts/test.ts [--unit | --e2e | --long] [NAME...]
 *
 * `--long` runs those that neither `npm test` nor CI runs, alone: they need the Debian guest image (docs/workloads.md).
 *
 * NAME selects files whose path contains it. End-to-end files run one after the other: they share two cores, and each
 * builds and removes its own lab.
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';

const args = process.argv.slice(2);
const only = args.filter((arg) => !arg.startsWith('--'));
const wanted = (file: string): boolean => only.length === 0 || only.some((name) => file.includes(name));

function run(title: string, files: readonly string[], options: readonly string[]): boolean {
  if (files.length === 0) return true;
  process.stdout.write(`\n# ${title}: ${files.length} files\n`);
  const seed = process.env['VMFERRY_SEED'] === undefined ? [] : ['--import', './test/support/property-seed.ts'];
  const flags = ['--disable-warning=ExperimentalWarning', ...seed, '--test', '--test-reporter=spec', ...options];
  return spawnSync(process.execPath, [...flags, ...files], { stdio: 'inherit' }).status === 0;
}

function setUp(): boolean {
  const done = spawnSync(process.execPath, ['scripts/setup.ts'], { stdio: 'inherit' });
  return done.status === 0;
}

const unit = globSync('{src,checks,guests,scripts,bench,test/support}/**/*.{test,fuzz}.ts').filter(wanted).sort();
const e2e = globSync('test/e2e/**/*.e2e.test.ts').filter(wanted).sort();
const long = globSync('test/e2e/**/*.long.test.ts').filter(wanted).sort();
const runLong = args.includes('--long');
const runUnit = !runLong && !args.includes('--e2e');
const runE2e = !runLong && !args.includes('--unit');

if (((runE2e && e2e.length > 0) || runLong) && !setUp()) process.exit(1);
const passed =
  (!runUnit || run('Unit and property tests', unit, ['--test-concurrency=2', '--test-timeout=120000'])) &&
  (!runE2e || run('End-to-end tests on real QEMU', e2e, ['--test-concurrency=1', '--test-timeout=900000'])) &&
  (!runLong || run('Long end-to-end tests', long, ['--test-concurrency=1', '--test-timeout=1800000']));
if (unit.length + e2e.length + long.length === 0) {
  process.stderr.write(`No test file matches ${only.join(' ')}\n`);
  process.exit(2);
}
process.exit(passed ? 0 : 1);
