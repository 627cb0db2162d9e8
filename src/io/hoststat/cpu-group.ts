/**
 * A control group that caps how much processor time its processes get, as a quota of CFS: so many microseconds in each
 * period of 100 ms, over all of their threads. 100 % is one processor.
 *
 *     version 1   /sys/fs/cgroup/cpu/NAME    cpu.cfs_period_us  cpu.cfs_quota_us (-1: no cap)
 *     version 2   /sys/fs/cgroup/NAME        cpu.max ("QUOTA PERIOD", "max PERIOD": no cap)
 *
 * Both: a pid that is written to `cgroup.procs` moves with all of its threads, and threads that it starts later stay with it.
 * A process that is still there when the group is removed goes back to where it came from.
 * (Linux: Documentation/scheduler/sched-bwc.rst, Documentation/admin-guide/cgroup-v2.rst.)
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../core/base/errors.ts';
import { HostStatError } from './errors.ts';

/** The default of the kernel. */
export const CPU_PERIOD_US = 100_000;
/** The kernel takes no quota below a millisecond: 1 % of a period of 100 ms. */
const CAP_PERCENT_MIN = 1;
/** A process that has just ended keeps its group busy until its parent has waited for it. */
const REMOVE_TRIES = 50;
const REMOVE_PAUSE_MS = 20;

export type CpuHierarchy = { readonly version: 1 | 2; readonly root: string };

/**
 * Where groups with the controller `cpu` are, by /proc/mounts: version 1 if it is mounted there, else version 2 if its root
 * has the controller; null: nowhere.
 */
export function findCpuHierarchy(
  mounts: string,
  controllersOf: (root: string) => string = (root) => readOr(join(root, 'cgroup.controllers'), ''),
): CpuHierarchy | null {
  const lines = mounts.split('\n').map((line) => line.split(' '));
  const first = lines.find(([, , type, options]) => type === 'cgroup' && options?.split(',').includes('cpu'));
  if (first?.[1] !== undefined) return { version: 1, root: first[1] };
  const second = lines.find(([, root, type]) => type === 'cgroup2' && controllersOf(root!).split(/\s/).includes('cpu'));
  return second?.[1] === undefined ? null : { version: 2, root: second[1] };
}

