/** What the SonicMigration paper claims, and what follows here. Pure. */
import { formatBytes } from '../../../core/model/units.ts';
import type { LineSeries } from '../chart.ts';
import type { GuestWork, Sample, WorkSeries } from '../samples.ts';
import type { Cell } from '../schedule.ts';
import {
  changeText,
  figureOfCell,
  figuresOfCell,
  figureOrEndless,
  firstOf,
  judge,
  partLess,
  verdictOf,
} from './evidence.ts';
import type { CellFigure } from './evidence.ts';
import {
  modeColor,
  oursColor,
  overTime,
  percentText,
  rounded,
  smoothLine,
  thirdColor,
  theirsColor,
  timeOrEnd,
} from './figures.ts';
import type { Claim, Evidence, Findings, PaperChart, PaperTable } from './paper.ts';

export const noiseCase = 'mail-pair';
export const userMemoryMb = [0, 500, 1000, 2000] as const;
/** The default migration, ours without pruning, ours with it. */
export const defaultMode = 'qemu-default';
export const unprunedMode = 'vmferry-auto:prune=none';
export const prunedMode = 'vmferry-auto';
export const sonicModes = [defaultMode, unprunedMode, prunedMode] as const;

/** Of throughputs: less is chance. */
const NOTICEABLE = 0.05;
/** "Almost the same". */
const ALIKE = 0.1;

const totalMs: CellFigure = (sample) => sample.totalMs;
const pagesSent: CellFigure = (sample) => sample.pagesSent;

export function sweepCase(mb: number): string {
  return `sonic-${mb}`;
}

function cellOf(name: string, mode: string): Cell {
  return { case: name, link: '1gbit', mode };
}

/** A rate of work as a part of that before the move. */
function workPart(of: 'work' | 'neighbourWork', when: 'during' | 'after'): CellFigure {
  return (sample) => {
    const work: GuestWork | null = sample[of];
    return work === null || work.before === 0 ? null : work[when] === null ? null : work[when] / work.before;
  };
}

export function sonicFindings(evidence: Evidence): Findings {
  return {
    claims: [
      neighbourSuffers(evidence),
      movedSuffers(evidence),
      neighbourRecovers(evidence),
      lessNoise(evidence),
      shorter(evidence),
      fewerPages(evidence),
      gainShrinks(evidence),
      lessProcessorTime(evidence),
    ],
    tables: [noiseTable(evidence), sweepTable(evidence)],
    charts: [
      ...sonicModes.flatMap((mode) => figure1And2(evidence, mode)),
      figure3(evidence, totalMs, { title: 'Figure 3 a: migration time by user memory', unit: 's', divisor: 1000 }),
      figure3(evidence, pagesSent, {
        title: 'Figure 3 b: pages transferred by user memory',
        unit: '1000 pages',
        divisor: 1000,
      }),
    ],
  };
}

function neighbourSuffers(evidence: Evidence): Claim {
  const claim = {
    claim: 'Migration noise: a live migration lowers the throughput of the guest that stays',
    paper: '30 % lower during the migration (figure 1 c)',
  };
  return lowered(evidence, 'neighbourWork', claim);
}

function movedSuffers(evidence: Evidence): Claim {
  const claim = { claim: 'The throughput of the guest that is moved is lower, too', paper: '30 % lower (figure 1 c)' };
  return lowered(evidence, 'work', claim);
}

/** A guest that is left alone does not always do the same: what it does after the moves says how much that is. */
function lowered(evidence: Evidence, of: 'work' | 'neighbourWork', claim: Pick<Claim, 'claim' | 'paper'>): Claim {
  const value = figureOfCell(evidence, cellOf(noiseCase, defaultMode), workPart(of, 'during'));
  const alone = sonicModes.flatMap((mode) => figuresOfCell(evidence, cellOf(noiseCase, mode), workPart(of, 'after')));
  const [least, most] = alone.length === 0 ? [null, null] : [Math.min(...alone), Math.max(...alone)];
  return judge(claim, [value, least, most], ([part, lowest, highest]) => ({
    here: `${percentText(part)} of its throughput before; when all is over, after ${alone.length} moves, ${percentText(lowest)} to ${percentText(highest)}`,
    holds: verdictOf([part < 1 - NOTICEABLE, part < lowest]),
    why: `with ${defaultMode}, the downtime of the guest that is moved included; so where it is lower by more than 5 %, and lower than after any of the moves`,
  }));
}

function neighbourRecovers(evidence: Evidence): Claim {
  const claim = {
    claim: 'After the migration the guest that stays does more than before it: it has the host for itself',
    paper: 'about 7,500 transactions/s before, 11,000 after (figure 1 b, c)',
  };
  const value = figureOfCell(evidence, cellOf(noiseCase, defaultMode), workPart('neighbourWork', 'after'));
  return judge(claim, [value], ([part]) => ({
    here: `${percentText(part)} of its throughput before`,
    holds: verdictOf([part > 1 + NOTICEABLE]),
    why: 'so where it is more by more than 5 %; both hosts are one machine here, and the guest that has left goes on using its processors',
  }));
}

