/** Tables 1 to 3 and figures 3 to 8: what a guest takes of a processor by its cap, memory and virtual processors. Pure. */
import { median } from '../../lab/comparison.ts';
import { capsKey, capsPercent, memoriesMb, vcpuCounts } from './cpu-measures.ts';
import { PAPER_CORES, paperCaps } from './cpu-paper-values.ts';
import { judge, measuredRow, verdictOf } from './evidence.ts';
import { kernels } from './kernel-guest.ts';
import type { Kernel } from './kernel-guest.ts';
import type { Claim, Evidence, Findings, PaperChart, PaperTable } from './paper.ts';

/** A window of twenty periods and clocks of 10 ms; QEMU's own threads add some percent where a cap leaves room for them. */
const TOLERANCE = 0.05;
const ONE_PROCESSOR = 100;

type Guest = { readonly kernel: Kernel; readonly memoryMb: number; readonly vcpus: number };
const guestsOf = (vcpus: number): Guest[] =>
  kernels.flatMap((kernel) => memoriesMb.map((memoryMb) => ({ kernel, memoryMb, vcpus })));

export function capFindings(evidence: Evidence): Findings {
  const use = ({ kernel, memoryMb, vcpus }: Guest, cap: number, name = 'usePercent'): number | null =>
    measuredRow(evidence, capsKey(kernel, memoryMb, vcpus), name)?.[capsPercent.findIndex((each) => each === cap)] ??
    null;
  return {
    claims: [belowClaim(use), aboveClaim(use), memoryClaim(use), twoClaim(use)],
    tables: [...vcpuCounts.map((vcpus) => useTable(use, vcpus)), ownTable(use), workTable(use)],
    charts: kernels.map((kernel) => useChart(use, kernel)),
  };
}

type UseOf = (guest: Guest, cap: number, name?: string) => number | null;

/** Percent of one processor. */
function paperUse(memoryMb: number, cap: number): number {
  return paperCaps[memoryMb]![capsPercent.findIndex((each) => each === cap)]! * PAPER_CORES;
}

function belowClaim(use: UseOf): Claim {
  const caps = capsPercent.filter((cap) => cap <= ONE_PROCESSOR);
  const paper = caps.map((cap) => `${cap} %: ${paperUse(512, cap).toFixed(1)}`).join(', ');
  const asked = {
    claim:
      'Up to a cap of 100 % a guest with one virtual processor takes what its cap allows (tables 1 to 3, figures 3, 5, 7)',
    paper: `Livermore, 512 MB, percent of one processor: ${paper}`,
  };
  const points = guestsOf(1).flatMap((guest) => caps.map((cap) => ({ guest, cap })));
  return judge(
    asked,
    points.map(({ guest, cap }) => use(guest, cap)),
    (known) => {
      const errors = points.map(({ cap }, index) => Math.abs(known[index]! / cap - 1));
      const here = caps.map(
        (cap) => `${cap} %: ${use({ kernel: 'livermore', memoryMb: 512, vcpus: 1 }, cap)!.toFixed(1)}`,
      );
      return {
        here: `the same: ${here.join(', ')}`,
        holds: verdictOf(errors.map((error) => error <= TOLERANCE)),
        why: `over all kernels and memories a guest is off its cap by at most ${percentText(Math.max(...errors))} of it (${percentText(TOLERANCE)} is taken as equal)`,
      };
    },
  );
}

