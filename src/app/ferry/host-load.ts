/** How busy this host is just now: what a migration to or from it may expect of its processors. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HostIdle } from '../../io/lanes/host-idle.ts';
import { cpuCount } from '../../io/hoststat/host-stat.ts';

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
