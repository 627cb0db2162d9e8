/**
 * `npm run sim:fleet`: a day of a simulated fleet under one policy, or under each in turn (docs/autopilot.md).
 *
 *     npm run --silent sim:fleet -- --hosts 10000 --vms 100000 --policy vmferry --seed 1 --json
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { figureTexts, figureTitles } from '../src/app/bench/fleet-figures.ts';
import type { FleetRun } from '../src/app/bench/fleet-figures.ts';
import { formatTable } from '../src/app/cli/table.ts';
import { describeError } from '../src/core/base/errors.ts';
import { SimError } from '../src/core/fleet/errors.ts';
import { simPolicyNames } from '../src/core/fleet/sim-policies.ts';
import type { SimPolicyName } from '../src/core/fleet/sim-policies.ts';
import { simulate } from '../src/core/fleet/simulate.ts';

const usage = `npm run sim:fleet -- [options]
  --hosts N       hosts (default 1000)
  --vms M         VMs, about ten per host (default 10000)
  --policy NAME   ${simPolicyNames.join(', ')}, or all (default vmferry)
  --seed S        loads, sizes and first places follow from it (default 1)
  --hours H       simulated time (default 24)
  --json          figures as JSON: an object, for "all" a list of them
  --out DIR       also write report.html and figures.json into DIR`;

/** Ticks between two looks at the memory. */
const LOOK_TICKS = 16;

type Arguments = {
  readonly hosts: number;
  readonly vms: number;
  readonly seed: number;
  readonly hours: number;
  readonly policies: readonly SimPolicyName[];
  readonly isAll: boolean;
  readonly json: boolean;
  readonly out: string | null;
};

/** Null: help was asked for. Throws a TypeError of parseArgs or an Error with what is wrong. */
function readArguments(): Arguments | null {
  const { values } = parseArgs({
    options: {
      hosts: { type: 'string', default: '1000' },
      vms: { type: 'string', default: '10000' },
      policy: { type: 'string', default: 'vmferry' },
      seed: { type: 'string', default: '1' },
      hours: { type: 'string', default: '24' },
      json: { type: 'boolean', default: false },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const isAll = values.policy === 'all';
  const policies = simPolicyNames.filter((name) => isAll || name === values.policy);
  if (policies.length === 0) throw new Error(`--policy ${values.policy} is none of ${simPolicyNames.join(', ')}, all`);
  const number = (name: 'hosts' | 'vms' | 'seed' | 'hours'): number => {
    if (/^\d+$/.test(values[name])) return Number(values[name]);
    throw new Error(`--${name} ${values[name]} is not a whole number`);
  };
  const sizes = { hosts: number('hosts'), vms: number('vms'), seed: number('seed'), hours: number('hours') };
  return { ...sizes, policies, isAll, json: values.json, out: values.out === undefined ? null : resolve(values.out) };
}

/** Wall time and memory are those of this run; with several policies in one process the memory is not given back at once. */
function runOne({ hosts, vms, seed, hours }: Arguments, policy: SimPolicyName): FleetRun {
  const startMs = performance.now();
  let peakRssBytes = 0;
  const look = (): void => {
    peakRssBytes = Math.max(peakRssBytes, process.memoryUsage.rss());
  };
  const onTick = (tick: number): void => {
    if (tick % LOOK_TICKS === 0) look();
  };
  const { result, series } = simulate({ hosts, vms, policy, seed, hours, onTick });
  look();
  const downtimeMs = Math.round(result.downtimeMs);
  const wallMs = Math.round(performance.now() - startMs);
  return { figures: { ...result, downtimeMs, wallMs, peakRssBytes }, series };
}

function tableLines(runs: readonly FleetRun[]): string[] {
  const head = figureTitles.map((title) => title.toUpperCase());
  return formatTable(head, runs.map(figureTexts), 'l'.padEnd(head.length, 'r'));
}

async function writeReport(args: Arguments, runs: readonly FleetRun[], folder: string): Promise<void> {
  const { renderFleetReport } = await import('../src/app/bench/fleet-report.ts');
  const { hosts, vms, seed, hours } = args;
  writeFileSync(join(folder, 'figures.json'), `${JSON.stringify(runs, null, 2)}\n`);
  writeFileSync(join(folder, 'report.html'), renderFleetReport({ hosts, vms, seed, hours, runs }));
  console.error(`Report: ${join(folder, 'report.html')}`);
}

async function main(args: Arguments): Promise<void> {
  // Not after a long run: a folder that cannot be made is known now.
  if (args.out !== null) mkdirSync(args.out, { recursive: true });
  const runs = args.policies.map((policy) => runOne(args, policy));
  const figures = runs.map((run) => run.figures);
  if (args.json) console.log(JSON.stringify(args.isAll ? figures : figures[0]));
  else console.log(tableLines(runs).join('\n'));
  if (args.out !== null) await writeReport(args, runs, args.out);
}

/** Null when they are wrong, which was said. */
function checkedArguments(): Arguments | 'help' | null {
  try {
    return readArguments() ?? 'help';
  } catch (error) {
    console.error(`${describeError(error)}\n\n${usage}`);
    return null;
  }
}

const given = checkedArguments();
if (given === 'help') console.log(usage);
else if (given === null) process.exitCode = 2;
else {
  try {
    await main(given);
  } catch (error) {
    console.error(describeError(error));
    process.exitCode = error instanceof SimError ? 2 : 1;
  }
}
