/** Which cells belong together: a set has a name, its files in the folder of results, and a number of runs. */
import { linkNames } from '../lab/plan.ts';
import type { LinkName } from '../lab/plan.ts';
import { caseOf } from './cases.ts';
import { BenchError } from './errors.ts';
import { modeOf } from './modes.ts';
import type { Cell } from './schedule.ts';
import type { SetName } from './set-names.ts';

/** What a person asked for instead of what the set has. */
export type Choice = {
  readonly cases?: readonly string[];
  readonly links?: readonly string[];
  readonly modes?: readonly string[];
};

type SetParts = {
  readonly cases: readonly string[];
  readonly links: readonly LinkName[];
  readonly modes: readonly string[];
};

const qemuMain = [
  'qemu-default',
  'qemu-xbzrle',
  'qemu-multifd',
  'qemu-multifd-zstd',
  'qemu-auto-converge',
  'qemu-postcopy',
];

const mainCases = [
  ...['idle', 'slow', 'fast', 'cache', 'random'],
  ...['dhrystone', 'linpack', 'livermore', 'mg', 'is', 'sp', 'bt', 'mail'],
];

/** Products of cases, links and modes; a set is one or more of them. */
const parts: Readonly<Record<SetName, readonly SetParts[]>> = {
  main: [
    {
      cases: mainCases,
      links: ['1gbit'],
      modes: ['vmferry-auto', ...qemuMain],
    },
  ],
  quick: [
    {
      cases: ['idle', 'slow', 'cache', 'random'],
      links: ['1gbit'],
      modes: ['vmferry-auto', 'qemu-default', 'qemu-multifd-zstd', 'qemu-postcopy'],
    },
  ],
  servers: [
    {
      cases: ['web', 'wrk', 'redis', 'compile', 'video'],
      links: ['1gbit'],
      modes: ['vmferry-auto', 'qemu-default', 'qemu-multifd-zstd', 'qemu-postcopy'],
    },
  ],
  scaling: [
    {
      cases: ['memory-1024', 'memory-2048', 'memory-4096', 'memory-8192'],
      links: ['1gbit'],
      modes: ['vmferry-auto', 'qemu-default'],
    },
    {
      cases: ['rate-0', 'rate-5', 'rate-10', 'rate-20', 'rate-40', 'rate-80', 'rate-160'],
      links: ['1gbit'],
      modes: ['vmferry-auto', 'qemu-default', 'qemu-multifd-zstd'],
    },
    {
      cases: ['random'],
      links: ['10gbit'],
      modes: ['vmferry-lanes-1', 'vmferry-lanes-2', 'vmferry-lanes-3', 'vmferry-lanes-4'],
    },
    { cases: ['slow'], links: ['100mbit', '1gbit', '10gbit'], modes: ['vmferry-auto', 'qemu-default'] },
  ],
  prediction: [
    // Pre-copy of a guest that writes faster than the link takes minutes, and the same each time.
    {
      cases: [...mainCases.filter((name) => name !== 'fast'), 'rate-40'],
      links: ['1gbit'],
      modes: ['vmferry-auto', 'vmferry-precopy'],
    },
    { cases: ['fast'], links: ['1gbit'], modes: ['vmferry-auto'] },
    {
      cases: ['idle', 'slow', 'rate-5'],
      links: ['100mbit'],
      modes: ['vmferry-auto', 'vmferry-precopy'],
    },
  ],
};

export const runsOf: Readonly<Record<SetName, number>> = { main: 3, quick: 1, servers: 1, scaling: 1, prediction: 1 };

/**
 * The cells of a set, or of what is chosen in its place; the modes of a case and link stand side by side. A choice of cases,
 * links or modes makes one product of the three: what is not chosen is that of the set's first. Throws BenchError BENCH_CHOICE.
 */
export function cellsOfSet(set: SetName, choice: Choice): Cell[] {
  const [first] = parts[set];
  const isChosen = Object.keys(choice).length > 0;
  const products = isChosen && first !== undefined ? [{ ...first, ...choice }] : parts[set];
  return products.flatMap((each) =>
    each.links.flatMap((link) =>
      each.cases.flatMap((name) =>
        each.modes.map((mode) => ({ case: caseOf(name).name, link: linkOf(link), mode: modeOf(mode).name })),
      ),
    ),
  );
}

function linkOf(name: string): LinkName {
  const found = linkNames.find((each) => each === name);
  if (found !== undefined) return found;
  throw new BenchError('BENCH_CHOICE', `There is no link "${name}": the links are ${linkNames.join(', ')}`, {
    link: name,
  });
}
