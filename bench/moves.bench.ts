/**
 * Moves of one guest on the lab's link with different options, and of its like by QEMU with different capabilities.
 *
 *     node bin/with-node24 bench/moves.bench.ts --link 1gbit --vmferry 'compress=none compress=lz' --repeat 2
 *         --native 'multifd,multifd-compression=zstd,multifd-zstd-level=1 xbzrle,xbzrle-cache-size=67108864'
 *
 * vmferry moves one guest to and fro, the options in turn. Each word of --native is a fresh guest: capabilities, and
 * parameters as name=value. As root; docs/compression.md has figures from it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { guestSpec, parseWriterLines } from '../guests/spec.ts';
import { AgentClient } from '../src/app/client/agent-client.ts';
import { unixTransport } from '../src/app/client/unix-transport.ts';
import { HeartbeatListener } from '../src/app/lab/heartbeat-listener.ts';
import { defaultQemu } from '../src/app/lab/host-agent.ts';
import { labDown, labStatus, labUp } from '../src/app/lab/lab.ts';
import { checkMoved, moveWatched, waitForPass, waitUntilReady } from '../src/app/lab/move-watch.ts';
import type { MovableGuest, WatchTools } from '../src/app/lab/move-watch.ts';
import { NativeGuest } from '../src/app/lab/native-migration.ts';
import { bridgeName, planLab } from '../src/app/lab/plan.ts';
import type { HostName, LinkName } from '../src/app/lab/plan.ts';
import { ResidentMemory } from '../src/app/lab/resident-memory.ts';
import { VmferryGuest } from '../src/app/lab/vmferry-migration.ts';
import type { MigrationReport } from '../src/core/model/migration.ts';
import { switchoverText } from '../src/core/model/switchover.ts';
import { vmSpecSchema } from '../src/core/model/vm.ts';

const HEARTBEAT_PORT = 9000;
const THREAD_POLL_MS = 100;

const { values: given } = parseArgs({
  options: {
    link: { type: 'string', default: '1gbit' },
    lab: { type: 'string', default: 'moves' },
    memory: { type: 'string', default: '1G' },
    cache: { type: 'string', default: '700M' },
    writer: { type: 'string', default: '128M,20M,sequential,0' },
    vmferry: { type: 'string', default: '' },
    native: { type: 'string', default: '' },
    repeat: { type: 'string', default: '1' },
    threads: { type: 'boolean', default: false },
    why: { type: 'boolean', default: false },
    timeout: { type: 'string', default: '120' },
  },
});

const plan = planLab(given.lab);
const [set = '', rate = '', pattern = 'sequential', bytes = '0'] = given.writer.split(',');
const network = plan.hosts[0].address.slice(0, plan.hosts[0].address.lastIndexOf('.'));
const spec = vmSpecSchema.parse(
  guestSpec({
    name: 'guest',
    memory: given.memory,
    ...(given.cache === '0' ? {} : { cache: given.cache }),
    writer: { set, rate, pattern: pattern as 'sequential' | 'random', bytes: Number(bytes) },
    networks: [{ type: 'tap', bridge: bridgeName }],
    heartbeat: `${plan.hosts[0].address}:${HEARTBEAT_PORT}`,
    address: `${network}.10/24`,
  }),
);
const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

/** `compress=lz,lanes=1` as options of a migration, or as parameters of QEMU. */
function assignments(list: readonly string[]): Record<string, string | number> {
  const pairs = list.map((each) => each.split('=') as [string, string]);
  return Object.fromEntries(pairs.map(([name, value]) => [name, /^\d+$/.test(value) ? Number(value) : value]));
}

