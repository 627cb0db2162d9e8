/** What the DSM paper claims, and what follows here. Pure. */
import { formatBytes } from '../../../core/model/units.ts';
import type { Sample, Series } from '../samples.ts';
import type { Cell } from '../schedule.ts';
import { changeText, figureOfCell, figureOrEndless, firstOf, judge, unknownClaim, verdictOf } from './evidence.ts';
import type { CellFigure } from './evidence.ts';
import {
  added,
  oursColor,
  overTime,
  percentText,
  rounded,
  smoothLine,
  theirsColor,
  thirdColor,
  timeOrEnd,
} from './figures.ts';
import type { Claim, Evidence, Findings, PaperChart, PaperTable } from './paper.ts';

export const workloads = [
  { name: 'idle', title: 'idle' },
  { name: 'dhrystone', title: 'CPU' },
  { name: 'mg', title: 'memory' },
  { name: 'echo', title: 'network' },
] as const;
export const without = 'vmferry-precopy';
export const withDsm = 'vmferry-dsm';
export const dsmModes = [without, withDsm, 'qemu-default'] as const;
/** Lines that run close together need more than two greens. */
const colors = { [without]: oursColor, [withDsm]: thirdColor, 'qemu-default': theirsColor } as const;

const MBIT = 1e6 / 8;
/** Of the charts over time: so much longer than vmferry's longest migration. */
const AFTER_S = 3;
/** A smaller difference is chance. */
const NOTICEABLE = 0.05;
const isLess = (ours: number, theirs: number): boolean => ours < theirs * (1 - NOTICEABLE);

const totalMs: CellFigure = (sample) => sample.totalMs;
const downtimeMs: CellFigure = (sample) => sample.downtimeMs;
/** The guest's rate while it is moved, as a part of that before. */
const workDuring: CellFigure = ({ work }) =>
  work?.during == null || work.before === 0 ? null : work.during / work.before;

function cellOf(name: string, mode: string): Cell {
  return { case: name, link: '100mbit', mode };
}

export function dsmFindings(evidence: Evidence): Findings {
  return {
    claims: [
      shorter(evidence, totalMs, {
        claim: 'DSM shortens the total time with every workload',
        paper:
          'Linux: idle 16.6 % less, all others less, too; Windows: 25 % (installation), 20 % (idle), 8 % (video), 6 % (web)',
      }),
      shorter(evidence, downtimeMs, {
        claim: 'DSM shortens the downtime with every workload',
        paper: 'Linux: idle 66.6 % less, web 42.8 %, video 10 %; Windows: idle 50 %, web 42.8 %, video 0 %',
      }),
      leastForMemory(evidence),
      fewerBytes(evidence),
      workKept(evidence),
      trafficInDowntime(evidence),
    ],
    tables: [figure4Table(evidence)],
    charts: [
      figure4(evidence, totalMs, { title: 'Figure 4 a, c: total time', unit: 's', divisor: 1000 }),
      figure4(evidence, downtimeMs, { title: 'Figure 4 b, d: downtime', unit: 'ms', divisor: 1 }),
      ...workloads.flatMap((workload) => overTimeCharts(evidence, workload)),
    ],
  };
}

/** `[without, with]` for each of the workloads; null where one is missing. */
function pairsOf(evidence: Evidence, of: CellFigure, names: readonly string[]): (number | null)[] {
  return names.flatMap((name) => [without, withDsm].map((mode) => figureOfCell(evidence, cellOf(name, mode), of)));
}

function paired(known: readonly number[]): (readonly [without: number, withDsm: number])[] {
  return Array.from({ length: known.length / 2 }, (_, n) => [known[2 * n]!, known[2 * n + 1]!] as const);
}

function changes(titles: readonly string[], pairs: readonly (readonly [number, number])[]): string {
  return pairs.map(([theirs, ours], n) => `${titles[n]}: ${changeText(ours, theirs)}`).join('; ');
}

function shorter(evidence: Evidence, of: CellFigure, claim: Pick<Claim, 'claim' | 'paper'>): Claim {
  const names = workloads.map(({ name }) => name);
  return judge(claim, pairsOf(evidence, of, names), (known) => {
    const pairs = paired(known);
    const here = changes(
      workloads.map(({ title }) => title),
      pairs,
    );
    return {
      here,
      holds: verdictOf(pairs.map(([a, b]) => isLess(b, a))),
      why: 'vmferry-dsm beside vmferry-precopy; so where it is less by more than 5 %',
    };
  });
}