/** The group of a process within its hierarchy, by /proc/PID/cgroup, like `/user.slice`; null: it is not said. */
export function groupPathOf(text: string, version: 1 | 2): string | null {
  for (const line of text.split('\n')) {
    const [, id, controllers = '', path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    if (version === 2 ? id === '0' && controllers === '' : controllers.split(',').includes('cpu')) return path;
  }
  return null;
}

/** What a cap is in the file that sets it; null: no cap. Percent of one processor. Throws HostStatError CPU_GROUP. */
export function quotaText(version: 1 | 2, capPercent: number | null): string {
  if (capPercent === null) return version === 1 ? '-1' : `max ${CPU_PERIOD_US}`;
  if (!(capPercent >= CAP_PERCENT_MIN && Number.isFinite(capPercent))) {
    const text = `A cap of ${capPercent} % is not at least ${CAP_PERCENT_MIN} % of a processor`;
    throw new HostStatError('CPU_GROUP', text, { capPercent });
  }
  const quotaUs = Math.round((capPercent / 100) * CPU_PERIOD_US);
  return version === 1 ? String(quotaUs) : `${quotaUs} ${CPU_PERIOD_US}`;
}

/** A host where no group can be made: what to do about it. */
const NEEDS = 'caps need root and a writable cgroup hierarchy (version 1 or 2) with the controller "cpu"';

export class CpuGroup {
  readonly folder: string;
  readonly #hierarchy: CpuHierarchy;
  /** Where each process came from. */
  readonly #origins = new Map<number, string>();

  private constructor(hierarchy: CpuHierarchy, folder: string) {
    this.#hierarchy = hierarchy;
    this.folder = folder;
  }

  /**
   * Makes the group, without a cap; one of that name that a killed program has left is removed first.
   * Throws HostStatError CPU_GROUP where groups cannot be made.
   */
  static async create(
    name: string,
    hierarchy: CpuHierarchy | null = findCpuHierarchy(readOr('/proc/mounts', '')),
  ): Promise<CpuGroup> {
    if (hierarchy === null) {
      throw new HostStatError('CPU_GROUP', `Processor time cannot be capped on this host: ${NEEDS}`);
    }
    const { version, root } = hierarchy;
    const group = new CpuGroup(hierarchy, join(root, name));
    if (existsSync(group.folder)) await group.remove();
    try {
      if (version === 2) enableCpu(root);
      mkdirSync(group.folder);
      if (version === 1) group.#write('cpu.cfs_period_us', String(CPU_PERIOD_US));
      group.setCap(null);
      return group;
    } catch (error) {
      if (existsSync(group.folder)) await group.remove();
      const text = `Group ${group.folder} cannot be made (${describeError(error)}): ${NEEDS}`;
      throw new HostStatError('CPU_GROUP', text, { folder: group.folder }, { cause: error });
    }
  }

  /** Takes a process in, with all of its threads. Throws HostStatError CPU_GROUP: it has ended, or may not be moved. */
  add(pid: number): void {
    const { version, root } = this.#hierarchy;
    const path = groupPathOf(readOr(`/proc/${pid}/cgroup`, ''), version);
    try {
      this.#write('cgroup.procs', String(pid));
    } catch (error) {
      const text = `Process ${pid} cannot be put into group ${this.folder}`;
      throw new HostStatError('CPU_GROUP', text, { pid }, { cause: error });
    }
    this.#origins.set(pid, join(root, path ?? '/'));
  }

  /** Caps all of its processes together, percent of one processor; null: no cap. Throws HostStatError CPU_GROUP. */
  setCap(capPercent: number | null): void {
    const { version } = this.#hierarchy;
    this.#write(version === 1 ? 'cpu.cfs_quota_us' : 'cpu.max', quotaText(version, capPercent));
  }

  /** Its processes go back to where they came from, without a cap. May be repeated. Throws HostStatError CPU_GROUP. */
  async remove(): Promise<void> {
    for (let tries = 1; existsSync(this.folder); tries++) {
      for (const pid of readOr(join(this.folder, 'cgroup.procs'), '').split('\n').filter(Boolean)) {
        this.#giveBack(Number(pid));
      }
      try {
        rmdirSync(this.folder);
      } catch (error) {
        if (tries < REMOVE_TRIES) {
          await sleep(REMOVE_PAUSE_MS);
          continue;
        }
        const text = `Group ${this.folder} cannot be removed: move its processes elsewhere and remove it by rmdir`;
        throw new HostStatError('CPU_GROUP', text, { folder: this.folder }, { cause: error });
      }
    }
    this.#origins.clear();
  }

  /** To the hierarchy's root where its own group is not there any more. A process that has ended is no error. */
  #giveBack(pid: number): void {
    const { root } = this.#hierarchy;
    for (const folder of [this.#origins.get(pid), root]) {
      if (folder === undefined) continue;
      try {
        writeFileSync(join(folder, 'cgroup.procs'), String(pid), { flag: 'r+' });
        return;
      } catch {
        // The next one, or the next try of `remove`.
      }
    }
  }

  #write(file: string, text: string): void {
    writeFileSync(join(this.folder, file), text, { flag: 'r+' });
  }
}

/** Groups below the root of version 2 have the controllers that it hands down. */
function enableCpu(root: string): void {
  const file = join(root, 'cgroup.subtree_control');
  if (!readFileSync(file, 'utf8').split(/\s/).includes('cpu')) writeFileSync(file, '+cpu', { flag: 'r+' });
}

function readOr(file: string, fallback: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return fallback;
  }
}
