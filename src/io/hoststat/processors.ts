/** The processors of this host one by one: how busy each is, and which of them a process may use. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { HostStatError } from './errors.ts';

const run = promisify(execFile);
const TASKSET_TIMEOUT_MS = 10_000;
/** USER_HZ: /proc shows times in 1/100 s on every Linux that Node.js runs on. */
const MS_PER_TICK = 10;

/** Since the host's start, milliseconds. Time that was waited for a disk is idle time. */
export type ProcessorTimes = { readonly busyMs: number; readonly idleMs: number };

export function processorTimes(): ReadonlyMap<number, ProcessorTimes> {
  return parseProcessorTimes(readFileSync('/proc/stat', 'latin1'));
}

/** The lines "cpuN user nice system idle iowait irq softirq steal guest guest_nice" of /proc/stat; a guest's time is in user. */
export function parseProcessorTimes(stat: string): ReadonlyMap<number, ProcessorTimes> {
  const times = new Map<number, ProcessorTimes>();
  for (const [, processor, text = ''] of stat.matchAll(/^cpu(\d+) (.*)$/gm)) {
    const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, ...interrupts] = text.split(' ').map(Number);
    const [hard = 0, soft = 0, stolen = 0] = interrupts;
    times.set(Number(processor), {
      busyMs: (user + nice + system + hard + soft + stolen) * MS_PER_TICK,
      idleMs: (idle + wait) * MS_PER_TICK,
    });
  }
  return times;
}

/** The part of the time, 0 to 1, that these processors were busy in; null where nothing was counted. */
export function busyPart(
  before: ReadonlyMap<number, ProcessorTimes>,
  after: ReadonlyMap<number, ProcessorTimes>,
  processors: readonly number[],
): number | null {
  const sum = (of: (times: ProcessorTimes) => number): number =>
    processors.reduce((all, one) => all + of(after.get(one) ?? none) - of(before.get(one) ?? none), 0);
  const busyMs = sum((times) => times.busyMs);
  const allMs = busyMs + sum((times) => times.idleMs);
  return allMs <= 0 ? null : busyMs / allMs;
}

const none: ProcessorTimes = { busyMs: 0, idleMs: 0 };

/** Numbers of the processors that a process may use, in ascending order. Throws what reading /proc throws. */
export function processorsOf(pid: number | 'self'): number[] {
  return parseProcessorList(
    /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '',
  );
}

/** The kernel's form of a list: `0-3,8`. */
export function parseProcessorList(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
    if (first === undefined) return [];
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => Number(first) + index);
  });
}

/** Confines a process, with all of its threads and those that they start, to these processors. Throws HostStatError CPU_AFFINITY. */
export async function confineTo(pid: number, processors: readonly number[]): Promise<void> {
  const argv = ['--all-tasks', '--cpu-list', '--pid', processors.join(','), String(pid)];
  try {
    await run('taskset', argv, { timeout: TASKSET_TIMEOUT_MS });
    // For a process that has ended taskset has nothing to do, and says nothing.
    processorsOf(pid);
  } catch (error) {
    const text = `Process ${pid} cannot be confined to processor ${processors.join(', ')}: it has ended, or taskset (util-linux) is not there`;
    throw new HostStatError('CPU_AFFINITY', text, { pid }, { cause: error });
  }
}
