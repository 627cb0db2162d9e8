/**
 * The figures of docs/workloads.md: how fast each program works and dirties memory, in a guest that is left alone.
 *
 *     node bin/with-node24 scripts/workload-figures.ts [--vcpus 1] [--memory 1G] [--samples 8] WORD...
 *
 * A word is a program as in `GuestOptions.programs`, like `mg,64M` or `compile`; `mailfiles` has its files in memory. The dirty rate is
 * QEMU's own (calc-dirty-rate, hashes of sampled pages over 1 s): pages whose content differs after a second, per second.
 * Needs what `npm run setup` brings, and root.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parseWorkLines } from '../guests/spec.ts';
import type { GuestOptions } from '../guests/spec.ts';
import { median } from '../src/app/lab/comparison.ts';
import { planLab } from '../src/app/lab/plan.ts';
import { startRedisLoad, startWebLoad } from '../src/app/load/load-process.ts';
import { parseSizeBytes } from '../src/core/model/units.ts';
import { LabHosts } from '../test/support/lab-hosts.ts';
import { askQemu, secondMonitor } from '../test/support/outside-view.ts';

/** Per GiB of memory; QEMU's maximum is 4096. */
const SAMPLED_PAGES = 4096;
const PAGES_PER_MB = 2 ** 20 / 4096;
const SETTLE_MS = 2000;
const POLL_MS = 50;
/** Loaded from host a, at full speed. */
const servers: Readonly<Record<string, typeof startWebLoad | typeof startRedisLoad>> = {
  nginx: startWebLoad,
  redis: startRedisLoad,
};
let guests = 0;
const debianPrograms = ['compile', 'video', 'nginx', 'redis'];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    vcpus: { type: 'string', default: '1' },
    memory: { type: 'string', default: '1G' },
    samples: { type: 'string', default: '8' },
  },
});

type Figures = {
  readonly word: string;
  readonly dirtyPagesPerS: number | null;
  readonly minPagesPerS: number;
  readonly maxPagesPerS: number;
  readonly workPerS: number;
  readonly failures: number;
};

async function dirtyPagesPerS(lab: LabHosts, vm: string): Promise<number> {
  await askQemu(lab, 'a', vm, 'calc-dirty-rate', { 'calc-time': 1, 'sample-pages': SAMPLED_PAGES });
  for (;;) {
    await sleep(POLL_MS);
    const said = (await askQemu(lab, 'a', vm, 'query-dirty-rate')) as { status: string; 'dirty-rate'?: number };
    if (said.status === 'measured') return (said['dirty-rate'] ?? Number.NaN) * PAGES_PER_MB;
  }
}

async function measure(lab: LabHosts, word: string): Promise<Figures> {
  const [program = ''] = word.split(',');
  const address = (await lab.address('a')).replace(/\d+$/, String(10 + ++guests));
  const options: GuestOptions = {
    name: 'figures',
    memory: values.memory,
    vcpus: Number(values.vcpus),
    qemuArguments: [...secondMonitor],
    ...(debianPrograms.includes(program) && { image: 'debian' as const }),
    ...(program in servers && { networks: [{ type: 'tap', bridge: 'br0' }], address: `${address}/24` }),
    ...(program === 'idle' ? {} : program === 'mailfiles' ? { mail: {} } : { programs: [word] }),
  };
  const guest = await lab.startGuest('a', options);
  const load = await servers[program]?.(planLab(lab.name).hosts[0], { address });
  await sleep(SETTLE_MS);
  const rates: number[] = [];
  for (let sample = 0; sample < Number(values.samples); sample++) rates.push(await dirtyPagesPerS(lab, guest.name));
  if (load !== undefined) console.error(JSON.stringify(await load.finish()));
  const lines = parseWorkLines(guest.text());
  for (const [said] of guest.text().matchAll(/^(BAD|RUN) .*$/gm)) console.error(said);
  const [first, last] = [lines[0], lines.at(-1)];
  await lab.ok('a', 'vm', 'stop', guest.name, '--force');
  const seconds = first === undefined || last === undefined ? Number.NaN : (last.guestMs - first.guestMs) / 1000;
  return {
    ...{ word, dirtyPagesPerS: median(rates), minPagesPerS: Math.min(...rates), maxPagesPerS: Math.max(...rates) },
    ...{ workPerS: ((last?.work ?? 0) - (first?.work ?? 0)) / seconds, failures: last?.failures ?? 0 },
  };
}

const lab = new LabHosts();
await lab.up();
try {
  const memory = `${(parseSizeBytes(values.memory) / 2 ** 30).toFixed(2)} GiB`;
  console.log(`Guest: ${memory}, ${values.vcpus} vCPU; ${values.samples} samples of 1 s each\n`);
  console.log('| program | dirty pages/s, median (min to max) | work/s | failures |\n| --- | ---: | ---: | ---: |');
  for (const word of positionals) {
    const found = await measure(lab, word);
    const range = `${found.dirtyPagesPerS?.toFixed(0)} (${found.minPagesPerS} to ${found.maxPagesPerS})`;
    console.log(
      `| ${found.word} | ${range} | ${found.workPerS.toFixed(found.workPerS < 10 ? 1 : 0)} | ${found.failures} |`,
    );
  }
} finally {
  await lab.down();
}
