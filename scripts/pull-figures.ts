/**
 * The figures of docs/pull.md: the same guest on the same lab, moved by vmferry's strategies and by QEMU itself, in turn.
 *
 *     node bin/with-node24 scripts/pull-figures.ts [--runs 2] [--link 1gbit] [--memory 1G] [--writer 64M,20M | --idle] MODE...
 *
 * Modes: precopy, dsm, dsm-no-pull, postcopy, qemu-default, qemu-postcopy. Needs what `npm run setup` brings, and root.
 */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { guestSpec } from '../guests/spec.ts';
import type { GuestOptions } from '../guests/spec.ts';
import { median } from '../src/app/lab/comparison.ts';
import { planLab } from '../src/app/lab/plan.ts';
import type { LinkName } from '../src/app/lab/plan.ts';
import { vmSpecSchema } from '../src/core/model/vm.ts';
import { buildCommandLine } from '../src/io/qemu/command-line.ts';
import { waitForMigrationStatus } from '../src/io/qemu/migration-control.ts';
import { startQemu, terminate } from '../src/io/qemu/process.ts';
import type { StartedQemu } from '../src/io/qemu/process.ts';
import { LabHosts, qemuBinaries } from '../test/support/lab-hosts.ts';

type Figures = {
  readonly mode: string;
  readonly totalMs: number;
  readonly downtimeMs: number;
  readonly wireMb: number;
  readonly pulledPages: number | null;
  readonly faults: number | null;
  readonly medianMs: number | null;
  readonly p99Ms: number | null;
  readonly reason: string;
};

const strategies: Readonly<Record<string, readonly string[]>> = {
  precopy: ['--strategy', 'precopy'],
  dsm: ['--strategy', 'dsm', '--pull'],
  'dsm-no-pull': ['--strategy', 'dsm', '--no-pull'],
  postcopy: ['--strategy', 'postcopy'],
};
/** Time for the guest to settle after its boot. */
const SETTLE_MS = 3000;
const MOVE_TIMEOUT_MS = 60_000;
const PORT = 4444;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '1' },
    link: { type: 'string', default: '1gbit' },
    memory: { type: 'string', default: '1G' },
    writer: { type: 'string', default: '64M,20M' },
    idle: { type: 'boolean', default: false },
  },
});

function options(name: string): GuestOptions {
  const [set = '64M', rate = '20M'] = values.writer.split(',');
  return { name, memory: values.memory, accelerator: 'tcg', ...(values.idle ? {} : { writer: { set, rate } }) };
}

async function byVmferry(lab: LabHosts, mode: string): Promise<Figures> {
  const guest = await lab.startGuest('a', options('figures'));
  await sleep(SETTLE_MS);
  const before = (await lab.sentBytes()).a;
  const { report } = await lab.migrate(guest, 'a', 'b', ...(strategies[mode] ?? []));
  const wireMb = ((await lab.sentBytes()).a - before) / 1e6;
  await lab.ok('b', 'vm', 'stop', 'figures', '--force');
  const { totalMs, downtimeMs, reason, pull, pages, stagesMs } = report;
  process.stderr.write(`${mode} ${JSON.stringify({ stagesMs, rounds: report.rounds, pages, cpu: report.cpuMs })}\n`);
  return {
    ...{ mode, wireMb, reason, pulledPages: pages.pulled, downtimeMs: downtimeMs ?? Number.NaN },
    // The reservation starts a QEMU, which QEMU's own modes have had started before.
    totalMs: totalMs - stagesMs.reservation,
    ...{ faults: pull?.faults ?? null, medianMs: pull?.medianMs ?? null, p99Ms: pull?.p99Ms ?? null },
  };
}

