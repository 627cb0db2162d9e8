/**
 * What control groups allow and use of processors: the quota of CFS of a process's group and of those above it, and the time
 * that a group has used. Files as in cpu-group.ts, and for what was used
 *
 *     version 1   cpuacct.usage (nanoseconds), in a hierarchy that is often the same as that of cpu
 *     version 2   cpu.stat, usage_usec
 */
import { dirname, join } from 'node:path';
import { findCpuHierarchy, groupPathOf, type CpuHierarchy } from './cpu-group.ts';
import { readOrNull } from './proc-file.ts';

export type CappedGroup = {
  /** The most that all processes of the group get, in processors. */
  readonly cores: number;
  readonly folder: string;
};

/** Where groups with quotas are on this host; null: nowhere. */
export function cpuHierarchy(): CpuHierarchy | null {
  return findCpuHierarchy(readOrNull('/proc/mounts') ?? '');
}

/** The tightest quota above a process, and whose it is; null when nothing caps it, or it is gone. */
export function capOf(pid: number | 'self', hierarchy: CpuHierarchy | null): CappedGroup | null {
  if (hierarchy === null) return null;
  const path = groupPathOf(readOrNull(`/proc/${pid}/cgroup`) ?? '', hierarchy.version);
  return path === null ? null : capOfGroup(path, hierarchy);
}

/** `group`: within its hierarchy, like `/machine.slice/one`. */
export function capOfGroup(group: string, { version, root }: CpuHierarchy): CappedGroup | null {
  let tightest: CappedGroup | null = null;
  for (let path = group; path !== '/'; path = dirname(path)) {
    const folder = join(root, path);
    const cores = quotaOf(folder, version);
    if (cores !== null && cores < (tightest?.cores ?? Infinity)) tightest = { cores, folder };
  }
  return tightest;
}

function quotaOf(folder: string, version: 1 | 2): number | null {
  if (version === 2) return parseCpuMax(readOrNull(join(folder, 'cpu.max')) ?? '');
  const [quota, period] = ['cpu.cfs_quota_us', 'cpu.cfs_period_us'].map((file) => readOrNull(join(folder, file)));
  return quota == null || period == null ? null : parseCpuMax(`${quota.trim()} ${period}`);
}

/** "QUOTA PERIOD" as processors; "max" and -1: null. */
export function parseCpuMax(text: string): number | null {
  const [, quota, period] = /^(\d+) (\d+)\s*$/.exec(text) ?? [];
  return quota === undefined || Number(period) === 0 ? null : Number(quota) / Number(period);
}

/** Processor time of all processes of a group so far, milliseconds; null where it is not counted. */
export function groupCpuMs({ version, root }: CpuHierarchy, folder: string): number | null {
  if (version === 2) return parseUsageMs(readOrNull(join(folder, 'cpu.stat')) ?? '');
  const accounting = [folder, folder.replace(root, join(dirname(root), 'cpuacct'))];
  const nanos = accounting.map((at) => readOrNull(join(at, 'cpuacct.usage'))).find((text) => text !== null);
  return nanos === undefined || nanos === null ? null : Number(nanos) / 1e6;
}

export function parseUsageMs(stat: string): number | null {
  const micros = /^usage_usec (\d+)$/m.exec(stat)?.[1];
  return micros === undefined ? null : Number(micros) / 1000;
}