/** What was lost altogether counts: a short migration disturbs for a short time. */
function lessNoise(evidence: Evidence): Claim {
  const claim = {
    claim: 'Pruning mitigates the noise',
    paper: 'the goal; shown by time and traffic, not by throughput',
  };
  const lost: CellFigure = (sample) => sample.neighbourWork?.lostMs;
  const values = sonicModes.map((mode) => figureOfCell(evidence, cellOf(noiseCase, mode), lost));
  return judge(claim, values, ([theirs, unpruned, pruned]) => ({
    here: `the guest that stays lost ${sonicModes.map((mode, n) => `${lostText([theirs, unpruned, pruned][n]!)} (${mode})`).join(', ')}`,
    holds: verdictOf([pruned! < theirs!, pruned! < unpruned!]),
    why: 'time lost for its work during the move; so where it is less than with QEMU, and than without pruning',
  }));
}

/** A guest that has done more than it would have has lost less than nothing. */
function lostText(ms: number): string {
  return ms < 0 ? `-${timeOrEnd(-ms)}` : timeOrEnd(ms);
}

function shorter(evidence: Evidence): Claim {
  const claim = { claim: 'With no user memory the migration time is much shorter', paper: '68.3 % shorter' };
  return atNoUserMemory(evidence, totalMs, claim, 0.683);
}

function fewerPages(evidence: Evidence): Claim {
  const claim = {
    claim: 'With no user memory far fewer pages are sent',
    paper: '83.9 % fewer (89.3 % less traffic in the Japanese abstract)',
  };
  return atNoUserMemory(evidence, pagesSent, claim, 0.839);
}

/** `yes` at nine tenths of the paper's gain. */
function atNoUserMemory(
  evidence: Evidence,
  of: CellFigure,
  claim: Pick<Claim, 'claim' | 'paper'>,
  papers: number,
): Claim {
  const values = sonicModes.map((mode) => figureOfCell(evidence, cellOf(sweepCase(0), mode), of));
  return judge(claim, values, ([theirs, unpruned, pruned]) => {
    const gain = partLess(pruned!, theirs!);
    return {
      here: `${changeText(pruned!, theirs!)} than QEMU's; ${changeText(pruned!, unpruned!)} than vmferry without pruning`,
      holds: gain >= 0.9 * papers ? 'yes' : gain > 0 ? 'partly' : 'no',
      why: "beside QEMU's; yes from nine tenths of the paper's value on",
    };
  });
}

function gainShrinks(evidence: Evidence): Claim {
  const claim = {
    claim: 'The more user memory, the less is gained; with 2000 MB of it there is no difference',
    paper: '2000 MB: "almost the same" time and traffic',
  };
  const values = userMemoryMb.flatMap((mb) =>
    [unprunedMode, prunedMode].map((mode) => figureOfCell(evidence, cellOf(sweepCase(mb), mode), pagesSent)),
  );
  return judge(claim, values, (known) => {
    const gains = userMemoryMb.map((_, n) => partLess(known[2 * n + 1]!, known[2 * n]!));
    const here = userMemoryMb.map((mb, n) => `${mb} MB: ${percentText(gains[n]!)} fewer pages`).join('; ');
    const isFalling = gains.slice(1).every((gain, n) => gain < gains[n]!);
    const holds = verdictOf([isFalling, Math.abs(gains.at(-1)!) <= ALIKE]);
    const why =
      "with and without pruning; so where the gain falls with each step, and is within 10 % at the last. The guest has 3 GiB, so its file cache is still there at 2000 MB: in the paper's there is no room for it";
    return { here, holds, why };
  });
}

function lessProcessorTime(evidence: Evidence): Claim {
  const claim = {
    claim: 'Pruning takes less processor time of both hosts',
    paper: 'expected: "consumes less CPU time on the source and destination"',
  };
  const cpu: CellFigure = (sample) => sample.cpu && moving(sample.cpu.source) + moving(sample.cpu.destination);
  const values = sonicModes.map((mode) => figureOfCell(evidence, cellOf(sweepCase(0), mode), cpu));
  return judge(claim, values, ([theirs, unpruned, pruned]) => ({
    here: `no user memory: ${[theirs, unpruned, pruned].map((ms, n) => `${timeOrEnd(ms!)} (${sonicModes[n]})`).join(', ')}`,
    holds: verdictOf([pruned! < theirs!, pruned! < unpruned!]),
    why: "QEMU without its virtual processors, and agents; so where it is less than QEMU's, and than without pruning",
  }));
}

