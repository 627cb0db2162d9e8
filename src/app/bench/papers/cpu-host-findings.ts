/** Table 4, use by number of cores, and the conclusion's threshold of 65 %. Pure. */
import { coresKey, loadKey, loadsPercent, thresholdKernels } from './cpu-measures.ts';
import { PAPER_THRESHOLD_PERCENT, paperCores } from './cpu-paper-values.ts';
import { judge, measured, measuredRow, unknownClaim, verdictOf } from './evidence.ts';
import { kernels } from './kernel-guest.ts';
import type { Kernel } from './kernel-guest.ts';
import type { Claim, Evidence, Findings, PaperChart, PaperTable } from './paper.ts';

/** The least of the paper's rises from one core to two, Linpack's from 95 to 100 %, is one of this. */
const RISE_MIN = 1.04;
/** Uses and rates that differ by less are taken as equal: windows of two seconds. */
const TOLERANCE = 0.05;
const OWN_COLORS = ['#0b7a5c', '#7cc3a4'];

/** Percent of one processor that a guest takes when there are so many cores, and so many guests on them. */
type CoresUse = (kernel: Kernel, cores: number, guests: number, name?: string) => number | null;

export function hostFindings(evidence: Evidence): Findings {
  const rowOf = (kernel: Kernel, name: string): readonly number[] =>
    measuredRow(evidence, coresKey(kernel), name) ?? [];
  const use: CoresUse = (kernel, cores, guests, name = 'usePercent') => {
    const counts = rowOf(kernel, 'guests');
    const index = rowOf(kernel, 'cores').findIndex((each, at) => each === cores && counts[at] === guests);
    return rowOf(kernel, name)[index] ?? null;
  };
  const coresMax = Math.max(0, ...kernels.flatMap((kernel) => rowOf(kernel, 'cores')));
  const load = loadOf(evidence);
  return {
    claims: [riseClaim(use), thirdClaim(use, coresMax), allClaim(use, coresMax), thresholdClaim(load)],
    tables: [coresTable(use, coresMax), loadTable(load)],
    charts: [coresChart(use, coresMax), ...loadCharts(load)],
  };
}

function riseClaim(use: CoresUse): Claim {
  const asked = {
    claim: 'With two cores in place of one, all three kernels take significantly more of a processor (table 4)',
    paper: kernels.map((kernel) => `${kernel} ${arrow(paperCores[kernel][0]!, paperCores[kernel][1]!)}`).join(', '),
  };
  const values = [1, 2].flatMap((guests) =>
    kernels.flatMap((kernel) => [use(kernel, 1, guests), use(kernel, 2, guests)]),
  );
  return judge(asked, values, (known) => {
    const text = (from: number): string =>
      kernels
        .map((kernel, index) => `${kernel} ${arrow(known[from + index * 2]!, known[from + index * 2 + 1]!)}`)
        .join(', ');
    const rises = Array.from({ length: known.length / 2 }, (_, index) => known[index * 2 + 1]! / known[index * 2]!);
    const [alone, beside] = [rises.slice(0, kernels.length), rises.slice(kernels.length)].map((each) =>
      each.map((rise) => rise >= RISE_MIN),
    );
    return {
      here: `alone: ${text(0)}; beside a second such guest: ${text(kernels.length * 2)}`,
      holds: verdictOf([...alone!, ...beside!]),
      why: `the load of one thread takes more with a second core ${whenOf(alone!, beside!)}; the paper does not say what else ran (its Livermore trials on one core: 96, 90, 63, then 41 to 52 %)`,
    };
  });
}

function thirdClaim(use: CoresUse, coresMax: number): Claim {
  const asked = {
    claim: 'A third core adds slightly (table 4)',
    paper: kernels.map((kernel) => `${kernel} ${arrow(paperCores[kernel][1]!, paperCores[kernel][2]!)}`).join(', '),
  };
  if (coresMax < 3)
    return unknownClaim(asked, coresMax === 0 ? 'figures are missing' : `this machine has ${coresMax} cores`);
  const values = kernels.flatMap((kernel) => [use(kernel, 2, 1), use(kernel, 3, 1)]);
  return judge(asked, values, (known) => {
    const rises = kernels.map((_, index) => known[index * 2 + 1]! / known[index * 2]!);
    return {
      here: kernels.map((kernel, index) => `${kernel} ${arrow(known[index * 2]!, known[index * 2 + 1]!)}`).join(', '),
      holds: verdictOf(rises.map((rise) => rise > 1 && rise < 1 + TOLERANCE * 2)),
      why: `more by ${rises.map((rise) => `${((rise - 1) * 100).toFixed(1)} %`).join(', ')}`,
    };
  });
}

