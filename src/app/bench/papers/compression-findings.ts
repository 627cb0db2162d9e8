/** What follows for compression: ratio and speed by method, total time by method and link, the break-even. Pure. */
import { formatBytes } from '../../../core/model/units.ts';
import { linkBitsPerS, linkNames } from '../../lab/plan.ts';
import type { LinkName } from '../../lab/plan.ts';
import type { Cell } from '../schedule.ts';
import { changeText, figureOfCell, figureOrEndless, judge, measured, verdictOf } from './evidence.ts';
import type { CellFigure } from './evidence.ts';
import { modeColor, rounded, timeOrEnd } from './figures.ts';
import type { Claim, Evidence, Findings, PaperChart, PaperTable } from './paper.ts';

export const movedCase = 'files';
export const methodCases = ['files', 'mg', 'random'] as const;
const compressMode = (compress: string): string => `vmferry-precopy:prune=none:delta=off:compress=${compress}`;
export const movedModes = [
  ...['none', 'lz', 'adaptive'].map(compressMode),
  ...['qemu-multifd', 'qemu-multifd-zstd'],
] as const;
const [none, lz, adaptive] = movedModes as readonly [string, string, string];
/** As page-methods.ts names them, from light to heavy; none of these is `none`. */
export const methodNames = ['zstd -20', 'zstd -5', 'lz', 'zstd 3', 'zstd 6', 'deflate 1', 'deflate 6'] as const;

/** `adaptive` may lose so much to the better of the fixed choices: a move's own noise. */
const ADAPTIVE_SLACK = 1.1;

const totalMs: CellFigure = (sample) => sample.totalMs;
const downtimeMs: CellFigure = (sample) => sample.downtimeMs;
const wireBytes: CellFigure = (sample) => sample.wireBytes;

export type MethodFigures = { readonly ratio: number | null; readonly mbPerS: number | null };

export function methodOf(evidence: Evidence, name: string, method: string): MethodFigures {
  const key = `methods ${name}`;
  return { ratio: measured(evidence, key, `${method} ratio`), mbPerS: measured(evidence, key, `${method} MB/s`) };
}

/**
 * Bits per second of the link from which on compression by one thread loses time. `alone`: pages are compressed, then sent, one
 * after the other: B/L = B/S + B/(R L), so L = S (1 - 1/R). `beside`: both at once, as lanes do: compression is what takes
 * time as soon as the link is faster than it, L = S.
 */
export function breakEvenBitsPerS(mbPerS: number, ratio: number): { readonly alone: number; readonly beside: number } {
  const bitsPerS = mbPerS * 8e6;
  return { alone: bitsPerS * Math.max(0, 1 - 1 / ratio), beside: bitsPerS };
}

function cellOf(link: LinkName, mode: string): Cell {
  return { case: movedCase, link, mode };
}

export function compressionFindings(evidence: Evidence): Findings {
  return {
    claims: [
      lessPerLink(evidence, totalMs, 'Compression shortens the total time', 'significantly; no figures'),
      lessPerLink(evidence, downtimeMs, 'Compression shortens the downtime', 'significantly; no figures'),
      lessPerLink(evidence, wireBytes, 'Compression sends less', 'fewer bytes; no figures'),
      breakEven(evidence),
      quickOrSmall(evidence),
      adaptiveKeepsUp(evidence),
    ],
    tables: [movesTable(evidence), methodsTable(evidence)],
    charts: [totals(evidence), ...methodCharts(evidence)],
  };
}

/** `lz` beside `none`, link by link. */
function lessPerLink(evidence: Evidence, of: CellFigure, claim: string, paper: string): Claim {
  const values = linkNames.flatMap((link) => [none, lz].map((mode) => figureOfCell(evidence, cellOf(link, mode), of)));
  return judge({ claim, paper }, values, (known) => {
    const pairs = linkNames.map((_, n) => [known[2 * n]!, known[2 * n + 1]!] as const);
    const here = pairs.map(([plain, packed], n) => `${linkNames[n]}: ${changeText(packed, plain)}`).join('; ');
    return {
      here,
      holds: verdictOf(pairs.map(([plain, packed]) => packed < plain)),
      why: '"lz" beside "none"; so where it is less',
    };
  });
}

/** What the speed foretells of each link, and what happened. */
function breakEven(evidence: Evidence): Claim {
  const claim = {
    claim: 'Compression pays only where its overhead does not outweigh what it saves',
    paper: 'else "live VM migration would not get any benefit from it"; no figures',
  };
  const { ratio, mbPerS } = methodOf(evidence, movedCase, 'lz');
  const times = linkNames.flatMap((link) =>
    [none, lz].map((mode) => figureOfCell(evidence, cellOf(link, mode), totalMs)),
  );
  return judge(claim, [ratio, mbPerS, ...times], (known) => {
    const { alone, beside } = breakEvenBitsPerS(known[1]!, known[0]!);
    const wins = linkNames.map((_, n) => known[2 + 2 * n + 1]! < known[2 + 2 * n]!);
    const foretold = linkNames.map((link) => linkBitsPerS[link] < beside);
    const gbit = (bits: number): string => `${(bits / 1e9).toFixed(2)} Gbit/s`;
    const here =
      `"lz" packs ${known[1]!.toFixed(0)} MB/s at ${known[0]!.toFixed(2)}:1 on one thread, so it breaks even at ${gbit(alone)}, ` +
      `or ${gbit(beside)} where it packs while it sends; it was quicker than "none" at ${linkNames.filter((_, n) => wins[n]).join(', ') || 'no link'}`;
    const holds = verdictOf(wins.map((win, n) => win === foretold[n]));
    return { here, holds, why: 'so where the quicker one is the one that the second break-even foretells' };
  });
}

