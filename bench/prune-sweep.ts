/**
 * The sweep of the SonicMigration paper (section 4): a guest of 2 GiB that has read 2 GB of files, and then uses more and more
 * memory itself, moved over 1 Gbit/s by vmferry and by QEMU's default pre-copy. Time and pages, and their ratios.
 *
 *     node bin/with-node24 bench/prune-sweep.ts [--user 0,256,...] [--modes vmferry,no-pruning,keep-cache,drop-slabs,qemu]
 *                                               [--json FILE]
 *
 * Needs root, like the demo. Every move gets a fresh guest. With --json what the file already holds is kept and shown with
 * the rest, so that the sweep can be taken in parts. 2000 MB of user memory do not fit beside the kernel: 1800 stands for it.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { execFileSync } from 'node:child_process';
import { ensureGuestImages, formatDisk } from '../guests/images.ts';
import { guestSpec, parseWriterLines } from '../guests/spec.ts';
import { formatTable } from '../src/app/cli/table.ts';
import { defaultQemu } from '../src/app/lab/host-agent.ts';
import { labDown, labUp } from '../src/app/lab/lab.ts';
import type { MovableGuest } from '../src/app/lab/move-watch.ts';
import { NativeGuest } from '../src/app/lab/native-migration.ts';
import { linkBytesOf } from '../src/app/lab/network.ts';
import { planLab, projectFolder } from '../src/app/lab/plan.ts';
import { VmferryGuest } from '../src/app/lab/vmferry-migration.ts';
import type { MigrationOptions } from '../src/core/model/migration.ts';
import { vmSpecSchema } from '../src/core/model/vm.ts';
import type { VmSpec } from '../src/core/model/vm.ts';

const modes = {
  vmferry: {},
  'no-pruning': { prune: 'none' },
  'keep-cache': { keepCache: true },
  'drop-slabs': { dropSlabs: true },
  qemu: null,
} as const satisfies Readonly<Record<string, Partial<MigrationOptions> | null>>;
type Mode = keyof typeof modes;

type Sample = {
  readonly userMib: number;
  readonly mode: Mode;
  readonly totalMs: number | null;
  readonly downtimeMs: number | null;
  readonly pagesSent: number | null;
  readonly wireBytes: number;
  readonly corruptedWords: number;
  /** How long the guest took to read its files into the cache at first: what a cold cache costs to fill again. */
  readonly cacheFillMs: number;
  readonly furtherMs: Readonly<Record<string, number>>;
  /** What the agent's log says of dropping and asking. */
  readonly pruning?: readonly string[];
};

const FILE_BYTES = 2048 * 2 ** 20;
const MACHINE = 'pc-q35-10.0';
const READY_TIMEOUT_MS = 150_000;
const plan = planLab('prune-sweep');

function dataDisk(): string {
  const { programs } = ensureGuestImages();
  const folder = join(projectFolder, '.cache/bench');
  const disk = join(folder, 'prune-sweep.ext4');
  if (existsSync(disk)) return disk;
  const files = join(folder, 'files');
  rmSync(files, { recursive: true, force: true });
  mkdirSync(files, { recursive: true });
  execFileSync(join(programs, 'makefiles'), [files, String(FILE_BYTES)]);
  formatDisk(`${disk}.new`, FILE_BYTES + 128 * 2 ** 20, ['-d', files]);
  rmSync(files, { recursive: true });
  renameSync(`${disk}.new`, disk);
  return disk;
}

function specOf(userMib: number): VmSpec {
  const spec = guestSpec({
    ...{ name: 'sweep', memory: '2G', machine: MACHINE, accelerator: 'tcg' },
    disks: [{ source: dataDisk(), readOnly: true }],
    kernelWords: ['vmferry.cache=2048M'],
    // It only holds its memory: a page is written, and a few are checked, now and then.
    ...(userMib > 0 && { writer: { set: `${userMib}M`, rate: '4K', checkSeconds: 200 } }),
  });
  return vmSpecSchema.parse(spec);
}

async function startGuest(mode: Mode, userMib: number, signal: AbortSignal): Promise<MovableGuest> {
  const spec = specOf(userMib);
  const options = modes[mode];
  if (options === null) {
    const binary = defaultQemu();
    return await NativeGuest.start({ plan, mode: 'qemu-default', spec, signal, accelerator: 'tcg', binary });
  }
  const guest = await VmferryGuest.start(plan, spec, signal);
  guest.options = options;
  return guest;
}