async function byQemu(lab: LabHosts, mode: string): Promise<Figures> {
  const plan = planLab(lab.name);
  const spec = vmSpecSchema.parse(guestSpec(options('figures')));
  const sides: StartedQemu[] = [];
  const consoles: string[] = [];
  try {
    for (const host of plan.hosts) {
      const runFolder = join(host.folder, 'native');
      rmSync(runFolder, { recursive: true, force: true });
      mkdirSync(runFolder, { recursive: true });
      const binary = qemuBinaries['10'];
      const built = buildCommandLine(spec, { binary, runFolder, accelerator: 'tcg', incoming: false });
      const incoming = host === plan.hosts[0] ? [] : ['-incoming', 'defer'];
      const args = ['netns', 'exec', host.namespace, binary, ...built.args, ...incoming];
      sides.push(await startQemu({ vm: spec.name, commandLine: { ...built, binary: 'ip', args } }));
      consoles.push(built.paths.consoleLog);
    }
    const [source, destination] = sides;
    if (source === undefined || destination === undefined) throw new Error('two QEMUs were started');
    while (!readFileSync(consoles[0] ?? '', 'utf8').includes('READY ')) await sleep(100);
    await sleep(SETTLE_MS);
    const address = plan.hosts[1].address;
    return { mode, ...(await moveNatively(lab, source, destination, { address, postcopy: mode === 'qemu-postcopy' })) };
  } finally {
    for (const { qmp, process: child } of sides) {
      qmp.close();
      await terminate(child);
    }
  }
}

async function moveNatively(
  lab: LabHosts,
  { qmp: source }: StartedQemu,
  { qmp: destination }: StartedQemu,
  how: { readonly address: string; readonly postcopy: boolean },
): Promise<Omit<Figures, 'mode'>> {
  for (const qmp of [source, destination]) {
    const capabilities = [
      { capability: 'events', state: true },
      { capability: 'postcopy-ram', state: how.postcopy },
    ];
    await qmp.execute('migrate-set-capabilities', { capabilities });
    await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
  }
  const uri = `tcp:${how.address}:${PORT}`;
  await destination.execute('migrate-incoming', { uri });
  let stoppedAtMs = Number.NaN;
  let resumedAtMs = Number.NaN;
  source.on('STOP', ({ receivedMs }) => (stoppedAtMs = receivedMs));
  destination.on('RESUME', ({ receivedMs }) => (resumedAtMs = receivedMs));
  const before = (await lab.sentBytes()).a;
  const startMs = performance.now();
  await source.execute('migrate', { uri });
  if (how.postcopy) {
    await waitForMigrationStatus(source, ['active'], { timeoutMs: MOVE_TIMEOUT_MS });
    await source.execute('migrate-start-postcopy');
  }
  const info = await waitForMigrationStatus(source, ['completed'], { timeoutMs: MOVE_TIMEOUT_MS });
  while (Number.isNaN(resumedAtMs)) await sleep(5);
  const totalMs = Math.max(performance.now(), resumedAtMs) - startMs;
  const faults = how.postcopy ? (info.ram?.['postcopy-requests'] ?? null) : null;
  return {
    ...{ totalMs, downtimeMs: resumedAtMs - stoppedAtMs, wireMb: ((await lab.sentBytes()).a - before) / 1e6 },
    ...{ pulledPages: null, faults, medianMs: null, p99Ms: null, reason: `QEMU says downtime ${info.downtime} ms` },
  };
}

const modes = positionals.length > 0 ? positionals : [...Object.keys(strategies), 'qemu-default', 'qemu-postcopy'];
const lab = new LabHosts({ link: values.link as LinkName });
const all: Figures[] = [];
await lab.up();
try {
  for (let run = 0; run < Number(values.runs); run++) {
    for (const mode of modes) {
      const figures = mode in strategies ? await byVmferry(lab, mode) : await byQemu(lab, mode);
      process.stderr.write(`${JSON.stringify(figures)}\n`);
      all.push(figures);
    }
  }
} finally {
  await lab.down();
}
const number = (value: number | null, digits = 0): string => (value === null ? '-' : value.toFixed(digits));
process.stdout.write(
  '| mode | downtime ms | total ms | wire MB | pulled pages | faults | fault median ms | p99 ms |\n',
);
process.stdout.write('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n');
for (const mode of modes) {
  const own = all.filter((figures) => figures.mode === mode);
  const of = (pick: (figures: Figures) => number | null, digits = 0): string => number(median(own.map(pick)), digits);
  const cells = [mode, of((f) => f.downtimeMs), of((f) => f.totalMs), of((f) => f.wireMb, 1), of((f) => f.pulledPages)];
  cells.push(
    of((f) => f.faults),
    of((f) => f.medianMs, 1),
    of((f) => f.p99Ms, 1),
  );
  process.stdout.write(`| ${cells.join(' | ')} |\n`);
}
