/** What the MPLM paper claims, and what follows here. Pure. */
import { formatBytes } from '../../../core/model/units.ts';
import type { LineSeries } from '../chart.ts';
import type { Cell } from '../schedule.ts';
import { dirtyRateKey } from './dirty-rate.ts';
import { changeText, figureOfCell, figureOrEndless, judge, measured, verdictOf } from './evidence.ts';
import type { CellFigure } from './evidence.ts';
import { oursColor, percentText, rounded, thirdColor, theirsColor, timeOrEnd } from './figures.ts';
import type { Claim, Evidence, Findings, PaperChart, PaperTable } from './paper.ts';

/** That which writes least is the first. */
export const kernels = ['bt', 'mg', 'sp', 'is'] as const;
/** With one that writes next to nothing. */
export const rateCases = ['linpack', ...kernels] as const;
export const downtimeLimitsMs = [300, 1000, 3000, 6000] as const;
export const plainMode = 'vmferry-mplm:prune=none:delta=off:compress=none';
export const fullMode = 'vmferry-mplm';

const LOWEST = downtimeLimitsMs[0];
const HIGHEST = downtimeLimitsMs.at(-1)!;
/** Pages of 4 KiB that 100 Mbit/s carry in a second. */
const LINK_PAGES_PER_S = 100e6 / 8 / 4096;

const totalMs: CellFigure = (sample) => sample.totalMs;
const downtimeMs: CellFigure = (sample) => sample.downtimeMs;

export function limitMode(ms: number): string {
  return `qemu-default:downtime=${ms}`;
}

function cellOf(name: string, mode: string): Cell {
  return { case: name, link: '100mbit', mode };
}

export function mplmFindings(evidence: Evidence): Findings {
  return {
    claims: [
      tooLow(evidence),
      tooHigh(evidence),
      alwaysCompletes(evidence),
      middleWay(evidence),
      downtimeByRate(evidence),
      combined(evidence),
    ],
    tables: [figure4Table(evidence), rateTable(evidence)],
    charts: kernels.flatMap((name) => figure4(evidence, name) ?? []),
  };
}

const named = (names: readonly string[], texts: readonly string[]): string =>
  names.map((name, index) => `${name} ${texts[index]}`).join('; ');

function tooLow(evidence: Evidence): Claim {
  const claim = {
    claim: 'A maximum downtime that is set too low makes the migration exceedingly long',
    paper: "QEMU's default of 0.3 s is for light work only (figure 4)",
  };
  const values = kernels.flatMap((name) => [
    figureOrEndless(evidence, cellOf(name, limitMode(LOWEST)), totalMs),
    figureOrEndless(evidence, cellOf(name, plainMode), totalMs),
  ]);
  return judge(claim, values, (known) => {
    const pairs = kernels.map((_, index) => [known[2 * index]!, known[2 * index + 1]!] as const);
    const texts = pairs.map(([low, mplm]) => `${timeOrEnd(low)} (MPLM ${timeOrEnd(mplm)})`);
    const holds = verdictOf(pairs.map(([low, mplm]) => low > 2 * mplm));
    return { here: named(kernels, texts), holds, why: "so where QEMU's total at 0.3 s is more than twice MPLM's" };
  });
}

function tooHigh(evidence: Evidence): Claim {
  const claim = {
    claim: 'A maximum downtime that is set too high makes the downtime high',
    paper: 'downtime grows with the maximum, up to that of a stop at once (figure 4)',
  };
  const values = kernels.map((name) => figureOrEndless(evidence, cellOf(name, limitMode(HIGHEST)), downtimeMs));
  return judge(claim, values, (known) => ({
    here: `with a maximum of ${HIGHEST / 1000} s: ${named(
      kernels,
      known.map((ms) => timeOrEnd(ms)),
    )}`,
    holds: verdictOf(known.map((ms) => ms > 1000)),
    why: 'so where the guest stood still for more than a second',
  }));
}