function leastForMemory(evidence: Evidence): Claim {
  const claim = {
    claim: 'The workload that writes most gains the least downtime',
    paper: 'video: 10 % on Linux, nothing on Windows; all others more',
  };
  return judge(
    claim,
    pairsOf(
      evidence,
      downtimeMs,
      workloads.map(({ name }) => name),
    ),
    (known) => {
      const gains = paired(known).map(([theirs, ours]) => 1 - ours / theirs);
      const memory = gains[workloads.findIndex(({ name }) => name === 'mg')]!;
      const others = gains.filter((gain) => gain !== memory);
      const here = workloads.map(({ title }, n) => `${title} ${percentText(gains[n]!)}`).join('; ');
      return {
        here,
        holds: verdictOf(others.map((gain) => gain > memory)),
        why: 'so for each other workload that gains more than "memory"',
      };
    },
  );
}

/** The traffic of "network" itself is in its bytes, so it is left out. */
function fewerBytes(evidence: Evidence): Claim {
  const own = workloads.filter(({ name }) => name !== 'echo');
  const claim = { claim: 'DSM sends less data', paper: 'less in general; no figures' };
  const values = pairsOf(
    evidence,
    (sample) => sample.wireBytes,
    own.map(({ name }) => name),
  );
  return judge(claim, values, (known) => {
    const pairs = paired(known);
    const here = changes(
      own.map(({ title }) => title),
      pairs,
    );
    return {
      here,
      holds: verdictOf(pairs.map(([a, b]) => isLess(b, a))),
      why: 'so where it is less by more than 5 %; not of "network", whose bytes are its client\'s, too',
    };
  });
}

function workKept(evidence: Evidence): Claim {
  const own = workloads.filter(({ name }) => name === 'dhrystone' || name === 'mg');
  const claim = { claim: "DSM does not degrade the application's performance", paper: 'not degraded; no figures' };
  return judge(
    claim,
    pairsOf(
      evidence,
      workDuring,
      own.map(({ name }) => name),
    ),
    (known) => {
      const pairs = paired(known);
      const here = pairs
        .map(([a, b], n) => `${own[n]!.title}: ${percentText(b)} of its rate before, without DSM ${percentText(a)}`)
        .join('; ');
      const why = 'so where its rate of work during the move is not lower by more than 5 % of that before';
      return { here, holds: verdictOf(pairs.map(([a, b]) => b >= a - NOTICEABLE)), why };
    },
  );
}

/** Means of the traffic before the guest stops, and in the intervals that its stop touches. */
function trafficInDowntime(evidence: Evidence): Claim {
  const claim = {
    claim: 'In the downtime the traffic is increased',
    paper: 'held at 12 Mbit/s before, more in the downtime (figures 5 to 12)',
  };
  const found = workloads.map(({ name }) => {
    const sample = firstOf(evidence, cellOf(name, without));
    return sample === undefined ? null : ratesAround(sample);
  });
  if (found.some((each) => each === null))
    return unknownClaim(claim, 'a move of vmferry-precopy with its traffic over time is missing');
  const rates = found.flatMap((each) => each ?? []);
  return {
    ...claim,
    here: rates
      .map(
        ({ before, stopped }, n) => `${workloads[n]!.title}: ${before.toFixed(0)}, then ${stopped.toFixed(0)} Mbit/s`,
      )
      .join('; '),
    holds: verdictOf(rates.map(({ before, stopped }) => stopped > before * 1.1)),
    why: 'so where it is more by a tenth; vmferry-precopy takes what the link carries all the time, so there is little to increase',
  };
}

/** Mbit/s; null of a move without its course over time, or whose stages are not known. */
export function ratesAround({
  series,
  furtherMs,
}: Sample): { readonly before: number; readonly stopped: number } | null {
  const stages = ['preMigration', 'reservation', 'preCopy', 'stopAndCopy'].map((stage) => furtherMs[stage]);
  if (series === null || stages.some((ms) => ms == null)) return null;
  const [checks, reservation, preCopy, stop] = stages as [number, number, number, number];
  const fromMs = checks + reservation;
  const before = meanRate(series, fromMs, fromMs + preCopy);
  const stopped = meanRate(series, fromMs + preCopy, fromMs + preCopy + stop);
  return before === null || stopped === null ? null : { before, stopped };
}

