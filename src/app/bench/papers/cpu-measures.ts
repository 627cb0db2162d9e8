/**
 * What the paper on a CPU threshold measures without a move (cpu-threshold.ts): a guest's use of processors by cap, memory and
 * virtual processors; by number of cores; and of two guests that together use a given part of the host.
 *
 * Rows of values stand side by side: the n-th of each belongs to the n-th point. Uses are percent of one processor.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CpuGroup } from '../../../io/hoststat/cpu-group.ts';
import { confineTo, processorsOf } from '../../../io/hoststat/processors.ts';
import { labStatus } from '../../lab/lab.ts';
import { BenchError } from '../errors.ts';
import type { Measure, MeasureTools } from '../measures.ts';
import type { MeasuredValues } from '../samples.ts';
import { KernelGuest, kernels } from './kernel-guest.ts';
import type { Kernel, KernelGuestOptions, Use } from './kernel-guest.ts';

export const capsPercent = [25, 50, 75, 100, 125, 150, 175, 200] as const;
export const memoriesMb = [512, 1024, 2048] as const;
export const vcpuCounts = [1, 2] as const;
/** What two guests are allowed together, percent of the host of `THRESHOLD_CORES`. */
export const loadsPercent = [25, 40, 50, 60, 65, 70, 80, 90, 100] as const;
export const thresholdKernels: readonly Kernel[] = ['dhrystone', 'livermore'];
const THRESHOLD_CORES = 2;
/** The paper's machine had four. */
const CORES_MAX = 4;
const GUESTS_MAX = 2;
const SMALL = '512M';

/** A window of so many seconds: twenty periods of a quota. */
const WINDOW_LINES = 2;
/** The measuring itself and the agents take some percent; windows of two guests do not begin at the same time. */
const OTHERS_PERCENT_MAX = 30;
const WINDOW_TRIES = 5;
/** A new cap holds from the next period on, which begins within 100 ms; one more for what ran over in the last one. */
const CAP_SETTLE_MS = 200;

export function capsKey(kernel: Kernel, memoryMb: number, vcpus: number): string {
  return `caps ${kernel} ${memoryMb} MB ${vcpus} vCPU`;
}

export function coresKey(kernel: Kernel): string {
  return `cores ${kernel}`;
}

export const loadKey = 'load of two guests';

export function cpuMeasures(): Measure[] {
  const window = { windowLines: WINDOW_LINES, settleMs: CAP_SETTLE_MS };
  const caps = kernels.flatMap((kernel) =>
    vcpuCounts.flatMap((vcpus) =>
      memoriesMb.map((memoryMb): Measure => ({
        key: capsKey(kernel, memoryMb, vcpus),
        case: kernel,
        definition: { capsPercent, ...window },
        runsMax: 1,
        run: async (tools) => await measureCaps({ kernel, memory: `${memoryMb}M`, vcpus }, tools),
      })),
    ),
  );
  const cores = kernels.map((kernel): Measure => ({
    key: coresKey(kernel),
    case: kernel,
    definition: { coresMax: CORES_MAX, guestsMax: GUESTS_MAX, memory: SMALL, ...window },
    runsMax: 1,
    run: async (tools) => await measureCores(kernel, tools),
  }));
  const load: Measure = {
    key: loadKey,
    case: thresholdKernels[0]!,
    definition: { loadsPercent, kernels: thresholdKernels, cores: THRESHOLD_CORES, memory: SMALL, ...window },
    run: measureLoad,
  };
  return [...caps, ...cores, load];
}

/** One boot; the cap is changed while the guest runs. */
async function measureCaps(options: KernelGuestOptions, tools: MeasureTools): Promise<MeasuredValues> {
  const guest = await KernelGuest.start(options, 0, tools);
  try {
    return await withGroups([guest], tools, async ([group]) => {
      const uses: Use[] = [];
      for (const cap of capsPercent) {
        group!.setCap(cap);
        uses.push(...(await usesOf([guest], processorsOf('self'), tools)));
      }
      return { capPercent: [...capsPercent], ...columnsOf(uses) };
    });
  } finally {
    await guest.stop();
  }
}

/** One guest, then two of them, on one core, two, ... as many as there are. Figures of the first one. */
async function measureCores(kernel: Kernel, tools: MeasureTools): Promise<MeasuredValues> {
  const all = processorsOf('self').slice(0, CORES_MAX);
  const points: { cores: number; guests: number; use: Use }[] = [];
  const guests: KernelGuest[] = [];
  try {
    while (guests.length < GUESTS_MAX) {
      guests.push(await KernelGuest.start({ kernel, memory: SMALL, vcpus: 1 }, guests.length, tools));
      for (let cores = 1; cores <= all.length; cores++) {
        const own = all.slice(0, cores);
        const [use] = await onHostOf(own, guests, tools, async () => await usesOf(guests, own, tools));
        points.push({ cores, guests: guests.length, use: use! });
      }
    }
  } finally {
    await stopAll(guests);
  }
  return {
    cores: points.map(({ cores }) => cores),
    guests: points.map(({ guests: count }) => count),
    ...columnsOf(points.map(({ use }) => use)),
  };
}