function alwaysCompletes(evidence: Evidence): Claim {
  const claim = {
    claim: 'MPLM needs no maximum downtime and always completes in a predictable time',
    paper: 'yes: at most twice the memory is sent',
  };
  const values = rateCases.flatMap((name) => [
    figureOrEndless(evidence, cellOf(name, plainMode), totalMs),
    figureOrEndless(evidence, cellOf(name, plainMode), (sample) => sample.wireBytes),
  ]);
  return judge(claim, values, (known) => {
    const [times, bytes] = [0, 1].map((of) => known.filter((_, index) => index % 2 === of)) as [number[], number[]];
    const most = 2 * 512 * 2 ** 20;
    return {
      here: named(
        rateCases,
        rateCases.map((_, n) => `${timeOrEnd(times[n]!)}, ${bytes[n] === Infinity ? '-' : formatBytes(bytes[n]!)}`),
      ),
      holds: verdictOf(times.map((ms, n) => Number.isFinite(ms) && bytes[n]! <= most)),
      why: `so where it completed and sent no more than ${formatBytes(most)}`,
    };
  });
}

function middleWay(evidence: Evidence): Claim {
  const claim = {
    claim:
      'MPLM is a middle way: sooner done than QEMU with a low maximum, with less downtime than QEMU with a high one',
    paper: 'for all four kernels (figure 4)',
  };
  const values = kernels.flatMap((name) => [
    figureOrEndless(evidence, cellOf(name, limitMode(LOWEST)), totalMs),
    figureOrEndless(evidence, cellOf(name, plainMode), totalMs),
    figureOrEndless(evidence, cellOf(name, limitMode(HIGHEST)), downtimeMs),
    figureOrEndless(evidence, cellOf(name, plainMode), downtimeMs),
  ]);
  return judge(claim, values, (known) => {
    const each = kernels.map((_, n) => known.slice(4 * n, 4 * n + 4) as [number, number, number, number]);
    const texts = each.map(
      ([low, total, high, down]) =>
        `total ${timeOrEnd(total)} for ${timeOrEnd(low)}, downtime ${timeOrEnd(down)} for ${timeOrEnd(high)}`,
    );
    const holds = verdictOf(each.flatMap(([low, total, high, down]) => [total < low, down < high]));
    return { here: named(kernels, texts), holds, why: 'so where both are smaller' };
  });
}

function downtimeByRate(evidence: Evidence): Claim {
  const claim = {
    claim: 'The higher the dirty rate, the longer the downtime of MPLM',
    paper: '35,000 to 208,000 pages/s: downtimes in that order (table I)',
  };
  const values = rateCases.flatMap((name) => [
    measured(evidence, dirtyRateKey(name), 'pagesPerS'),
    figureOfCell(evidence, cellOf(name, plainMode), downtimeMs),
  ]);
  return judge(claim, values, (known) => {
    const points = rateCases
      .map((name, n) => ({ name, rate: known[2 * n]!, ms: known[2 * n + 1]! }))
      .toSorted((a, b) => a.rate - b.rate);
    const here = points.map(({ name, rate, ms }) => `${name} ${Math.round(rate)}/s ${timeOrEnd(ms)}`).join('; ');
    const steps = points.slice(1).map(({ ms }, index) => ms >= points[index]!.ms);
    return {
      here,
      holds: verdictOf(steps),
      why: 'so for each next higher dirty rate whose downtime is at least as long',
    };
  });
}

function combined(evidence: Evidence): Claim {
  const claim = {
    claim: "Pruning, deltas and compression shrink MPLM's weak point, its downtime",
    paper: 'not in the paper: what vmferry adds to it',
  };
  const values = kernels.flatMap((name) => [
    figureOfCell(evidence, cellOf(name, plainMode), downtimeMs),
    figureOfCell(evidence, cellOf(name, fullMode), downtimeMs),
  ]);
  return judge(claim, values, (known) => {
    const pairs = kernels.map((_, n) => [known[2 * n]!, known[2 * n + 1]!] as const);
    const texts = pairs.map(([plain, full]) => `${timeOrEnd(plain)} to ${timeOrEnd(full)}, ${changeText(full, plain)}`);
    return {
      here: named(kernels, texts),
      holds: verdictOf(pairs.map(([plain, full]) => full < plain)),
      why: 'so where it is shorter',
    };
  });
}

