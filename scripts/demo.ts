/**
 * `npm run demo`: sets up what is missing, then moves a running guest between two hosts on this machine, by vmferry and by
 * QEMU itself, and shows the figures side by side (docs/demo.md).
 *
 *     npm run demo -- [--json FILE] [--runs N] [--quiet] [--lab NAME]
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { guestSpec, parseWriterLines } from '../guests/spec.ts';
import { runDemo } from '../src/app/lab/demo.ts';
import type { DemoResult, GuestRecipe } from '../src/app/lab/demo.ts';
import { describeError } from '../src/core/base/errors.ts';

const usage = `npm run demo -- [options]
  --json FILE   also write the figures to FILE
  --runs N      repeat the modes in turn N times and show medians (default 1)
  --quiet       print only the table and the conclusion
  --lab NAME    name of the lab, which is made anew and removed (default "demo")`;
const RUNS_MAX = 100;

const guest: GuestRecipe = ({ heartbeat, address, bridge }) => ({
  spec: guestSpec({
    name: 'demo',
    memory: '1G',
    cache: '700M',
    writer: { set: '128M', rate: '20M' },
    networks: [{ type: 'tap', bridge }],
    heartbeat,
    address,
  }),
  description: '1 GiB of memory, 700 MB of file cache, a writer that changes 128 MiB at 20 MiB/s and checks it',
});

type Arguments = { readonly json: string | null; readonly runs: number; readonly quiet: boolean; readonly lab: string };

/** Null: help was asked for. Throws a TypeError of parseArgs or an Error with what is wrong. */
function readArguments(): Arguments | null {
  const { values } = parseArgs({
    options: {
      json: { type: 'string' },
      runs: { type: 'string', default: '1' },
      quiet: { type: 'boolean', default: false },
      lab: { type: 'string', default: 'demo' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1 || runs > RUNS_MAX) {
    throw new Error(`--runs ${values.runs} is not a number from 1 to ${RUNS_MAX}`);
  }
  return { json: values.json ?? null, runs, quiet: values.quiet, lab: values.lab };
}

async function demo({ json, runs, quiet, lab }: Arguments): Promise<number> {
  const setUp = spawnSync(process.execPath, ['scripts/setup.ts'], { stdio: 'inherit' });
  if (setUp.status !== 0) return 1;
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort());
  try {
    const result = await runDemo({
      labName: lab,
      link: '1gbit',
      runs,
      quiet,
      guest,
      parseWriterLines,
      terminal: {
        write: (text) => process.stdout.write(text),
        isTerminal: () => process.stdout.isTTY,
        nowMs: () => performance.now(),
      },
      signal: interrupted.signal,
    });
    if (json !== null) writeFileSync(json, `${JSON.stringify(result, null, 2)}\n`);
    return isSound(result) ? 0 : 1;
  } catch (error) {
    if (interrupted.signal.aborted) {
      console.error('Interrupted; the lab is removed.');
      return 130;
    }
    console.error(describeError(error));
    return 1;
  }
}

/** vmferry moved every guest, and none of them lost a word. */
function isSound({ runs, back }: DemoResult): boolean {
  const own = [...runs.filter((sample) => sample.mode === 'vmferry'), ...(back === null ? [] : [back])];
  return own.every((sample) => sample.outcome === 'completed' && sample.corruptedWords === 0);
}

try {
  const given = readArguments();
  if (given === null) console.log(usage);
  else process.exitCode = await demo(given);
} catch (error) {
  console.error(`${describeError(error)}\n\n${usage}`);
  process.exitCode = 2;
}
