/**
 * Runs the fuzzers and the randomised simulations at full length (the test run has short ones).
 *
 *     npm run fuzz [-- MUTATIONS]     default one million mutated streams, 100 000 transaction schedules
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';

const mutations = process.argv[2] ?? '1000000';
const files = [...globSync('src/**/*.fuzz.ts'), 'src/core/machine/transaction.test.ts'];
const env = { ...process.env, VMFERRY_FUZZ: mutations, VMFERRY_SCHEDULES: '100000' };
const done = spawnSync(process.execPath, ['--test', ...files], { stdio: 'inherit', env });
process.exit(done.status ?? 1);