/** Time by the maximum downtime; MPLM has none, so its points stand at the downtime that it had. */
function figure4(evidence: Evidence, name: string): PaperChart | null {
  const line = (of: CellFigure): [number, number][] =>
    downtimeLimitsMs.flatMap((limit) => {
      const ms = figureOfCell(evidence, cellOf(name, limitMode(limit)), of);
      return ms === null ? [] : [[limit / 1000, rounded(ms / 1000)]];
    });
  const points = (mode: string, title: string, color: string): LineSeries[] => {
    const [total, down] = [totalMs, downtimeMs].map((of) => figureOfCell(evidence, cellOf(name, mode), of));
    if (total == null || down == null) return [];
    const at = rounded(down / 1000);
    return [
      {
        name: title,
        color,
        shape: 'points',
        points: [
          [at, rounded(total / 1000)],
          [at, at],
        ],
      },
    ];
  };
  const endless = downtimeLimitsMs.filter(
    (limit) => figureOrEndless(evidence, cellOf(name, limitMode(limit)), totalMs) === Infinity,
  );
  const series: LineSeries[] = [
    { name: 'QEMU, total', color: theirsColor, points: line(totalMs) },
    { name: 'QEMU, downtime', color: theirsColor, isDashed: true, points: line(downtimeMs) },
    ...points(plainMode, 'MPLM', thirdColor),
    ...points(fullMode, 'MPLM, prune, delta, compress', oursColor),
  ];
  if (series.every(({ points: all }) => all.length === 0)) return null;
  const note =
    endless.length === 0
      ? "MPLM's points: its total above, its downtime below, at its downtime"
      : `QEMU does not end at a maximum of ${endless.map((limit) => limit / 1000).join(', ')} s: no point there`;
  return {
    kind: 'lines',
    options: { title: `Figure 4, ${name}`, note, xName: "QEMU's maximum downtime, s", unit: 's', series },
  };
}

function figure4Table(evidence: Evidence): PaperTable {
  const modes = [...downtimeLimitsMs.map(limitMode), plainMode, fullMode];
  const text = (name: string, mode: string): string => {
    const total = figureOrEndless(evidence, cellOf(name, mode), totalMs);
    if (total === null || total === Infinity) return timeOrEnd(total);
    return `${timeOrEnd(total)} / ${timeOrEnd(figureOfCell(evidence, cellOf(name, mode), downtimeMs))}`;
  };
  return {
    title: 'Figure 4: total time / downtime',
    note: 'QEMU by its maximum downtime; MPLM: without pruning, deltas and compression; with all three',
    columns: ['kernel', ...downtimeLimitsMs.map((limit) => `QEMU ${limit / 1000} s`), 'MPLM', 'MPLM, all three'],
    rows: rateCases.map((name) => [name, ...modes.map((mode) => text(name, mode))]),
  };
}

function rateTable(evidence: Evidence): PaperTable {
  return {
    title: 'Table I: downtime by dirty rate',
    note: '"of the link": pages written per second for each page that the link carries; "less": all three against none',
    columns: ['kernel', 'pages/s', 'of the link', 'MPLM', 'all three', 'less', 'bytes: MPLM', 'all three'],
    rows: rateCases.map((name) => {
      const rate = measured(evidence, dirtyRateKey(name), 'pagesPerS');
      const [plain, full] = [plainMode, fullMode].map((mode) => figureOfCell(evidence, cellOf(name, mode), downtimeMs));
      const bytes = [plainMode, fullMode].map((mode) =>
        figureOfCell(evidence, cellOf(name, mode), (each) => each.wireBytes),
      );
      return [
        name,
        rate === null ? '-' : String(Math.round(rate)),
        rate === null ? '-' : (rate / LINK_PAGES_PER_S).toFixed(2),
        timeOrEnd(plain ?? null),
        timeOrEnd(full ?? null),
        plain == null || full == null ? '-' : percentText(1 - full / plain),
        ...bytes.map((each) => (each === null ? '-' : formatBytes(each))),
      ];
    }),
  };
}
