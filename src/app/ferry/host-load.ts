/** How busy this host is just now: what a migration to or from it may expect of its processors. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HostIdle } from '../../io/lanes/host-idle.ts';
import { cpuCount } from '../../io/hoststat/host-stat.ts';
import { threadCpuMs } from '../../io/hoststat/process-stat.ts';

export type HostLoad = {
  readonly processors: number;
  /** Of their time, the share that nobody used: 0 to 1. */
  readonly idle: number;
};

/** Watches for so many milliseconds; /proc/stat counts in hundredths of a second. Throws AbortError. */
export async function hostLoad(ms: number, signal?: AbortSignal): Promise<HostLoad> {
  const meter = new HostIdle();
  try {
    await sleep(ms, undefined, { signal });
    return { processors: cpuCount(), idle: meter.take() };
  } finally {
    meter.close();
  }
}

/** The returned function says what each of a process's threads has used of a processor since: 0 to 1. One that has ended is left out. */
export function watchThreads(pid: number, threads: readonly number[]): () => number[] {
  const startMs = performance.now();
  const before = threads.map((thread) => threadCpuMs(pid, thread));
  return () => {
    const ms = performance.now() - startMs;
    return threads.flatMap((thread, i) => {
      const [first, last] = [before[i] ?? null, threadCpuMs(pid, thread)];
      return first === null || last === null ? [] : [Math.min(1, Math.max(0, (last - first) / ms))];
    });
  };
}
