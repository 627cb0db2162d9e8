/**
 * Processes by pid and start time. A pid alone may belong to another process by the time it is used; a process is only
 * signalled while its start time is the recorded one.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from './errors.ts';

export type RecordedProcess = {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since the machine's boot. */
  readonly startTicks: number;
};

const POLL_MS = 20;

/** The process that has this pid now, or null: there is none, or it has ended and was not yet waited for. */
export function processOf(pid: number): RecordedProcess | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the name in parentheses and may contain anything, so count from its end.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return null;
    return { pid, startTicks: Number(fields[19]) };
  } catch {
    return null;
  }
}

export function isRunning(recorded: RecordedProcess): boolean {
  return processOf(recorded.pid)?.startTicks === recorded.startTicks;
}

/** Sends a signal to the process if it is still the recorded one; tells whether it was. */
export function signalProcess(recorded: RecordedProcess, signal: NodeJS.Signals): boolean {
  if (!isRunning(recorded)) return false;
  try {
    process.kill(recorded.pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** SIGTERM, and SIGKILL to what is left after `graceMs`. Throws LabError LAB_LEFTOVER if something survives even that. */
export async function endProcesses(recorded: readonly RecordedProcess[], graceMs: number): Promise<void> {
  for (const one of recorded) signalProcess(one, 'SIGTERM');
  await waitForEnd(recorded, graceMs);
  for (const one of recorded) signalProcess(one, 'SIGKILL');
  await waitForEnd(recorded, 5000);
  const left = recorded.filter(isRunning).map((one) => String(one.pid));
  if (left.length > 0) throw new LabError('LAB_LEFTOVER', `Processes ${left.join(', ')} do not end`, { left });
}

async function waitForEnd(recorded: readonly RecordedProcess[], timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (recorded.some(isRunning) && performance.now() < deadline) await sleep(POLL_MS);
}