function aboveClaim(use: UseOf): Claim {
  const caps = capsPercent.filter((cap) => cap > ONE_PROCESSOR);
  const paper = caps.map((cap) => paperUse(1024, cap).toFixed(1)).join(', ');
  const asked = {
    claim: 'A cap above 100 % gives a guest with one virtual processor no more',
    paper: `Livermore, 1 GB, at ${caps.join(', ')} %: ${paper} (${paperUse(1024, ONE_PROCESSOR).toFixed(1)} at 100 %)`,
  };
  const points = guestsOf(1).flatMap((guest) => [ONE_PROCESSOR, ...caps].map((cap) => ({ guest, cap })));
  return judge(
    asked,
    points.map(({ guest, cap }) => use(guest, cap)),
    (known) => {
      const above = known.filter((_, index) => points[index]!.cap > ONE_PROCESSOR);
      const own = points.flatMap(({ guest, cap }) =>
        cap > ONE_PROCESSOR ? [(use(guest, cap) ?? 0) - (use(guest, cap, 'vcpuPercent') ?? 0)] : [],
      );
      const most = Math.max(...above);
      return {
        here: `all kernels and memories: ${Math.min(...above).toFixed(1)} to ${most.toFixed(1)}`,
        holds: verdictOf(above.map((value) => value <= ONE_PROCESSOR * (1 + TOLERANCE))),
        why: `the virtual processor cannot take more than one; what is above it, at most ${Math.max(...own).toFixed(1)} %, is QEMU's other threads`,
      };
    },
  );
}

function memoryClaim(use: UseOf): Claim {
  const spread = (values: readonly number[]): number => Math.max(...values) / Math.min(...values) - 1;
  const paperSpread = Math.max(
    ...capsPercent.map((cap) => spread(memoriesMb.map((memoryMb) => paperUse(memoryMb, cap)))),
  );
  const asked = {
    claim: 'The memory of a guest, 512 MB to 2 GB, makes no difference',
    paper: `Livermore: at most ${percentText(paperSpread)} between the three at one cap`,
  };
  const groups = vcpuCounts.flatMap((vcpus) =>
    kernels.flatMap((kernel) => capsPercent.map((cap) => ({ kernel, vcpus, cap }))),
  );
  const values = groups.flatMap(({ cap, ...guest }) => memoriesMb.map((memoryMb) => use({ ...guest, memoryMb }, cap)));
  return judge(asked, values, (known) => {
    const spreads = groups.map((_, index) =>
      spread(known.slice(index * memoriesMb.length, (index + 1) * memoriesMb.length)),
    );
    const [largest] = groups.map((group, index) => ({ ...group, by: spreads[index]! })).toSorted((a, b) => b.by - a.by);
    const { kernel, vcpus, cap, by } = largest!;
    return {
      here: `at most ${percentText(by)} (${kernel}, ${vcpus} vCPU, cap ${cap} %)`,
      holds: verdictOf(spreads.map((each) => each <= TOLERANCE)),
      why: `${spreads.filter((each) => each <= TOLERANCE).length} of ${spreads.length} points (kernel, vCPUs, cap) differ by no more than ${percentText(TOLERANCE)}`,
    };
  });
}

function twoClaim(use: UseOf): Claim {
  const asked = {
    claim: 'A guest with two virtual processors takes what its cap allows, up to 200 % (figures 4, 6, 8)',
    paper: 'bars without numbers',
  };
  const points = guestsOf(2).flatMap((guest) => capsPercent.map((cap) => ({ guest, cap })));
  return judge(
    asked,
    points.map(({ guest, cap }) => use(guest, cap)),
    (known) => {
      const errors = points.map(({ cap }, index) => Math.abs(known[index]! / cap - 1));
      const most = (cap: number): number => Math.max(...errors.filter((_, index) => points[index]!.cap === cap));
      const full = known.filter((_, index) => points[index]!.cap === 200);
      const below = Math.max(...capsPercent.filter((cap) => cap < 200).map(most));
      return {
        here: `up to 175 % off the cap by at most ${percentText(below)} of it; at 200 %: ${Math.min(...full).toFixed(0)} to ${Math.max(...full).toFixed(0)} %`,
        holds: verdictOf(errors.map((error) => error <= TOLERANCE)),
        why: `at 200 % this host has nothing left: off by at most ${percentText(most(200))}; the measuring itself and the agents also run on it`,
      };
    },
  );
}

