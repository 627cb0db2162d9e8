/**
 * The same guest on the same lab, moved by QEMU itself: what vmferry is compared with.
 *
 * Both QEMUs get the command line that vmferry's agents build, run in the namespaces of the lab's hosts and talk TCP over
 * its link. Only `-S` is left out at the destination, so that the guest goes on there by itself. QEMU gets its best:
 * max-bandwidth is unlimited (its default of 128 MiB/s is a little more than 1 Gbit/s, but not than 10 Gbit/s), everything else is
 * QEMU's default (downtime-limit 300 ms, return-path off).
 *
 * A move begins, as vmferry's does, with a host that has nothing of the guest: the start of QEMU at the destination belongs
 * to its total time, and is in `furtherMs` by itself.
 *
 * `qemu-multifd` adds multifd with its default of 2 channels, `qemu-multifd-zstd` zstd at its default level 1, too; `qemu-xbzrle`
 * has a cache of 256 MiB; `qemu-auto-converge` slows the guest down by its defaults, 20 % and then 10 % more at a time. From 9.0 on
 * the channels look for zero pages themselves: `qemu-multifd-zero-page` says so where `qemu-multifd` leaves it to the default.
 * The downtime is what QEMU says, but for `qemu-postcopy`, where it says 1 ms: there it is the time from STOP to RESUME.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '../../core/base/errors.ts';
import { PAGE_BYTES } from '../../core/model/units.ts';
import type { VmSpec } from '../../core/model/vm.ts';
import { buildCommandLine } from '../../io/qemu/command-line.ts';
import type { QemuCommandLine } from '../../io/qemu/command-line.ts';
import { MigrationControlError } from '../../io/qemu/errors.ts';
import { waitForMigrationStatus, waitForRunState } from '../../io/qemu/migration-control.ts';
import { startQemu, terminate } from '../../io/qemu/process.ts';
import type { StartedQemu } from '../../io/qemu/process.ts';
import type { QmpClient } from '../../io/qemu/qmp-client.ts';
import type { MigrationInfo } from '../../io/qemu/qmp-types.ts';
import { formatVersion } from '../../io/qemu/version.ts';
import type { MoveFigures } from './comparison.ts';
import type { MovableGuest } from './move-watch.ts';
import { createTaps, deleteTaps } from './network.ts';
import type { LabHostPlan, LabPlan } from './plan.ts';

/** Capabilities and parameters of QEMU. With `postcopy` the guest is moved as soon as the migration is under way. */
export type NativeTuning = {
  readonly capabilities: readonly string[];
  readonly parameters: object;
  readonly postcopy?: boolean;
};

/** QEMU's default. */
const MULTIFD_CHANNELS = 2;
const XBZRLE_CACHE_BYTES = 256 * 2 ** 20;

const tunings = {
  'qemu-default': { capabilities: [], parameters: {} },
  'qemu-multifd-zstd': {
    capabilities: ['multifd'],
    parameters: { 'multifd-channels': MULTIFD_CHANNELS, 'multifd-compression': 'zstd' },
  },
  'qemu-xbzrle': { capabilities: ['xbzrle'], parameters: { 'xbzrle-cache-size': XBZRLE_CACHE_BYTES } },
  'qemu-multifd': { capabilities: ['multifd'], parameters: { 'multifd-channels': MULTIFD_CHANNELS } },
  'qemu-multifd-zero-page': {
    capabilities: ['multifd'],
    parameters: { 'multifd-channels': MULTIFD_CHANNELS, 'zero-page-detection': 'multifd' },
  },
  'qemu-auto-converge': { capabilities: ['auto-converge'], parameters: {} },
  'qemu-switchover-ack': { capabilities: ['return-path', 'switchover-ack'], parameters: {} },
  'qemu-postcopy': { capabilities: ['postcopy-ram'], parameters: {}, postcopy: true },
} as const satisfies Readonly<Record<string, NativeTuning>>;

export type NativeMode = keyof typeof tunings;
export const nativeModes = Object.keys(tunings) as readonly NativeMode[];

export type NativeOptions = {
  readonly plan: LabPlan;
  readonly mode: NativeMode;
  /** With a concrete machine type: both QEMUs get this one. */
  readonly spec: VmSpec;
  readonly accelerator: 'kvm' | 'tcg';
  readonly binary: string;
  readonly tuning?: NativeTuning;
  readonly signal: AbortSignal;
  /** A migration that has not completed by then is cancelled; default two minutes. */
  readonly moveTimeoutMs?: number;
  /** The downtime that QEMU may expect when it stops the guest; its default is 300 ms. */
  readonly downtimeLimitMs?: number;
};

const PORT = 4444;
const PAGE_HEADER_BYTES = 8;
/** A plain pre-copy of a guest that writes faster than the link never ends by itself. */
const MOVE_TIMEOUT_MS = 120_000;
const RUNNING_TIMEOUT_MS = 30_000;

type Side = StartedQemu & { readonly host: LabHostPlan; readonly commandLine: QemuCommandLine };

/** A guest on host a. It can be moved once. */
export class NativeGuest implements MovableGuest {
  readonly #options: NativeOptions;
  readonly #source: Side;
  #destination: Side | null = null;
  #moved = false;

  private constructor(options: NativeOptions, source: Side) {
    this.#options = options;
    this.#source = source;
  }

  /** Throws QemuProcessError, QmpError, LabError; nothing is left then. */
  static async start(options: NativeOptions): Promise<NativeGuest> {
    return new NativeGuest(options, await startSide(options, options.plan.hosts[0], []));
  }