function allClaim(use: CoresUse, coresMax: number): Claim {
  const asked = {
    claim: 'With all cores of the machine a load takes nearly 100 % of one of them (table 4)',
    paper: `four cores: ${kernels.map((kernel) => `${kernel} ${paperCores[kernel][3]!.toFixed(1)} %`).join(', ')}`,
  };
  const values = coresMax < 2 ? [null] : kernels.map((kernel) => use(kernel, coresMax, 1));
  return judge(asked, values, (known) => ({
    here: `${coresMax} cores: ${kernels.map((kernel, index) => `${kernel} ${known[index]!.toFixed(1)} %`).join(', ')}`,
    holds: verdictOf(known.map((value) => Math.abs(value - 100) <= TOLERANCE * 100)),
    why: `what is above 100 % is QEMU's threads beside that of the virtual processor`,
  }));
}

type Load = {
  readonly cores: number | null;
  /** By the loads, percent of the host; null where it was not measured. */
  readonly taken: (number | null)[];
  readonly busy: (number | null)[];
  /** Work per processor second, of both guests: each as a part of its own mean over the loads up to the threshold. */
  readonly perCpu: (number | null)[];
};

function loadOf(evidence: Evidence): Load {
  const row = (name: string): readonly number[] => measuredRow(evidence, loadKey, name) ?? [];
  const parts = thresholdKernels.map((kernel) => {
    const [use, work] = [row(`${kernel}UsePercent`), row(`${kernel}WorkPerS`)];
    const perCpu = loadsPercent.map((_, index) => (use[index] && work[index] ? work[index] / use[index] : null));
    const below = perCpu.filter((value, index) => value !== null && isBelow(index)) as number[];
    const mean = below.reduce((sum, value) => sum + value, 0) / below.length;
    return perCpu.map((value) => (value === null ? null : value / mean));
  });
  return {
    cores: measured(evidence, loadKey, 'cores'),
    taken: loadsPercent.map((_, index) => row('takenPercent')[index] ?? null),
    busy: loadsPercent.map((_, index) => row('hostPercent')[index] ?? null),
    perCpu: loadsPercent.map((_, index) => meanOrNull(parts.map((part) => part[index] ?? null))),
  };
}

function isBelow(index: number): boolean {
  return loadsPercent[index]! <= PAPER_THRESHOLD_PERCENT;
}

/** Who must leave when a threshold is passed has to be worse off above it: gets less than it may, or does less with it. */
function thresholdClaim({ cores, taken, perCpu }: Load): Claim {
  const asked = {
    claim: 'A host whose guests take more than 65 % of it must give one away (conclusion)',
    paper: '65 %, without a measurement for it',
  };
  return judge(asked, [...taken, ...perCpu], (known) => {
    const got = loadsPercent.map((load, index) => known[index]! / load);
    const done = known.slice(loadsPercent.length);
    const [gotBelow, gotAbove] = [true, false].map((below) =>
      Math.min(...got.filter((_, index) => isBelow(index) === below)),
    );
    const doneAbove = done.filter((_, index) => !isBelow(index));
    const meanAbove = doneAbove.reduce((sum, value) => sum + value, 0) / doneAbove.length;
    const isHurtAbove = gotAbove! < 1 - TOLERANCE || meanAbove < 1 - TOLERANCE;
    const isHurtBelow = gotBelow! < 1 - TOLERANCE;
    const all = got.at(-1)!;
    return {
      here: `two guests on ${cores} cores get at least ${part(gotAbove!)} of what they may take above 65 % (${part(gotBelow!)} up to there), and do ${part(meanAbove)} as much work per processor second`,
      holds: isHurtAbove && !isHurtBelow ? 'yes' : 'no',
      why: isHurtAbove
        ? `guests are worse off above 65 %${isHurtBelow ? ', but also below' : ''}`
        : `nothing begins at 65 %: guests without other needs than processors get what they may up to the whole host (${part(all)} of 100 %); a lower threshold is room for the move itself`,
    };
  });
}

