/**
 * One agent per state folder: two would both believe that they own its machines.
 *
 * The lock is a file with the holder's pid, start time and boot, made with O_EXCL. A holder that no longer lives (crash,
 * reboot) is replaced; of two agents that find the same stale lock, rename decides: each writes its own file and the one
 * that still reads its own content after the rename holds the lock.
 */
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
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
    const pid = livingHolder(file);
    if (pid !== null) throw locked(stateFolder, pid);
    const next = `${file}.${process.pid}`;
    rmSync(next, { force: true });
    createExclusively(next, mine);
    renameSync(next, file);
    if (readFileSync(file, 'utf8') !== mine) throw locked(stateFolder, livingHolder(file));
  }
  return () => {
    if (readOrEmpty(file) === mine) rmSync(file, { force: true });
  };
}

function locked(stateFolder: string, pid: number | null): AgentError {
  const who = pid === null ? 'Another agent' : `The agent with process id ${pid}`;
  return new AgentError(
    'STATE_LOCKED',
    `${who} already works on ${stateFolder}. Stop it, or give this agent a stateFolder of its own.`,
    { stateFolder, pid },
  );
}

function livingHolder(file: string): number | null {
  let value: unknown;
  try {
    value = JSON.parse(readOrEmpty(file));
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
