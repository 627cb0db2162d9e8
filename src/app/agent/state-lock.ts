/**
 * One agent per state folder: two would both believe that they own its machines.
 *
 * The lock is a file with the holder's pid, start time and boot, made with O_EXCL. The lock of a holder that no longer
 * lives (crash, reboot) is moved away first. Of two agents that find the same stale lock, one may move away the fresh
 * lock of the other: it sees that by the content, puts it back and gives up.
 */
import { closeSync, linkSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { identify, isAlive } from '../../io/qemu/process.ts';
import { AgentError } from './errors.ts';

const lockSchema = z.object({ pid: z.int(), startTicks: z.int(), bootId: z.string() });

/** Takes the lock; returns what gives it back. Throws AgentError STATE_LOCKED. */
export function lockStateFolder(stateFolder: string): () => void {
  mkdirSync(stateFolder, { recursive: true, mode: 0o700 });
  const file = join(stateFolder, 'agent.lock');
  const mine = JSON.stringify({ ...identify(process.pid), bootId: bootId() });
  if (!createExclusively(file, mine)) {
    const stale = readOrEmpty(file);
    const pid = livingHolder(stale);
    if (pid !== null) throw locked(stateFolder, pid);
    moveAway(file, stale, stateFolder);
    if (!createExclusively(file, mine)) throw locked(stateFolder, livingHolder(readOrEmpty(file)));
  }
  return () => {
    if (readOrEmpty(file) === mine) rmSync(file, { force: true });
  };
}

function moveAway(file: string, stale: string, stateFolder: string): void {
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    // Another agent has moved it: whoever makes the new file first has the lock.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const moved = readOrEmpty(aside);
  if (moved !== stale) linkSync(aside, file);
  rmSync(aside, { force: true });
  if (moved !== stale) throw locked(stateFolder, livingHolder(moved));
}

function locked(stateFolder: string, pid: number | null): AgentError {
  const who = pid === null ? 'Another agent' : `The agent with process id ${pid}`;
  return new AgentError(
    'STATE_LOCKED',
    `${who} already works on ${stateFolder}. Stop it, or give this agent a stateFolder of its own.`,
    { stateFolder, pid },
  );
}

function livingHolder(text: string): number | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = lockSchema.safeParse(value);
  if (!parsed.success || parsed.data.bootId !== bootId()) return null;
  return isAlive(parsed.data) ? parsed.data.pid : null;
}

function createExclusively(file: string, text: string): boolean {
  try {
    const fd = openSync(file, 'wx', 0o600);
    writeSync(fd, text);
    closeSync(fd);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw new AgentError('STATE_UNREADABLE', `Cannot write the lock ${file}`, { file }, { cause: error });
  }
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function bootId(): string {
  return readOrEmpty('/proc/sys/kernel/random/boot_id').trim();
}