function useTable(use: UseOf, vcpus: number): PaperTable {
  const own = guestsOf(vcpus).map((guest) => [
    `${guest.kernel} ${guest.memoryMb} MB`,
    ...capsPercent.map((cap) => oneDigit(use(guest, cap))),
  ]);
  const paper = memoriesMb.map((memoryMb) => [
    `paper: livermore ${memoryMb} MB`,
    ...capsPercent.map((cap) => paperUse(memoryMb, cap).toFixed(1)),
  ]);
  const [figures, from] =
    vcpus === 1
      ? ['tables 1 to 3, figures 3, 5, 7', `; the paper's are its percent of four cores, times four`]
      : ['figures 4, 6, 8', ''];
  return {
    title: `Use by cap, ${vcpus} vCPU (${figures})`,
    note: `percent of one processor, all threads of the guest's QEMU${from}`,
    columns: ['cap', ...capsPercent.map((cap) => `${cap} %`)],
    rows: vcpus === 1 ? [...own, ...paper] : own,
  };
}

/** What a cap pays for beside the guest itself. */
function ownTable(use: UseOf): PaperTable {
  const own = (kernel: Kernel, vcpus: number, cap: number): number | null =>
    median(
      memoriesMb.flatMap((memoryMb) => {
        const [all, vcpu] = ['usePercent', 'vcpuPercent'].map((name) => use({ kernel, memoryMb, vcpus }, cap, name));
        return all == null || vcpu == null ? [] : [all - vcpu];
      }),
    );
  return {
    title: "Of this, QEMU's threads beside those of the virtual processors (not in the paper)",
    note: 'percent of one processor, median over the three memories',
    columns: ['cap', ...capsPercent.map((cap) => `${cap} %`)],
    rows: vcpuCounts.flatMap((vcpus) =>
      kernels.map((kernel) => [
        `${kernel} ${vcpus} vCPU`,
        ...capsPercent.map((cap) => oneDigit(own(kernel, vcpus, cap))),
      ]),
    ),
  };
}

/** A cap is no use to its owner unless the guest's work follows it. */
function workTable(use: UseOf): PaperTable {
  const rows = vcpuCounts.flatMap((vcpus) =>
    kernels.map((kernel) => {
      const parts = capsPercent.map((cap) => {
        const ofFull = memoriesMb.flatMap((memoryMb) => {
          const [rate, full] = [cap, capsPercent.at(-1)!].map((at) => use({ kernel, memoryMb, vcpus }, at, 'workPerS'));
          return rate && full ? [rate / full] : [];
        });
        const middle = median(ofFull);
        return middle === null ? '-' : `${(middle * 100).toFixed(0)} %`;
      });
      return [`${kernel} ${vcpus} vCPU`, ...parts];
    }),
  );
  return {
    title: "The guest's own work by cap (not in the paper)",
    note: 'its rate, as a part of that at a cap of 200 %; median over the three memories, one window of two seconds each, so coarse',
    columns: ['cap', ...capsPercent.map((cap) => `${cap} %`)],
    rows,
  };
}

const colors: Readonly<Record<number, readonly string[]>> = {
  1: ['#b0ddc8', '#3fa27f', '#0b7a5c'],
  2: ['#b9cfe8', '#5d86b5', '#34495e'],
};

function useChart(use: UseOf, kernel: Kernel): PaperChart {
  const figures = { livermore: '3 and 4', dhrystone: '5 and 6', linpack: '7 and 8' }[kernel];
  const series = vcpuCounts.flatMap((vcpus) =>
    memoriesMb.map((memoryMb, index) => ({
      name: `${memoryMb} MB, ${vcpus} vCPU`,
      color: colors[vcpus]![index]!,
      values: capsPercent.map((cap) => rounded(use({ kernel, memoryMb, vcpus }, cap))),
    })),
  );
  const marks =
    kernel === 'livermore'
      ? { name: 'paper, 512 MB, 1 vCPU', values: capsPercent.map((cap) => rounded(paperUse(512, cap))) }
      : { name: 'cap', values: [...capsPercent] };
  return {
    kind: 'bars',
    options: {
      title: `Use by cap: ${kernel} (figures ${figures})`,
      note: "percent of one processor, all threads of the guest's QEMU",
      unit: '%',
      categories: capsPercent.map((cap) => `cap ${cap} %`),
      series,
      marks,
    },
  };
}

function percentText(part: number): string {
  return `${(part * 100).toFixed(1)} %`;
}

function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toFixed(1));
}

function oneDigit(value: number | null): string {
  return value === null ? '-' : value.toFixed(1);
}
