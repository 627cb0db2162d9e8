/**
 * The strategies side by side, and QEMU's own pre-copy beside them: equal guests, one after the other, on two lab hosts.
 *
 *     node bin/with-node24 bench/strategies.bench.ts [--guest idle,slow,fast,cache,random,demo] [--modes precopy,auto,qemu-default]
 *         [--link 100mbit|1gbit|10gbit] [--runs N] [--compress lz|none] [--timeout SECONDS] [--json FILE]
 *
 * Modes take turns within a run (A B C A B C); dsm and postcopy may pull. QEMU's own have unlimited bandwidth; of a guest that
 * writes faster than the link most never end, so they are cancelled after --timeout. Wire bytes are counted at the link, damaged words
 * are what the guest's writer finds; the longest gap is between the guest's heartbeats. Needs root.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { guestSpec, parseWriterLines, type GuestOptions } from '../guests/spec.ts';
import { HEARTBEAT_PORT, HeartbeatListener } from '../src/app/lab/heartbeat-listener.ts';
import { defaultQemu } from '../src/app/lab/host-agent.ts';
import { labDown, labUp } from '../src/app/lab/lab.ts';
import {
  checkMoved,
  moveWatched,
  waitForPass,
  waitUntilReady,
  type MovableGuest,
  type Watched,
  type WatchTools,
} from '../src/app/lab/move-watch.ts';
import { NativeGuest, nativeModes, type NativeMode } from '../src/app/lab/native-migration.ts';
import { bridgeName, linkNames, planLab, type LinkName } from '../src/app/lab/plan.ts';
import { VmferryGuest } from '../src/app/lab/vmferry-migration.ts';
import { compressModes, strategyNames, type CompressMode, type StrategyName } from '../src/core/model/migration.ts';
import { switchoverText } from '../src/core/model/switchover.ts';
import { vmSpecSchema, type VmSpec } from '../src/core/model/vm.ts';

/** A writer that says its lines and writes next to nothing. */
const quiet = { set: '64K', rate: '64K' } as const;
const guests: Readonly<Record<string, Omit<GuestOptions, 'name'>>> = {
  idle: { memory: '512M', writer: quiet },
  slow: { memory: '512M', writer: { set: '128M', rate: '20M' } },
  fast: { memory: '512M', writer: { set: '128M', rate: '200M', pattern: 'random' } },
  cache: { memory: '512M', cache: '300M', writer: quiet },
  random: { memory: '512M', random: '256M', writer: quiet },
  demo: { memory: '1G', cache: '700M', writer: { set: '128M', rate: '20M' } },
};
const modes = [...strategyNames, ...nativeModes] as const;
type Mode = StrategyName | NativeMode;

type Sample = Partial<Watched> & {
  readonly guest: string;
  readonly mode: Mode;
  readonly run: number;
  readonly wireMb: number;
  /** Of vmferry: how it came to the switchover, and what it had promised. */
  readonly switchover: string | null;
};

type Bench = {
  readonly tools: WatchTools;
  readonly link: LinkName;
  readonly compress: CompressMode;
  readonly timeoutMs: number;
};

function oneOf<T extends string>(value: string, choices: readonly T[], what: string): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw new Error(`${what} "${value}" is none of ${choices.join(', ')}`);
  return found;
}

function specOf(name: string, { plan }: WatchTools): VmSpec {
  const options = guests[oneOf(name, Object.keys(guests), 'Guest')]!;
  const [{ address }] = plan.hosts;
  const network = address.slice(0, address.lastIndexOf('.'));
  const place = { heartbeat: `${address}:${HEARTBEAT_PORT}`, address: `${network}.10/${plan.prefixBits}` };
  const networks = [{ type: 'tap', bridge: bridgeName } as const];
  return vmSpecSchema.parse(guestSpec({ name, accelerator: 'tcg', networks, ...place, ...options }));
}

function isNative(mode: Mode): mode is NativeMode {
  return nativeModes.some((each) => each === mode);
}

async function startGuest(mode: Mode, spec: VmSpec, bench: Bench): Promise<MovableGuest> {
  const { plan, signal } = bench.tools;
  if (isNative(mode)) {
    const native = { plan, spec, signal, accelerator: 'tcg', binary: defaultQemu(), mode } as const;
    return await NativeGuest.start({ ...native, moveTimeoutMs: bench.timeoutMs });
  }
  const guest = await VmferryGuest.start(plan, spec, signal);
  guest.options = { strategy: mode, compress: bench.compress, pull: mode === 'dsm' || mode === 'postcopy' };
  return guest;
}

async function sample(name: string, mode: Mode, run: number, bench: Bench): Promise<Sample> {
  const { tools } = bench;
  const guest = await startGuest(mode, specOf(name, tools), bench);
  try {
    const pages = await waitUntilReady(guest, tools);
    await tools.heartbeats.take();
    await waitForPass(guest, pages, tools);
    const moved = await moveWatched(guest, 'b', tools);
    const watched: Partial<Watched> =
      moved.outcome === 'completed' ? await checkMoved(guest, pages, moved, tools) : moved;
    const switchover = guest instanceof VmferryGuest ? (guest.report?.switchover ?? null) : null;
    const text = switchover === null ? null : switchoverText(switchover);
    return { ...watched, guest: name, mode, run, wireMb: moved.wireBytes / 1e6, switchover: text };
  } finally {
    await guest.stop();
  }
}

function line({ guest, mode, totalMs, downtimeMs, longestGapMs, wireMb, corruptedWords, ...more }: Sample): string {
  const ms = (value: number | null | undefined): string => String(Math.round(value ?? Number.NaN)).padStart(7);
  const why = more.switchover ?? (more.outcome === 'completed' ? '' : (more.reason ?? ''));
  const figures = `total ${ms(totalMs)}  downtime ${ms(downtimeMs)}  gap ${ms(longestGapMs)} ms  ${wireMb.toFixed(0).padStart(5)} MB`;
  return `${guest.padEnd(6)} ${mode.padEnd(17)} ${figures}  damaged ${corruptedWords ?? '?'}  ${why}`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      guest: { type: 'string', default: 'idle,slow,fast,cache' },
      modes: { type: 'string', default: modes.join(',') },
      link: { type: 'string', default: '100mbit' },
      runs: { type: 'string', default: '1' },
      compress: { type: 'string', default: 'adaptive' },
      timeout: { type: 'string', default: '45' },
      json: { type: 'string' },
    },
  });
  const link = oneOf(values.link, linkNames, 'Link');
  const compress = oneOf(values.compress, compressModes, 'Compression');
  const chosen = values.modes.split(',').map((mode) => oneOf(mode, modes, 'Mode'));
  const plan = planLab('strategies');
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());
  const samples: Sample[] = [];
  await labDown(plan.name);
  await labUp({ name: plan.name, link });
  const heartbeats = await HeartbeatListener.start(plan.hosts[0]);
  try {
    const tools: WatchTools = { plan, heartbeats, parseWriterLines, signal: interrupted.signal };
    const bench: Bench = { tools, link, compress, timeoutMs: Number(values.timeout) * 1000 };
    for (let run = 1; run <= Number(values.runs); run++) {
      for (const guest of values.guest.split(',')) {
        for (const mode of chosen) {
          const taken = await sample(guest, mode, run, bench);
          samples.push(taken);
          console.log(line(taken));
        }
      }
    }
  } finally {
    heartbeats.stop();
    await labDown(plan.name);
    if (values.json !== undefined)
      writeFileSync(values.json, `${JSON.stringify({ link, compress, samples }, null, 2)}\n`);
  }
}

await main();
