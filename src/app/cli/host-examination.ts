/**
 * What a host needs to send and receive guests, tried out rather than looked up, and what each lack costs.
 *
 * `missing`: nothing works without it. `reduced`: something is slower, unsafe or not available.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { describeError } from '../../core/base/errors.ts';
import { formatBytes, formatMs, GIB } from '../../core/model/units.ts';
import { assertMemoryAccess } from '../../io/qemu/guest-memory.ts';
import { probeKvm, probeQemu } from '../../io/qemu/probe.ts';
import { formatVersion, isAtLeast } from '../../io/qemu/version.ts';
import type { QemuVersion } from '../../io/qemu/version.ts';
import { userfaultfdWorks } from '../../io/qemu/userfaultfd.ts';

const run = promisify(execFile);
const COMMAND_TIMEOUT_MS = 5_000;
const FSYNC_COUNT = 20;
/** The commit waits for two flushes; beyond this they are a visible part of the downtime. */
const FSYNC_MS_GOOD = 20;
const DISK_FREE_BYTES_GOOD = GIB;

export type Finding = {
  readonly what: string;
  readonly verdict: 'ok' | 'reduced' | 'missing';
  readonly found: string;
  /** What the lack costs and what to do; null when there is none. */
  readonly cost: string | null;
};

export type Examination = { readonly qemu: readonly string[]; readonly stateFolder: string };

export async function examineHost(examination: Examination): Promise<Finding[]> {
  const versions = await examineQemus(examination.qemu);
  const binary = versions.findLast(({ version }) => version !== null)?.binary ?? null;
  // One after the other: each guest that is tried out wants a processor to itself.
  const kvm = binary === null ? null : await examineKvm(binary);
  return [
    ...versions.map((found) => qemuFinding(found, kvm?.verdict === 'ok')),
    ...(kvm === null ? [] : [kvm]),
    await examineMemoryRights(),
    await examineLinkRates(),
    await examineNamespaces(),
    ...(binary === null ? [] : [await examineUserfaultfd(binary)]),
    ...(await examineDisk(examination.stateFolder)),
    await examineClock(),
  ];
}

type FoundQemu = { readonly binary: string; readonly version: QemuVersion | null; readonly error: string };

/** The system's QEMU and the one that `npm run setup` puts beside it, or the ones that were named. */
async function examineQemus(named: readonly string[]): Promise<FoundQemu[]> {
  const own = join(import.meta.dirname, '../../../.cache/qemu-10/bin/qemu-system-x86_64');
  const binaries = named.length > 0 ? named : ['qemu-system-x86_64', ...(existsSync(own) ? [own] : [])];
  const found: FoundQemu[] = [];
  for (const binary of binaries) {
    try {
      found.push({ binary, version: (await probeQemu(binary)).version, error: '' });
    } catch (error) {
      found.push({ binary, version: null, error: describeError(error) });
    }
  }
  return found;
}

function qemuFinding({ binary, version, error }: FoundQemu, kvmWorks: boolean): Finding {
  const what = 'QEMU';
  if (version === null) {
    return {
      what,
      verdict: 'missing',
      found: error,
      cost: 'no guest can run; install qemu-system-x86, or run "npm run setup".',
    };
  }
  const found = `${formatVersion(version)} (${binary})`;
  if (!isAtLeast(version, 7, 2)) return { what, verdict: 'missing', found, cost: 'vmferry needs QEMU 7.2 or newer.' };
  if (isAtLeast(version, 9, 0) || kvmWorks) {
    const cost = isAtLeast(version, 8, 1)
      ? null
      : 'before 8.1 QEMU itself decides when the guest stops (no switchover-ack): an idle guest may stop early.';
    return { what, verdict: cost === null ? 'ok' : 'reduced', found, cost };
  }
  const cost =
    'its software emulation loses track of written pages while a guest is moved (fixed in 9.0): ' +
    'use QEMU 9 or newer for guests without KVM.';
  return { what, verdict: 'reduced', found, cost };
}

async function examineKvm(binary: string): Promise<Finding> {
  const probe = await probeKvm(binary);
  if (probe.works)
    return { what: 'KVM', verdict: 'ok', found: `boots a guest in ${formatMs(probe.bootMs)}`, cost: null };
  const device = existsSync('/dev/kvm') ? '/dev/kvm is there, but ' : 'no /dev/kvm: ';
  return {
    what: 'KVM',
    verdict: 'reduced',
    found: `${device}${probe.reason}`,
    cost: 'guests run in software emulation, ten times slower and more.',
  };
}

/** Reads and writes of another process's memory are how pages travel: tried on a child of this process. */
async function examineMemoryRights(): Promise<Finding> {
  const what = 'guest memory';
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  try {
    await new Promise((done, failed) => {
      child.once('spawn', done);
      child.once('error', failed);
    });
    assertMemoryAccess(child.pid ?? 0, 'write');
    return { what, verdict: 'ok', found: '/proc/PID/mem of a child can be read and written', cost: null };
  } catch (error) {
    const cost =
      'guests cannot be received, and only guests with sharedMemory can be sent: run the agent as root or with CAP_SYS_PTRACE.';
    return { what, verdict: 'missing', found: describeError(error), cost };
  } finally {
    child.kill('SIGKILL');
  }
}