async function waitReady(guest: MovableGuest): Promise<string> {
  const file = await guest.consoleFile();
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const text = existsSync(file) ? readFileSync(file, 'latin1') : '';
    if (/^READY /m.test(text)) return text;
    if (performance.now() > deadlineMs) throw new Error(`The guest did not become ready:\n${text.slice(-500)}`);
    await sleep(100);
  }
}

async function wireBytes(): Promise<number> {
  const [a, b] = await Promise.all(plan.hosts.map(async (host) => await linkBytesOf(host)));
  return (a?.sent ?? 0) + (b?.sent ?? 0);
}

/** From the agent at the source: "The guest dropped its file cache 123 ms". */
function pruningLog(from: number): string[] {
  const file = join(plan.hosts[0].folder, 'agent.log');
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  const found = lines.filter((line) => line.includes('"migration.pruning"'));
  return found.slice(from).map((line) => {
    const { msg, ms, questions } = JSON.parse(line) as { msg: string; ms?: number; questions?: number };
    return [msg, ms === undefined ? '' : `${ms} ms`, questions === undefined ? '' : `in ${questions} questions`]
      .join(' ')
      .trim();
  });
}

async function sample(mode: Mode, userMib: number): Promise<Sample> {
  const guest = await startGuest(mode, userMib, new AbortController().signal);
  try {
    const boot = await waitReady(guest);
    await sleep(1000);
    const before = { bytes: await wireBytes(), logged: pruningLog(0).length };
    const { totalMs, downtimeMs, pagesSent, furtherMs, outcome, reason } = await guest.move('b');
    if (outcome !== 'completed') throw new Error(`${mode} with ${userMib} MiB: ${reason}`);
    const bytes = (await wireBytes()) - before.bytes;
    await sleep(1000);
    const after = readFileSync(await guest.consoleFile(), 'latin1');
    return {
      ...{ userMib, mode, totalMs, downtimeMs, pagesSent: pagesSent ?? null, wireBytes: bytes },
      corruptedWords: parseWriterLines(after).at(-1)?.corruptedWords ?? 0,
      cacheFillMs: Number(/^CACHE bytes=\d+ ms=(\d+)/m.exec(boot)?.[1] ?? Number.NaN),
      furtherMs,
      pruning: pruningLog(before.logged),
    };
  } finally {
    await guest.stop();
  }
}

function printTable(samples: readonly Sample[]): void {
  const sizes = [...new Set(samples.map(({ userMib }) => userMib))].sort((a, b) => a - b);
  const rows = sizes.flatMap((userMib) => {
    const own = samples.filter((each) => each.userMib === userMib);
    const qemu = own.find(({ mode }) => mode === 'qemu');
    return own.map((each) => [
      String(userMib),
      each.mode,
      each.totalMs === null ? '' : `${(each.totalMs / 1000).toFixed(2)} s`,
      lessThan(each.totalMs, qemu?.totalMs),
      `${each.downtimeMs?.toFixed(0) ?? ''} ms`,
      String(each.pagesSent ?? ''),
      lessThan(each.pagesSent, qemu?.pagesSent),
      `${(each.wireBytes / 2 ** 20).toFixed(1)} MiB`,
      lessThan(each.wireBytes, qemu?.wireBytes),
    ]);
  });
  const heads = ['user MiB', 'mode', 'total', 'less', 'downtime', 'pages', 'less', 'wire', 'less'];
  for (const line of formatTable(heads, rows, 'rlrrrrrrr')) console.log(line);
}

/** How much less than QEMU, as the paper counts: "68.3 %". */
function lessThan(own: number | null, qemu: number | null | undefined): string {
  return own === null || qemu === null || qemu === undefined ? '' : `${(100 * (1 - own / qemu)).toFixed(1)} %`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      user: { type: 'string', default: '0,256,512,1024,1536,1800' },
      modes: { type: 'string', default: 'vmferry,qemu' },
      json: { type: 'string' },
    },
  });
  const samples: Sample[] = [];
  if (values.json !== undefined && existsSync(values.json)) {
    samples.push(...(JSON.parse(readFileSync(values.json, 'utf8')) as Sample[]));
  }
  dataDisk();
  await labDown(plan.name);
  try {
    await labUp({ name: plan.name, link: '1gbit' });
    for (const userMib of values.user.split(',').map(Number)) {
      for (const mode of values.modes.split(',')) {
        if (!Object.hasOwn(modes, mode))
          throw new Error(`There is no mode "${mode}": ${Object.keys(modes).join(', ')}`);
        const taken = await sample(mode as Mode, userMib);
        samples.push(taken);
        if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(samples, null, 2)}\n`);
        console.error(JSON.stringify(taken));
      }
    }
  } finally {
    await labDown(plan.name);
  }
  printTable(samples);
}

await main();