/** Mbit/s over the intervals that touch a span, each by how much of it lies in there. */
function meanRate({ atMs, stepMs, wireBytes }: Series, fromMs: number, toMs: number): number | null {
  let [bytes, ms] = [0, 0];
  for (const [n, at] of atMs.entries()) {
    const inside = Math.min(at, toMs) - Math.max(at - stepMs[n]!, fromMs);
    if (inside <= 0) continue;
    bytes += (wireBytes[n]! * inside) / stepMs[n]!;
    ms += inside;
  }
  return ms === 0 ? null : bytes / MBIT / (ms / 1000);
}

/** What a chart shows, and what one of its unit is. */
type Axis = { readonly title: string; readonly unit: string; readonly divisor: number };

function figure4(evidence: Evidence, of: CellFigure, { title, unit, divisor }: Axis): PaperChart {
  return {
    kind: 'bars',
    options: {
      ...{ title, unit, categories: workloads.map((each) => each.title) },
      note: 'less is better; vmferry-precopy is "without DSM"; no bar: it does not end by itself',
      series: dsmModes.map((mode) => ({
        name: mode,
        color: colors[mode],
        values: workloads.map(({ name }) => {
          const value = figureOfCell(evidence, cellOf(name, mode), of);
          return value === null ? null : rounded(value / divisor);
        }),
      })),
    },
  };
}

function figure4Table(evidence: Evidence): PaperTable {
  const text = (name: string, mode: string): string => {
    const total = figureOrEndless(evidence, cellOf(name, mode), totalMs);
    if (total === null || total === Infinity) return timeOrEnd(total);
    const bytes = figureOfCell(evidence, cellOf(name, mode), (sample) => sample.wireBytes);
    const down = timeOrEnd(figureOfCell(evidence, cellOf(name, mode), downtimeMs));
    return `${timeOrEnd(total)} / ${down} / ${bytes === null ? '-' : formatBytes(bytes)}`;
  };
  return {
    title: 'Figure 4: total time / downtime / bytes on the wire',
    note: 'QEMU\'s pre-copy stands beside the two that are compared; bytes of "network" contain its client\'s',
    columns: ['workload', ...dsmModes],
    rows: workloads.map(({ name, title }) => [`${title} (${name})`, ...dsmModes.map((mode) => text(name, mode))]),
  };
}

/** Figures 5 to 12 of one workload: traffic, and processor time of the guest wherever it runs. */
function overTimeCharts(evidence: Evidence, { name, title }: (typeof workloads)[number]): PaperChart[] {
  const moves = dsmModes.flatMap((mode) => {
    const sample = firstOf(evidence, cellOf(name, mode));
    return sample?.series == null ? [] : [{ mode, series: sample.series, totalMs: sample.totalMs ?? 0 }];
  });
  if (moves.length === 0) return [];
  const own = moves.filter(({ mode }) => mode !== 'qemu-default');
  const untilS = Math.max(...(own.length > 0 ? own : moves).map((each) => each.totalMs)) / 1000 + AFTER_S;
  const note = `0: the request; it took ${moves.map((each) => `${each.mode} ${timeOrEnd(each.totalMs)}`).join(', ')}`;
  const chart = (
    what: string,
    unit: string,
    column: (series: Series) => readonly number[],
    of: number,
  ): PaperChart => ({
    kind: 'lines',
    options: {
      ...{ title: `Figures 5 to 12, ${title}: ${what}`, note, xName: 's', unit },
      series: moves.map(({ mode, series }) =>
        smoothLine(mode, colors[mode], overTime(series, column(series), of, untilS)),
      ),
    },
  });
  const guest = (series: Series): number[] => added(series.sourceVcpuMs, series.destinationVcpuMs);
  return [
    chart('traffic', 'Mbit/s', (series) => series.wireBytes, MBIT),
    chart('processor time of the guest', '%', guest, 10),
  ];
}