/** As `DeliveryRates` asks the kernel (io/link). */
async function examineLinkRates(): Promise<Finding> {
  const what = 'link rates';
  try {
    await run('ss', ['-tinOH', 'state', 'established'], { timeout: COMMAND_TIMEOUT_MS });
    return { what, verdict: 'ok', found: 'ss says how fast the kernel sees connections deliver', cost: null };
  } catch (error) {
    const cost =
      'adaptive compression takes longer to find out how fast a link is, and is wrong more often. Install iproute2.';
    return { what, verdict: 'reduced', found: firstLine(error), cost };
  }
}

async function examineNamespaces(): Promise<Finding> {
  const what = 'network namespaces';
  try {
    await run('unshare', ['--net', 'true'], { timeout: COMMAND_TIMEOUT_MS });
    await Promise.all(['ip', 'tc'].map((tool) => run(tool, ['-V'], { timeout: COMMAND_TIMEOUT_MS })));
    return { what, verdict: 'ok', found: 'can be made; ip and tc are there', cost: null };
  } catch (error) {
    const cost =
      'no lab and no demo on this machine; migrations between real hosts do not need them. Install iproute2 and be root.';
    return { what, verdict: 'reduced', found: firstLine(error), cost };
  }
}

async function examineUserfaultfd(binary: string): Promise<Finding> {
  const what = 'userfaultfd';
  const answer = await userfaultfdWorks(binary);
  if (answer === null) return { what, verdict: 'ok', found: 'QEMU can use it', cost: null };
  const cost = 'no post-copy into this host; pre-copy does not need it. See /proc/sys/vm/unprivileged_userfaultfd.';
  return { what, verdict: 'reduced', found: answer, cost };
}

async function examineDisk(stateFolder: string): Promise<Finding[]> {
  const folder = existingParent(stateFolder);
  const { bavail, bsize } = await statfs(folder);
  const freeBytes = bavail * bsize;
  const enough = freeBytes >= DISK_FREE_BYTES_GOOD;
  const space: Finding = {
    what: 'disk space',
    verdict: enough ? 'ok' : 'reduced',
    found: `${formatBytes(freeBytes)} free in ${folder}`,
    cost: enough ? null : 'journals and logs need room: a migration whose journal cannot be written is aborted.',
  };
  try {
    const ms = await medianFsyncMs(folder);
    const fast = ms <= FSYNC_MS_GOOD;
    const cost = `each of the two flushes of a commit adds its time to the downtime: put stateFolder on a faster disk.`;
    const found = `${formatMs(ms)} in ${folder}`;
    return [space, { what: 'disk flush', verdict: fast ? 'ok' : 'reduced', found, cost: fast ? null : cost }];
  } catch (error) {
    const cost = 'the agent cannot keep its state there: name a stateFolder that it may write.';
    return [space, { what: 'disk flush', verdict: 'missing', found: describeError(error), cost }];
  }
}

async function medianFsyncMs(folder: string): Promise<number> {
  const own = mkdtempSync(join(folder, '.vmferry-doctor-'));
  try {
    const file = await open(join(own, 'flush'), 'w');
    const times: number[] = [];
    for (let i = 0; i < FSYNC_COUNT; i++) {
      const fromMs = performance.now();
      await file.write(Buffer.alloc(512, i));
      await file.sync();
      times.push(performance.now() - fromMs);
    }
    await file.close();
    return times.sort((a, b) => a - b)[FSYNC_COUNT / 2] ?? 0;
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

async function examineClock(): Promise<Finding> {
  const what = 'clock';
  const source = readOrEmpty('/sys/devices/system/clocksource/clocksource0/current_clocksource').trim() || 'unknown';
  const synchronised = await isClockSynchronised();
  const found = `source ${source}, ${synchronised ? 'synchronised' : 'not known to be synchronised'}`;
  const cost =
    'certificates are refused when clocks differ by more than an hour, and histories of hosts do not line up.';
  return { what, verdict: synchronised ? 'ok' : 'reduced', found, cost: synchronised ? null : cost };
}

async function isClockSynchronised(): Promise<boolean> {
  if (existsSync('/run/systemd/timesync/synchronized')) return true;
  try {
    const { stdout } = await run('timedatectl', ['show', '-p', 'NTPSynchronized', '--value'], {
      timeout: COMMAND_TIMEOUT_MS,
    });
    return stdout.trim() === 'yes';
  } catch {
    return false;
  }
}

function existingParent(folder: string): string {
  let at = resolve(folder);
  while (!existsSync(at) && at !== '/') at = dirname(at);
  return at;
}

function firstLine(error: unknown): string {
  const { stderr = '' } = error as { stderr?: string };
  return (stderr.trim() || describeError(error)).split('\n')[0] ?? '';
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