/** Milliseconds of processor time of each thread of a process, by name and number. */
function threadTimes(pid: number): Map<string, number> {
  const times = new Map<string, number>();
  try {
    for (const id of readdirSync(`/proc/${pid}/task`)) {
      const stat = readFileSync(`/proc/${pid}/task/${id}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      times.set(
        `${stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))}/${id}`,
        (Number(fields[11]) + Number(fields[12])) * 10,
      );
    }
  } catch {
    // A thread has ended meanwhile.
  }
  return times;
}

/** Watches the threads of both agents; says what each took, those with less than 20 ms left out. */
async function watchThreads(): Promise<() => string> {
  const { hosts } = await labStatus(plan.name);
  const pids = hosts.map((host) => (host as { agentPid?: number | null }).agentPid ?? 0);
  const first = pids.map(threadTimes);
  const last = first.map((times) => new Map(times));
  const look = (): void => {
    for (const [side, pid] of pids.entries()) for (const [name, ms] of threadTimes(pid)) last[side]!.set(name, ms);
  };
  const timer = setInterval(look, THREAD_POLL_MS);
  return () => {
    clearInterval(timer);
    look();
    return last
      .map((times, side) => {
        const took = [...times].map(([name, ms]) => [name.split('/')[0]!, ms - (first[side]!.get(name) ?? 0)] as const);
        const list = took.filter(([, ms]) => ms >= 20).sort((a, b) => b[1] - a[1]);
        return `    ${'ab'[side]}: ${list.map(([name, ms]) => `${name} ${ms}`).join(', ')}`;
      })
      .join('\n');
  };
}

const columns = [
  ...['total', 'stream', 'down', 'MiB', 'again', 'stop', 'gap', 'sent', 'again', 'delta', 'same'],
  ...['rounds', 'CPU a', 'b', 'Qa', 'Qb'],
];
const mib = (bytes: number | undefined): string | null => (bytes === undefined ? null : (bytes / 2 ** 20).toFixed(2));

function row(name: string, cells: readonly (number | string | null)[]): string {
  const text = cells.map((cell) => (typeof cell === 'number' ? cell.toFixed(0) : (cell ?? '-')).padStart(7));
  return `${name.padEnd(44)}${text.join('')}`;
}

async function moveByVmferry(guest: VmferryGuest, to: HostName, options: object): Promise<MigrationReport> {
  const client = new AgentClient(unixTransport(plan.hosts[to === 'b' ? 0 : 1].socket));
  try {
    const { id } = await client.call('startMigration', { body: { vm: guest.view.name, destination: to, options } });
    for await (const event of client.events(id)) if (event.type === 'report') return event.report;
    throw new Error(`Migration ${id} has no report`);
  } finally {
    await client.close();
  }
}

async function vmferryMoves(tools: WatchTools): Promise<void> {
  const guest = await VmferryGuest.start(plan, spec, tools.signal);
  const pages = await waitUntilReady(guest, tools);
  await waitForPass(guest, pages, tools);
  let at: HostName = 'a';
  let console = plan.hosts[0].folder;
  let report: MigrationReport | null = null;
  let options = {};
  const movable: MovableGuest = {
    async move(to) {
      report = await moveByVmferry(guest, to, options);
      const { totalMs, downtimeMs, outcome, reason } = report;
      return { qemuVersion: '', outcome, reason, totalMs, downtimeMs, furtherMs: {} };
    },
    async consoleFile() {
      const client = new AgentClient(unixTransport(plan.hosts[at === 'a' ? 0 : 1].socket));
      const { runFolder } = await client.call('showVm', { params: { name: guest.view.name } });
      await client.close();
      console = `${runFolder}/console.log`;
      return console;
    },
    stop: async () => await guest.stop(),
  };
  for (let repeat = 0; repeat < Number(given.repeat); repeat++) {
    for (const word of words(given.vmferry)) {
      options = assignments(word.split(','));
      const to: HostName = at === 'a' ? 'b' : 'a';
      const threads = await watchThreads();
      await using memory = ResidentMemory.forGuest(spec.memory);
      const moved = await moveWatched(movable, to, tools, memory);
      const threadText = threads();
      at = to;
      const { corruptedWords, longestGapMs } = await checkMoved(movable, pages, moved, tools);
      const {
        totalMs,
        stagesMs,
        pages: counts,
        bytes,
        rounds,
        cpuMs,
        downtimeMs,
        outcome,
        reason,
      } = report! as MigrationReport;
      if (outcome !== 'completed') throw new Error(reason);
      const { sent, resent, delta, unchanged } = counts;
      const cpu = [cpuMs.source.agent, cpuMs.destination.agent, cpuMs.source.qemu, cpuMs.destination.qemu];
      const stream = totalMs - stagesMs.reservation - stagesMs.preMigration;
      const stopped = rounds
        .filter(({ stage }) => stage === 'stopAndCopy')
        .reduce((sum, each) => sum + each.wireBytes, 0);
      const times = [totalMs, stream, downtimeMs, mib(moved.wireBytes), mib(bytes.resent), mib(stopped), longestGapMs];
      print(
        row(word, [...times, sent, resent, delta, unchanged, rounds.length, ...cpu]) +
          (corruptedWords > 0 ? ' DAMAGED' : ''),
      );
      if (given.why && report!.switchover !== null) print(`    ${switchoverText(report!.switchover)}`);
      if (given.threads) print(threadText);
    }
  }
  reference = guest.view;
}

async function nativeMove(word: string, tools: WatchTools): Promise<void> {
  const list = word.split(',');
  const guest = await NativeGuest.start({
    plan,
    mode: 'qemu-default',
    spec: { ...spec, machine: reference?.machine ?? spec.machine },
    accelerator: reference?.accelerator ?? 'tcg',
    binary: defaultQemu(),
    tuning: {
      capabilities: list.filter((each) => !each.includes('=') && each !== 'default'),
      parameters: assignments(list.filter((each) => each.includes('='))),
    },
    signal: tools.signal,
    moveTimeoutMs: Number(given.timeout) * 1000,
  });
  try {
    const pages = await waitUntilReady(guest, tools);
    await waitForPass(guest, pages, tools);
    await using memory = ResidentMemory.forGuest(spec.memory);
    const moved = await moveWatched(guest, 'b', tools, memory);
    if (moved.outcome !== 'completed')
      return print(`${row(word, [])}${mib(moved.wireBytes)} MiB until: ${moved.reason}`);
    const { corruptedWords, longestGapMs } = await checkMoved(guest, pages, moved, tools);
    const bytes = [mib(moved.wireBytes), mib(moved.resentBytes), null];
    const figures = [moved.totalMs, moved.totalMs, moved.downtimeMs, ...bytes, longestGapMs, moved.pagesSent ?? null];
    print(row(word, figures) + (corruptedWords > 0 ? ' DAMAGED' : ''));
  } finally {
    await guest.stop();
  }
}

let reference: VmferryGuest['view'] | null = null;
const print = (line: string): void => console.log(line);

await labDown(plan.name);
await labUp({ name: plan.name, link: given.link as LinkName });
const heartbeats = await HeartbeatListener.start(plan.hosts[0]);
try {
  const tools: WatchTools = { plan, heartbeats, parseWriterLines, signal: new AbortController().signal };
  print(
    `link ${given.link}, ${given.memory} of memory, file cache ${given.cache}, writer ${given.writer}; times in ms`,
  );
  print(row('', columns));
  if (words(given.vmferry).length > 0) await vmferryMoves(tools);
  for (const word of words(given.native)) await nativeMove(word, tools);
} finally {
  heartbeats.stop();
  await labDown(plan.name);
}