function moving({ agentMs, qemuMs }: { readonly agentMs: number; readonly qemuMs: number }): number {
  return agentMs + qemuMs;
}

/** Throughput of both guests, and processor time of both, over time; the move is a band. */
function figure1And2(evidence: Evidence, mode: string): PaperChart[] {
  const sample = firstOf(evidence, cellOf(noiseCase, mode));
  const series = sample?.series;
  if (sample === undefined || series == null) return [];
  const toS = (sample.totalMs ?? 0) / 1000;
  const bands = [{ name: 'migration', from: 0, to: toS }];
  const untilS = Infinity;
  const throughput: LineSeries[] = [
    ...workLine('stays', theirsColor, series.neighbourWork),
    ...workLine('is moved', oursColor, series.work),
  ];
  const use = (name: string, color: string, column: readonly number[]): LineSeries =>
    smoothLine(name, color, overTime(series, column, 10, untilS));
  return [
    {
      kind: 'lines',
      options: {
        title: `Figure 1, ${mode}: throughput`,
        note: 'transactions of both mail servers; lines once a second',
        ...{ xName: 's since the request', unit: '1/s', series: throughput, bands },
      },
    },
    {
      kind: 'lines',
      options: {
        title: `Figure 2, ${mode}: use of processors`,
        note: 'by both guests, of one processor; what the move itself takes is in the table',
        ...{ xName: 's since the request', unit: '%', bands },
        series: [
          use('stays', theirsColor, series.neighbourVcpuMs),
          use('is moved, at the source', oursColor, series.sourceVcpuMs),
          use('at the destination', thirdColor, series.destinationVcpuMs),
        ],
      },
    },
  ];
}

function workLine(name: string, color: string, work: WorkSeries | null): LineSeries[] {
  if (work === null) return [];
  return [{ name, color, points: work.atMs.map((at, n) => [rounded(at / 1000), work.perS[n]!] as const) }];
}

/** What a chart shows, and what one of its unit is. */
type Axis = { readonly title: string; readonly unit: string; readonly divisor: number };

function figure3(evidence: Evidence, of: CellFigure, { title, unit, divisor }: Axis): PaperChart {
  return {
    kind: 'lines',
    options: {
      ...{ title, unit, xName: 'MB of user memory', note: 'less is better' },
      series: sonicModes.map((mode) => ({
        name: mode,
        color: modeColor(mode, sonicModes),
        points: userMemoryMb.flatMap((mb) => {
          const value = figureOfCell(evidence, cellOf(sweepCase(mb), mode), of);
          return value === null ? [] : [[mb, rounded(value / divisor)] as const];
        }),
      })),
    },
  };
}

function noiseTable(evidence: Evidence): PaperTable {
  const part = (mode: string, of: CellFigure): string => {
    const value = figureOfCell(evidence, cellOf(noiseCase, mode), of);
    return value === null ? '-' : percentText(value);
  };
  const time = (mode: string, of: CellFigure): string =>
    timeOrEnd(figureOrEndless(evidence, cellOf(noiseCase, mode), of));
  const cpu = (of: 'source' | 'destination') => (sample: Sample) => sample.cpu && moving(sample.cpu[of]);
  return {
    title: 'Figures 1 and 2: what the move of one mail server takes from the other',
    note: 'throughput as a part of that before the move; "cpu": processor time of moving',
    columns: [
      'mode',
      'total',
      'downtime',
      'stays: during',
      'after',
      'is moved: during',
      'after',
      'cpu: source',
      'destination',
    ],
    rows: sonicModes.map((mode) => [
      mode,
      ...[time(mode, totalMs), time(mode, (sample) => sample.downtimeMs)],
      ...[part(mode, workPart('neighbourWork', 'during')), part(mode, workPart('neighbourWork', 'after'))],
      ...[part(mode, workPart('work', 'during')), part(mode, workPart('work', 'after'))],
      ...[time(mode, cpu('source')), time(mode, cpu('destination'))],
    ]),
  };
}

function sweepTable(evidence: Evidence): PaperTable {
  const text = (mb: number, mode: string): string => {
    const cell = cellOf(sweepCase(mb), mode);
    const total = figureOrEndless(evidence, cell, totalMs);
    const pages = figureOfCell(evidence, cell, pagesSent);
    const bytes = figureOfCell(evidence, cell, (sample) => sample.wireBytes);
    return bytes === null ? timeOrEnd(total) : `${timeOrEnd(total)} / ${pages ?? '-'} / ${formatBytes(bytes)}`;
  };
  return {
    title: 'Figure 3: migration time / pages sent / bytes on the wire, by user memory',
    note: 'pages that are zero are not counted',
    columns: ['user memory', ...sonicModes],
    rows: userMemoryMb.map((mb) => [`${mb} MB`, ...sonicModes.map((mode) => text(mb, mode))]),
  };
}