/** Among the levels of zstd; on the pages of the guest that is moved. */
function quickOrSmall(evidence: Evidence): Claim {
  const claim = {
    claim: 'A method with little overhead hardly reaches a high ratio',
    paper: 'said in general; no figures',
  };
  const names = ['zstd -20', 'zstd -5', 'lz', 'zstd 3', 'zstd 6'];
  const found = names.map((name) => methodOf(evidence, movedCase, name));
  return judge(
    claim,
    found.flatMap(({ ratio, mbPerS }) => [ratio, mbPerS]),
    (known) => {
      const all = names
        .map((name, n) => ({ name, ratio: known[2 * n]!, mbPerS: known[2 * n + 1]! }))
        .toSorted((a, b) => b.mbPerS - a.mbPerS);
      const here = all
        .map(({ name, ratio, mbPerS }) => `${name}: ${mbPerS.toFixed(0)} MB/s, ${ratio.toFixed(2)}`)
        .join('; ');
      const steps = all.slice(1).map(({ ratio }, n) => ratio > all[n]!.ratio);
      return { here, holds: verdictOf(steps), why: 'so for each next slower method whose ratio is higher' };
    },
  );
}

function adaptiveKeepsUp(evidence: Evidence): Claim {
  const claim = {
    claim:
      'Balancing overhead and effect is crucial: a method that does so is never much worse than the better of none and one method',
    paper: 'named as the crucial question; no method for it',
  };
  const modes = [none, lz, adaptive];
  const values = linkNames.flatMap((link) => modes.map((mode) => figureOfCell(evidence, cellOf(link, mode), totalMs)));
  return judge(claim, values, (known) => {
    const each = linkNames.map((_, n) => known.slice(3 * n, 3 * n + 3) as [number, number, number]);
    const here = each.map((times, n) => `${linkNames[n]}: ${times.map(timeOrEnd).join(', ')}`).join('; ');
    const holds = verdictOf(each.map(([plain, packed, found]) => found <= ADAPTIVE_SLACK * Math.min(plain, packed)));
    return {
      here: `none, lz, adaptive: ${here}`,
      holds,
      why: 'so where "adaptive" is within a tenth of the better one',
    };
  });
}

function totals(evidence: Evidence): PaperChart {
  return {
    kind: 'bars',
    options: {
      title: 'Total time by method and link',
      ...{ note: 'less is better; logarithmic', unit: 's', isLogarithmic: true, categories: linkNames },
      series: movedModes.map((mode) => ({
        name: shortName(mode),
        color: modeColor(mode, movedModes),
        values: linkNames.map((link) => {
          const ms = figureOfCell(evidence, cellOf(link, mode), totalMs);
          return ms === null ? null : rounded(ms / 1000);
        }),
      })),
    },
  };
}

const shortName = (mode: string): string => mode.replace('vmferry-precopy:prune=none:delta=off:', 'vmferry, ');

function methodCharts(evidence: Evidence): PaperChart[] {
  const chart = (title: string, unit: string, of: (figures: MethodFigures) => number | null): PaperChart => ({
    kind: 'bars',
    options: {
      ...{
        title,
        unit,
        categories: methodNames,
        note: 'one thread, pieces of 1 MiB, pages that are not zero; more is better',
      },
      series: methodCases.map((name, n) => ({
        name,
        color: ['#0b7a5c', '#5d86b5', '#b8c2cc'][n]!,
        values: methodNames.map((method) => {
          const value = of(methodOf(evidence, name, method));
          return value === null ? null : rounded(value);
        }),
      })),
    },
  });
  const charts = [
    chart('Ratio by method', ':1', ({ ratio }) => ratio),
    chart('Speed by method', 'MB/s', ({ mbPerS }) => mbPerS),
  ];
  return evidence.measurements.length === 0 ? [] : charts;
}

function movesTable(evidence: Evidence): PaperTable {
  return {
    title: 'Total time / downtime / bytes by method and link',
    note: `the guest of the case "${movedCase}"`,
    columns: ['link', ...movedModes.map(shortName)],
    rows: linkNames.map((link) => [
      link,
      ...movedModes.map((mode) => {
        const total = figureOrEndless(evidence, cellOf(link, mode), totalMs);
        const [down, bytes] = [downtimeMs, wireBytes].map((of) => figureOfCell(evidence, cellOf(link, mode), of));
        return down == null || bytes == null
          ? timeOrEnd(total)
          : `${timeOrEnd(total)} / ${timeOrEnd(down)} / ${formatBytes(bytes)}`;
      }),
    ]),
  };
}

function methodsTable(evidence: Evidence): PaperTable {
  const text = (value: number | null, digits: number, unit: string): string =>
    value === null ? '-' : `${value.toFixed(digits)}${unit}`;
  return {
    title: 'Methods on the pages of guests: ratio, MB/s packed, MB/s unpacked, break-even',
    note: 'break-even: the link from which on a thread that packs and then sends loses time; and one that does both at once',
    columns: ['guest', 'method', 'ratio', 'packs', 'unpacks', 'break-even, then', 'at once'],
    rows: methodCases.flatMap((name) =>
      methodNames.map((method) => {
        const { ratio, mbPerS } = methodOf(evidence, name, method);
        const even = ratio === null || mbPerS === null ? null : breakEvenBitsPerS(mbPerS, ratio);
        const unpack = measured(evidence, `methods ${name}`, `${method} unpack MB/s`);
        const speeds = [text(mbPerS, 0, ' MB/s'), text(unpack, 0, ' MB/s')];
        const evens = [even?.alone, even?.beside].map((bits) =>
          text(bits === undefined ? null : bits / 1e9, 2, ' Gbit/s'),
        );
        return [name, method, text(ratio, 2, ''), ...speeds, ...evens];
      }),
    ),
  };
}
