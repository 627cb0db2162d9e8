/**
 * Processor time and memory of both agents and both QEMUs while a guest is moved, from /proc, in the same way for all modes.
 *
 * QEMUs are found by their name, the monitor that a bench gives them (not to a neighbour) and their network namespace, so it
 * does not matter who started them, or when. Threads that run the
 * guest are counted apart: what a guest computes is not the migration's. A QEMU that ends during the move is counted
 * up to the last look at it.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { residentBytes } from '../../io/hoststat/process-stat.ts';
import type { HostName, LabPlan } from '../lab/plan.ts';
import { MONITOR_NAME } from './bench-guest.ts';
import type { CpuTimes, PeakMemory } from './samples.ts';

const POLL_MS = 50;
/** Looking through /proc costs a few milliseconds. */
const SEARCH_POLLS = 4;
/** USER_HZ is 100 on every Linux that Node.js runs on. */
const MS_PER_TICK = 10;

type Kind = 'agent' | 'qemu';
type Tracked = {
  readonly side: HostName;
  readonly kind: Kind;
  readonly pid: number;
  /** At the begin of the move; 0 of a process that was started later. */
  readonly cpuBeforeMs: number;
  readonly vcpuBeforeMs: number;
  cpuMs: number;
  vcpuMs: number;
};

export type ProcessFigures = Readonly<Record<HostName, { readonly cpu: CpuTimes; readonly peak: PeakMemory }>>;
export type AgentPids = Readonly<Record<HostName, number | null>>;

export class ProcessWatch {
  readonly #plan: LabPlan;
  readonly #tracked: Tracked[] = [];
  readonly #peak: Record<HostName, Record<Kind, number>> = { a: { agent: 0, qemu: 0 }, b: { agent: 0, qemu: 0 } };
  readonly #timer: NodeJS.Timeout;
  #polls = 0;

  /** Begins to watch. */
  constructor(plan: LabPlan, agents: AgentPids) {
    this.#plan = plan;
    for (const side of ['a', 'b'] as const) if (agents[side] !== null) this.#track(side, 'agent', agents[side], true);
    this.#search(true);
    this.#timer = setInterval(() => this.#poll(), POLL_MS);
  }

  stop(): ProcessFigures {
    clearInterval(this.#timer);
    this.#search(false);
    this.#poll();
    return { a: this.#figures('a'), b: this.#figures('b') };
  }

  #figures(side: HostName): ProcessFigures[HostName] {
    const sum = (kind: Kind, of: (one: Tracked) => number): number =>
      this.#tracked.filter((one) => one.side === side && one.kind === kind).reduce((all, one) => all + of(one), 0);
    const took = ({ cpuMs, cpuBeforeMs }: Tracked): number => cpuMs - cpuBeforeMs;
    const vcpuMs = sum('qemu', (one) => one.vcpuMs - one.vcpuBeforeMs);
    const cpu = { agentMs: sum('agent', took), qemuMs: Math.max(0, sum('qemu', took) - vcpuMs), vcpuMs };
    const peak = this.#peak[side];
    return { cpu, peak: { agentBytes: peak.agent, qemuBytes: peak.qemu } };
  }

  #track(side: HostName, kind: Kind, pid: number, isOld: boolean): void {
    const cpuMs = cpuMsOf(`/proc/${pid}/stat`) ?? 0;
    const vcpuMs = kind === 'qemu' ? vcpuMsOf(pid) : 0;
    const before = isOld ? { cpuBeforeMs: cpuMs, vcpuBeforeMs: vcpuMs } : { cpuBeforeMs: 0, vcpuBeforeMs: 0 };
    this.#tracked.push({ side, kind, pid, ...before, cpuMs, vcpuMs });
  }

  #search(isOld: boolean): void {
    const known = new Set(this.#tracked.map(({ pid }) => pid));
    for (const side of ['a', 'b'] as const) {
      const { namespace } = this.#plan.hosts[side === 'a' ? 0 : 1];
      for (const pid of qemusIn(namespace)) if (!known.has(pid)) this.#track(side, 'qemu', pid, isOld);
    }
  }

  #poll(): void {
    if (this.#polls++ % SEARCH_POLLS === 0) this.#search(false);
    const now: Record<HostName, Record<Kind, number>> = { a: { agent: 0, qemu: 0 }, b: { agent: 0, qemu: 0 } };
    for (const one of this.#tracked) {
      // Threads that end take their time out of the sum of threads, never out of the process's.
      one.cpuMs = Math.max(one.cpuMs, cpuMsOf(`/proc/${one.pid}/stat`) ?? 0);
      if (one.kind === 'qemu') one.vcpuMs = Math.max(one.vcpuMs, vcpuMsOf(one.pid));
      now[one.side][one.kind] += residentBytes(one.pid) ?? 0;
    }
    for (const side of ['a', 'b'] as const) {
      for (const kind of ['agent', 'qemu'] as const) {
        this.#peak[side][kind] = Math.max(this.#peak[side][kind], now[side][kind]);
      }
    }
  }
}

/**
 * utime and stime by a file `stat` in /proc; null when the process is gone. Those of children that were waited for are left out,
 * because a QEMU is its agent's child.
 */
export function cpuMsOf(file: string): number | null {
  try {
    const text = readFileSync(file, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[14 - 3]) + Number(fields[15 - 3])) * MS_PER_TICK;
  } catch {
    return null;
  }
}

/** QEMU names its threads (`debug-threads=on`): "CPU 0/KVM", "CPU 0/TCG", "ALL CPUs/TCG". */
export function vcpuMsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .filter((id) => /^(CPU \d|ALL CPUs)/.test(readFileSync(`/proc/${pid}/task/${id}/comm`, 'latin1')))
      .reduce((sum, id) => sum + (cpuMsOf(`/proc/${pid}/task/${id}/stat`) ?? 0), 0);
  } catch {
    return 0;
  }
}

/** Pids of the QEMUs of a lab host whose command line has this text; that of the moved guest has its monitor's name. */
export function qemusIn(namespace: string, text = MONITOR_NAME): number[] {
  const inode = statSync(`/run/netns/${namespace}`, { throwIfNoEntry: false })?.ino;
  return benchQemus(text).filter((pid) => {
    try {
      return statSync(`/proc/${pid}/ns/net`).ino === inode;
    } catch {
      return false;
    }
  });
}

/** Pids of QEMUs whose command line has this text. */
export function benchQemus(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const isQemu = readFileSync(`/proc/${pid}/comm`, 'latin1').startsWith('qemu-system');
        return isQemu && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}