/** Two guests on a host of two cores, each allowed one half of the load. */
async function measureLoad(tools: MeasureTools): Promise<MeasuredValues> {
  const own = processorsOf('self').slice(0, THRESHOLD_CORES);
  const guests: KernelGuest[] = [];
  try {
    for (const kernel of thresholdKernels) {
      guests.push(await KernelGuest.start({ kernel, memory: SMALL, vcpus: 1 }, guests.length, tools));
    }
    const uses = await onHostOf(own, guests, tools, async () => {
      return await withGroups(guests, tools, async (groups) => {
        const rows: Use[][] = [];
        for (const load of loadsPercent) {
          for (const group of groups) group.setCap((load * own.length) / guests.length);
          rows.push(await usesOf(guests, own, tools));
        }
        return rows;
      });
    });
    return {
      cores: own.length,
      loadPercent: [...loadsPercent],
      // Of the host: what both take, divided by its cores.
      takenPercent: uses.map((row) => row.reduce((sum, { usePercent }) => sum + usePercent, 0) / own.length),
      hostPercent: uses.map((row) => Math.max(...row.map(({ hostPercent }) => hostPercent))),
      ...Object.fromEntries(
        thresholdKernels.flatMap((kernel, index) => [
          [`${kernel}UsePercent`, uses.map((row) => row[index]!.usePercent)],
          [`${kernel}WorkPerS`, uses.map((row) => row[index]!.workPerS)],
        ]),
      ),
    };
  } finally {
    await stopAll(guests);
  }
}

/** Again where something else was at work on these processors meanwhile. Throws BenchError BENCH_FAILED where that goes on. */
async function usesOf(
  guests: readonly KernelGuest[],
  processors: readonly number[],
  { signal }: MeasureTools,
): Promise<Use[]> {
  for (let tries = 1; ; tries++) {
    await sleep(CAP_SETTLE_MS, undefined, { signal });
    const uses = await Promise.all(guests.map(async (guest) => await guest.use(WINDOW_LINES, processors)));
    const others = othersPercent(uses, processors.length);
    if (others <= OTHERS_PERCENT_MAX) return uses;
    if (tries >= WINDOW_TRIES) {
      const text = `Something else takes ${others.toFixed(0)} % of a processor of this machine: measure when nothing runs beside`;
      throw new BenchError('BENCH_FAILED', text);
    }
  }
}

/** What neither guest took of the busy part of the processors; percent of one. */
export function othersPercent(uses: readonly Use[], processors: number): number {
  const busy = Math.max(...uses.map(({ hostPercent }) => hostPercent)) * processors;
  return busy - uses.reduce((sum, { usePercent }) => sum + usePercent, 0);
}

async function stopAll(guests: readonly KernelGuest[]): Promise<void> {
  await Promise.all(guests.map(async (guest) => await guest.stop()));
}

/** A group of its own for each guest, removed afterwards, whatever happens. Throws HostStatError CPU_GROUP. */
async function withGroups<T>(
  guests: readonly KernelGuest[],
  { plan }: MeasureTools,
  work: (groups: readonly CpuGroup[]) => Promise<T>,
): Promise<T> {
  const groups: CpuGroup[] = [];
  try {
    for (const { pid } of guests) {
      const group = await CpuGroup.create(`vmferry-${plan.name}-${groups.length}`);
      groups.push(group);
      group.add(pid);
    }
    return await work(groups);
  } finally {
    for (const group of groups) await group.remove();
  }
}

/**
 * While the lab's host has these processors only: its guests and the agents are confined to them. Guests of the agents would
 * inherit that, so it ends with `work`.
 */
async function onHostOf<T>(
  processors: readonly number[],
  guests: readonly KernelGuest[],
  { plan }: MeasureTools,
  work: () => Promise<T>,
): Promise<T> {
  const { hosts } = await labStatus(plan.name);
  const agents = hosts.map(({ agentPid }) => agentPid).filter((pid) => pid !== null);
  const pids = guests.map(({ pid }) => pid);
  try {
    for (const pid of [...agents, ...pids]) await confineTo(pid, processors);
    return await work();
  } finally {
    const all = processorsOf('self');
    // A guest may have ended; an agent that stays confined would spoil what follows.
    await Promise.allSettled(pids.map(async (pid) => await confineTo(pid, all)));
    for (const pid of agents) await confineTo(pid, all);
  }
}

function columnsOf(uses: readonly Use[]): MeasuredValues {
  return {
    usePercent: uses.map(({ usePercent }) => usePercent),
    vcpuPercent: uses.map(({ vcpuPercent }) => vcpuPercent),
    hostPercent: uses.map(({ hostPercent }) => hostPercent),
    workPerS: uses.map(({ workPerS }) => workPerS),
  };
}