function coresTable(use: CoresUse, coresMax: number): PaperTable {
  const counts = Array.from({ length: coresMax }, (_, index) => index + 1);
  const here = [1, 2].flatMap((guests) => counts.map((cores) => ({ guests, cores })));
  const text = (value: number | null): string => (value === null ? '-' : value.toFixed(1));
  return {
    title: 'Use by number of cores (table 4)',
    note: 'percent of one processor; here of a guest with one virtual processor and 512 MB, alone or beside a second one; in parentheses the busy part of those cores',
    columns: [
      'kernel',
      ...paperCores.dhrystone.map((_, index) => `paper, ${index + 1} ${index === 0 ? 'core' : 'cores'}`),
      ...here.map(
        ({ guests, cores }) => `${guests === 1 ? 'alone' : 'beside'}, ${cores} ${cores === 1 ? 'core' : 'cores'}`,
      ),
    ],
    rows: kernels.map((kernel) => [
      kernel,
      ...paperCores[kernel].map((value) => value.toFixed(1)),
      ...here.map(
        ({ guests, cores }) =>
          `${text(use(kernel, cores, guests))} (${text(use(kernel, cores, guests, 'hostPercent'))})`,
      ),
    ]),
  };
}

function coresChart(use: CoresUse, coresMax: number): PaperChart {
  const counts = Array.from({ length: coresMax }, (_, index) => index + 1);
  const greys = ['#e2c9a6', '#d3a867', '#b98536', '#8f6321'];
  const paper = paperCores.dhrystone.map((_, index) => ({
    name: `paper: ${index + 1}`,
    color: greys[index]!,
    values: kernels.map((kernel) => paperCores[kernel][index]!),
  }));
  const own = [1, 2].flatMap((guests) =>
    counts.map((cores, index) => ({
      name: `${guests === 1 ? 'alone' : 'beside another guest'}: ${cores}`,
      color:
        guests === 1
          ? ['#7cc3a4', '#0b7a5c', '#08543f', '#04291f'][index]!
          : ['#b9cfe8', '#5d86b5', '#34495e', '#1b2631'][index]!,
      values: kernels.map((kernel) => use(kernel, cores, guests)),
    })),
  );
  return {
    kind: 'bars',
    options: {
      title: 'Use by number of cores (table 4)',
      note: 'percent of one processor that one load takes, on so many cores; paper: means of ten trials',
      unit: '%',
      categories: [...kernels],
      series: [...paper, ...own],
    },
  };
}

function loadTable({ cores, taken, busy, perCpu }: Load): PaperTable {
  const text = (value: number | null | undefined, digits = 1): string =>
    value === null || value === undefined ? '-' : value.toFixed(digits);
  return {
    title: 'Two guests by the part of the host that they may take (not in the paper)',
    note: `${thresholdKernels.join(' and ')}, each capped at half of the load, on ${cores ?? '-'} cores; percent of these cores; work per processor second: mean of both, 1 is that of loads up to 65 %`,
    columns: ['allowed', ...loadsPercent.map((load) => `${load} %`)],
    rows: [
      ['taken', ...taken.map((value) => text(value))],
      ['cores busy', ...busy.map((value) => text(value))],
      ['work per processor second', ...perCpu.map((value) => text(value, 2))],
    ],
  };
}

function loadCharts({ taken, perCpu }: Load): PaperChart[] {
  const points = (values: readonly (number | null)[], scale = 1): [number, number][] =>
    values.flatMap((value, index): [number, number][] =>
      value === null ? [] : [[loadsPercent[index]!, value * scale]],
    );
  const bands = [{ name: 'above 65 %', from: PAPER_THRESHOLD_PERCENT, to: 100 }];
  const chart = (title: string, note: string, series: readonly [string, [number, number][]][]): PaperChart => ({
    kind: 'lines',
    options: {
      ...{ title, note, xName: 'allowed, % of the host', unit: '%', bands },
      series: series.map(([name, own], index) => ({ name, color: OWN_COLORS[index]!, points: own })),
    },
  });
  return [
    chart('What two guests take of what they may', 'percent of the host', [
      ['taken', points(taken)],
      ['allowed', loadsPercent.map((load): [number, number] => [load, load])],
    ]),
    chart('Their work per processor second', 'percent of its mean at loads up to 65 %', [
      ['work', points(perCpu, 100)],
    ]),
  ];
}

function meanOrNull(values: readonly (number | null)[]): number | null {
  if (values.length === 0 || values.some((value) => value === null)) return null;
  return (values as number[]).reduce((sum, value) => sum + value, 0) / values.length;
}

function arrow(from: number, to: number): string {
  return `${from.toFixed(0)} to ${to.toFixed(0)} %`;
}

function part(value: number): string {
  return `${(value * 100).toFixed(0)} %`;
}

/** When a second core helps: alone, and beside another guest. */
function whenOf(alone: readonly boolean[], beside: readonly boolean[]): string {
  const said = (each: readonly boolean[]): string =>
    each.every(Boolean) ? 'for all kernels' : each.some(Boolean) ? 'for some kernels' : 'for no kernel';
  return `${said(alone)} when it is alone, and ${said(beside)} when something else wants the first one`;
}
