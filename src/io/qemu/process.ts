/**
 * The QEMU process: started in a session of its own, so that it outlives the agent, and known by (pid, start time), so
 * that a recycled pid is never taken for it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { QemuCommandLine } from './command-line.ts';
import { QemuProcessError } from './errors.ts';
import { logTail, reasonFromLog } from './qemu-log.ts';
import { QmpClient } from './qmp-client.ts';

const START_TIMEOUT_MS = 20_000;
const TERMINATE_GRACE_MS = 3000;
const KILL_WAIT_MS = 5000;
const POLL_MS = 20;

/** `startTicks` is field 22 of /proc/PID/stat: clock ticks after boot, the same for the whole life of the process. */
export type QemuProcess = { readonly pid: number; readonly startTicks: number };

export type StartOptions = {
  readonly vm: string;
  readonly commandLine: QemuCommandLine;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
};

export type StartedQemu = { readonly process: QemuProcess; readonly qmp: QmpClient };

/**
 * Starts QEMU and waits for its monitor. Throws QemuProcessError QEMU_BINARY (cannot be run), QEMU_START (ended or
 * stayed silent; the message is QEMU's own), after making sure that nothing of it is left.
 */
export async function startQemu(options: StartOptions): Promise<StartedQemu> {
  const { vm, commandLine } = options;
  const { paths } = commandLine;
  const logFrom = statSync(paths.qemuLog, { throwIfNoEntry: false })?.size ?? 0;
  const child = await spawnDetached(vm, commandLine);
  const pid = child.pid ?? 0;
  const gone = new AbortController();
  child.once('exit', () => gone.abort());
  const signal = options.signal === undefined ? gone.signal : AbortSignal.any([gone.signal, options.signal]);
  try {
    const timeoutMs = options.timeoutMs ?? START_TIMEOUT_MS;
    const qmp = await QmpClient.connect({ socketPath: paths.qmpSocket, vm, timeoutMs, signal });
    const started = identify(pid);
    if (started === null) throw new Error('It ended while starting');
    return { process: started, qmp };
  } catch (cause) {
    const left = identify(pid);
    if (left !== null) await terminate(left);
    if (options.signal?.aborted === true) throw cause;
    const log = logTail(paths.qemuLog, logFrom);
    const why = reasonFromLog(log) ?? (left === null ? 'it ended without a word' : (cause as Error).message);
    throw new QemuProcessError('QEMU_START', `QEMU of VM "${vm}" did not start: ${why}`, { vm, log }, { cause });
  }
}

/**
 * The agent's own, without what bin/vmferry sets for the agent's memory. QEMU's messages are shown to people as they are:
 * one language.
 */
function environmentOfQemu(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('MALLOC_'));
  return { ...Object.fromEntries(inherited), LC_ALL: 'C' };
}

async function spawnDetached(vm: string, { binary, args, paths }: QemuCommandLine): Promise<ChildProcess> {
  const log = openSync(paths.qemuLog, 'a', 0o640);
  try {
    const child = spawn(binary, args, {
      detached: true,
      cwd: paths.folder,
      stdio: ['ignore', log, log],
      env: environmentOfQemu(),
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.once('spawn', resolve);
    child.once('error', reject);
    await promise;
    child.unref();
    return child;
  } catch (cause) {
    throw new QemuProcessError('QEMU_BINARY', `Cannot run ${binary} for VM "${vm}"`, { vm, binary }, { cause });
  } finally {
    closeSync(log);
  }
}

/** The identity of a process that runs now; null when there is none, or only its remains (a zombie). */
export function identify(pid: number): QemuProcess | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything, so count from its last parenthesis: state is field 3.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const startTicks = Number(fields[22 - 3]);
    return fields[0] === 'Z' || fields[0] === 'X' || !Number.isFinite(startTicks) ? null : { pid, startTicks };
  } catch {
    return null;
  }
}

export function isAlive(target: QemuProcess): boolean {
  return identify(target.pid)?.startTicks === target.startTicks;
}

/** SIGTERM, and SIGKILL when that does not help in time. Throws QemuProcessError QEMU_KILL when even that fails. */
export async function terminate(target: QemuProcess, options: { readonly graceMs?: number } = {}): Promise<void> {
  const graceMs = options.graceMs ?? TERMINATE_GRACE_MS;
  if (graceMs > 0 && (await signalAndWait(target, 'SIGTERM', graceMs))) return;
  if (await signalAndWait(target, 'SIGKILL', KILL_WAIT_MS)) return;
  throw new QemuProcessError('QEMU_KILL', `Process ${target.pid} does not end`, { pid: target.pid });
}

async function signalAndWait(target: QemuProcess, signal: NodeJS.Signals, waitMs: number): Promise<boolean> {
  if (!isAlive(target)) return true;
  try {
    process.kill(target.pid, signal);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ESRCH') return true;
    throw new QemuProcessError('QEMU_KILL', `Cannot end process ${target.pid}`, { pid: target.pid }, { cause });
  }
  return await waitForEnd(target, waitMs);
}

/** Waits until the process has ended; false when it has not within the time. */
export async function waitForEnd(target: QemuProcess, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (isAlive(target)) {
    if (performance.now() >= deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}