  /**
   * From a to b. A migration that QEMU gives up, or that takes too long, is an outcome and no error. Throws QmpError,
   * QemuProcessError, LabError.
   */
  async move(): Promise<MoveFigures> {
    const { mode, plan, signal, moveTimeoutMs = MOVE_TIMEOUT_MS } = this.#options;
    const startMs = performance.now();
    this.#destination = await startSide(this.#options, plan.hosts[1], ['-incoming', 'defer']);
    const [source, destination] = [this.#source.qmp, this.#destination.qmp];
    const uri = `tcp:${this.#destination.host.address}:${PORT}`;
    const tuning = limited(this.#options.tuning ?? tunings[mode], this.#options.downtimeLimitMs);
    for (const qmp of [source, destination]) await prepare(qmp, tuning);
    await destination.execute('migrate-incoming', { uri });
    const qemuVersion = formatVersion(source.version);
    const downtime = watchDowntime(source, destination);
    const destinationStart = performance.now() - startMs;
    try {
      await source.execute('migrate', { uri });
      if (tuning.postcopy === true) {
        await waitForMigrationStatus(source, ['active'], { timeoutMs: moveTimeoutMs, signal });
        await source.execute('migrate-start-postcopy');
      }
      const info = await waitForMigrationStatus(source, ['completed'], { timeoutMs: moveTimeoutMs, signal });
      const totalMs = performance.now() - startMs;
      await waitForRunState(destination, ['running'], { timeoutMs: RUNNING_TIMEOUT_MS, signal });
      this.#moved = true;
      const furtherMs = {
        destinationStart,
        totalWithoutReservation: totalMs - destinationStart,
        qemuTotal: info['total-time'] ?? Number.NaN,
        qemuSetup: info['setup-time'] ?? Number.NaN,
        untilDestinationRuns: performance.now() - startMs,
      };
      const downtimeMs = tuning.postcopy === true ? downtime() : (info.downtime ?? null);
      const pagesSent = info.ram?.normal ?? Number.NaN;
      const figures = { totalMs, downtimeMs, pagesSent, ...resentOf(info), furtherMs };
      return { qemuVersion, outcome: 'completed', reason: 'completed', ...figures };
    } catch (error) {
      if (!(error instanceof MigrationControlError)) throw error;
      await source.execute('migrate_cancel').catch(() => undefined);
      const reason = describeError(error);
      return { qemuVersion, outcome: 'failed', reason, totalMs: null, downtimeMs: null, furtherMs: {} };
    }
  }

  async consoleFile(): Promise<string> {
    const side = this.#moved ? this.#destination : null;
    return await Promise.resolve((side ?? this.#source).commandLine.paths.consoleLog);
  }

  async stop(): Promise<void> {
    const sides = [this.#source, this.#destination].filter((side) => side !== null);
    await Promise.all(sides.map(endSide));
  }
}

/**
 * With xbzrle QEMU says what repeats cost: their deltas, and those that are sent whole because the cache does not have them
 * or the delta is too long.
 */
function resentOf(info: MigrationInfo): { readonly resentBytes?: number } {
  const cache = info['xbzrle-cache'];
  if (cache === undefined) return {};
  const wholePages = cache['cache-miss'] + cache.overflow;
  return { resentBytes: cache.bytes + wholePages * PAGE_BYTES + (cache.pages + wholePages) * PAGE_HEADER_BYTES };
}

/** Milliseconds from the guest's last stop at the source to its start at the destination; null when it has not come to that. */
function watchDowntime(source: QmpClient, destination: QmpClient): () => number | null {
  let stoppedMs: number | null = null;
  let resumedMs: number | null = null;
  source.on('STOP', ({ receivedMs }) => (stoppedMs = receivedMs));
  destination.on('RESUME', ({ receivedMs }) => (resumedMs = receivedMs));
  return () => (stoppedMs === null || resumedMs === null ? null : resumedMs - stoppedMs);
}

function limited(tuning: NativeTuning, downtimeLimitMs: number | undefined): NativeTuning {
  if (downtimeLimitMs === undefined) return tuning;
  return { ...tuning, parameters: { ...tuning.parameters, 'downtime-limit': downtimeLimitMs } };
}

/** The event of completion spares us a poll's delay; multifd must be set on both sides, and before the destination listens. */
async function prepare(qmp: QmpClient, { capabilities, parameters }: NativeTuning): Promise<void> {
  const wanted = ['events', ...capabilities].map((capability) => ({ capability, state: true }));
  await qmp.execute('migrate-set-capabilities', { capabilities: wanted });
  await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0, ...parameters });
}

async function startSide(options: NativeOptions, host: LabHostPlan, further: readonly string[]): Promise<Side> {
  const { spec, binary, accelerator, mode, signal } = options;
  const runFolder = join(host.folder, mode);
  // The console of a guest before this one must not be taken for this one's.
  rmSync(runFolder, { recursive: true, force: true });
  mkdirSync(runFolder, { recursive: true, mode: 0o700 });
  const built = buildCommandLine(spec, { binary, runFolder, accelerator, incoming: false });
  // "ip netns exec" replaces itself by QEMU: the pid is QEMU's.
  const args = ['netns', 'exec', host.namespace, binary, ...built.args, ...further];
  const commandLine = { ...built, binary: 'ip', args };
  await createTaps(host, built.taps);
  try {
    return { ...(await startQemu({ vm: spec.name, commandLine, signal })), host, commandLine };
  } catch (error) {
    await deleteTaps(host, built.taps);
    throw error;
  }
}

async function endSide({ host, commandLine, process, qmp }: Side): Promise<void> {
  qmp.close();
  await terminate(process);
  await deleteTaps(host, commandLine.taps);
}
