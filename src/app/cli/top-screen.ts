/**
 * The screen of `vmferry top`, as lines: same view, same size, same lines. No line is wider than the screen: columns that do
 * not fit are left out, the least important first.
 *
 *     vmferry top  host-a                                            b 0.4 ms, 940 Mbit/s   14:03:22
 *     CPU  [|||||||||||||||||||||               ]  1.32 of 2.00 cores   66 %   ▁▂▃▅▇▇▆▅
 *     Mem  [|||||||                             ]  3.1 GiB of 8.0 GiB   39 %
 *     Net  in 12 Mbit/s, out 1.2 Mbit/s   Disk  read 0 B/s, written 1.2 MiB/s
 *
 *     VM    STATE      CPU  LAST MINUTE ...
 */
import type { MigrationView } from '../../core/model/migration.ts';
import { formatBytes, formatRate } from '../../core/model/units.ts';
import type { DirtyClass, HostTelemetry, PeerTelemetry, VmTelemetry } from '../../core/model/telemetry.ts';
import { renderProgress } from './progress.ts';
import { sparkline } from './sparkline.ts';
import { cut, span, spread, type Line, type Style } from './spans.ts';

const BAR_CHARS_MAX = 50;
const BAR_CHARS_MIN = 8;
/** Of a curve, on a wide screen and on a narrow one. */
const SPARK_CHARS = 30;
const SPARK_CHARS_NARROW = 20;
const NARROW_COLUMNS = 100;
/** The autopilot's mark, and where nothing is left. */
const WARM = 0.65;
const HOT = 0.9;
/** A look older than this says that the agent is busy, or hangs. */
const STALE_MS = 3_000;

export type TopView = {
  readonly telemetry: HostTelemetry;
  readonly migrations: readonly MigrationView[];
  /** Processors used in the last minute, oldest first: of the host, and of each VM by name. */
  readonly hostSeries: readonly (number | null)[];
  readonly vmSeries: ReadonlyMap<string, readonly (number | null)[]>;
  /** Why there is nothing newer; null when all is well. */
  readonly trouble: string | null;
};

/** `rows` null: as many lines as it takes. */
export function renderTop(view: TopView, columns: number, rows: number | null): Line[] {
  const head = [...headLines(view, columns), []];
  const moves = migrationLines(view.migrations, columns);
  const room = rows === null ? Infinity : Math.max(2, rows - head.length - moves.length);
  const vms = vmLines({ ...view, curveChars: columns < NARROW_COLUMNS ? SPARK_CHARS_NARROW : SPARK_CHARS }, columns);
  const hidden = vms.length - room;
  const shown = hidden > 0 ? [...vms.slice(0, room - 1), [span(`and ${hidden + 1} more`, 'faint')]] : vms;
  const lines = [...head, ...shown, ...moves].map((line) => cut(line, columns));
  return rows === null ? lines : lines.slice(0, rows);
}

function headLines({ telemetry, hostSeries, trouble }: TopView, columns: number): Line[] {
  const { cpu, memory, network, disk } = telemetry;
  const usedBytes = memory.totalBytes - memory.availableBytes;
  const of = `${formatBytes(usedBytes)} of ${formatBytes(memory.totalBytes)}`;
  const cores = `${coresText(cpu.usedCores)} of ${cpu.cores.toFixed(2)} cores`;
  const textChars = Math.max(of.length, cores.length);
  const spark = sparkline(hostSeries, SPARK_CHARS, cpu.cores);
  const bars: Line[] = [
    [
      ...gauge('CPU', { part: cpu.usedCores, all: cpu.cores }, cores.padEnd(textChars), columns),
      span(`  ${spark}`, 'good'),
    ],
    gauge('Mem', { part: usedBytes, all: memory.totalBytes }, of.padEnd(textChars), columns),
  ];
  const traffic = `in ${rateText(network.receivedBytesPerS)}, out ${rateText(network.sentBytesPerS)}`;
  const storage = `read ${bytesText(disk.readBytesPerS)}, written ${bytesText(disk.writtenBytesPerS)}`;
  const flow: Line = [span('Net  ', 'bold'), span(traffic), span('   Disk  ', 'bold'), span(storage)];
  return [titleLine(telemetry, columns), ...bars, flow, ...troubleLine(telemetry, trouble)];
}

function titleLine({ host, atMs, peers, vms }: HostTelemetry, columns: number): Line {
  const left = [
    span('vmferry top  ', 'faint'),
    span(host, 'bold'),
    span(`  ${vms.length} ${vms.length === 1 ? 'VM' : 'VMs'}`),
  ];
  const clock = span(new Date(atMs).toISOString().slice(11, 19) + ' UTC', 'faint');
  const others = peers.flatMap((peer) => [...peerSpans(peer), span('   ')]);
  const whole = spread(left, [...others, clock], columns);
  return whole.some((piece) => piece === clock) ? whole : spread(left, [clock], columns);
}

function peerSpans({ name, reachable, roundTripMs, linkBytesPerS }: PeerTelemetry): Line {
  if (!reachable) return [span(`${name} `), span('not reachable', 'hot')];
  const facts = [
    roundTripMs === null ? null : `${roundTripMs.toFixed(1)} ms`,
    linkBytesPerS && formatRate(linkBytesPerS),
  ];
  return [span(`${name} `), span(facts.filter((fact) => fact !== null && fact !== 0).join(', '), 'good')];
}

function troubleLine({ ageMs }: HostTelemetry, trouble: string | null): Line[] {
  if (trouble !== null) return [[span(trouble, 'hot')]];
  return ageMs > STALE_MS ? [[span(`The last look is ${Math.round(ageMs / 1000)} s old.`, 'warm')]] : [];
}

function gauge(
  name: string,
  { part, all }: { readonly part: number | null; readonly all: number },
  text: string,
  columns: number,
): Line {
  const share = part === null || all <= 0 ? 0 : Math.min(1, Math.max(0, part / all));
  const percent = part === null ? '   -  ' : `${String(Math.round((part / all) * 100)).padStart(4)} %`;
  const tail = `  ${text}${percent}`;
  const chars = Math.min(BAR_CHARS_MAX, columns - tail.length - SPARK_CHARS - 9);
  const bar: Line = chars < BAR_CHARS_MIN ? [] : barSpans(share, chars);
  return [span(`${name}  `, 'bold'), ...bar, span(tail)];
}

function barSpans(share: number, chars: number): Line {
  const full = Math.round(share * chars);
  return [span('['), span('|'.repeat(full), heatOf(share)), span(' '.repeat(chars - full)), span(']')];
}

function heatOf(share: number): Style {
  if (share < WARM) return 'good';
  return share < HOT ? 'warm' : 'hot';
}

type VmView = TopView & { readonly curveChars: number };

type Column = {
  readonly title: string;
  readonly align: 'l' | 'r';
  /** Of those that do not fit the ones with the largest number go first. */
  readonly rank: number;
  readonly cell: (vm: VmTelemetry, view: VmView) => string;
  readonly style?: (vm: VmTelemetry, view: VmView) => Style;
};

const dirtyStyle: Readonly<Record<DirtyClass, Style>> = { idle: 'faint', low: 'plain', medium: 'warm', high: 'hot' };

const columnsOfVm: readonly Column[] = [
  { title: 'VM', align: 'l', rank: 0, cell: (vm) => vm.name, style: () => 'bold' },
  { title: 'STATE', align: 'l', rank: 3, cell: (vm) => vm.state, style: (vm) => stateStyle(vm) },
  {
    title: 'CPU',
    align: 'r',
    rank: 1,
    cell: (vm) => coresText(vm.guestCores),
    style: (vm, view) => cpuStyle(vm, view),
  },
  {
    title: 'LAST MINUTE',
    align: 'l',
    rank: 5,
    cell: (vm, { vmSeries, curveChars }) => sparkline(vmSeries.get(vm.name) ?? [], curveChars, vm.capCores ?? vm.vcpus),
    style: () => 'good',
  },
  { title: 'OVERHEAD', align: 'r', rank: 9, cell: (vm) => coresText(vm.overheadCores) },
  { title: 'VCPUS', align: 'r', rank: 7, cell: (vm) => String(vm.vcpus) },
  { title: 'OF CAP', align: 'r', rank: 10, cell: (vm) => percentText(allCores(vm), vm.capCores) },
  { title: 'OF HOST', align: 'r', rank: 6, cell: (vm, view) => percentText(allCores(vm), view.telemetry.cpu.cores) },
  { title: 'MEMORY', align: 'r', rank: 2, cell: (vm) => formatBytes(vm.memory.residentBytes) },
  { title: 'ASSIGNED', align: 'r', rank: 8, cell: (vm) => formatBytes(vm.memory.assignedBytes) },
  {
    title: 'USED',
    align: 'r',
    rank: 11,
    cell: ({ memory }) => (memory.usedBytes === null ? '-' : formatBytes(memory.usedBytes)),
  },
  {
    title: 'WRITES',
    align: 'l',
    rank: 4,
    cell: (vm) => (vm.dirty === null ? '-' : `${vm.dirty.padEnd(6)} ${bytesText(vm.dirtyBytesPerS).padStart(10)}`),
    style: (vm) => (vm.dirty === null ? 'faint' : dirtyStyle[vm.dirty]),
  },
  { title: 'NET IN', align: 'r', rank: 12, cell: (vm) => rateText(vm.network.receivedBytesPerS) },
  { title: 'NET OUT', align: 'r', rank: 13, cell: (vm) => rateText(vm.network.sentBytesPerS) },
  { title: 'DISK READ', align: 'r', rank: 14, cell: (vm) => bytesText(vm.disk.readBytesPerS) },
  { title: 'WRITTEN', align: 'r', rank: 15, cell: (vm) => bytesText(vm.disk.writtenBytesPerS) },
];

function vmLines(view: VmView, columns: number): Line[] {
  const vms = [...view.telemetry.vms].sort(
    (a, b) => (allCores(b) ?? -1) - (allCores(a) ?? -1) || a.name.localeCompare(b.name),
  );
  if (vms.length === 0) return [[span('No VMs.', 'faint')]];
  const cells = new Map(columnsOfVm.map((column) => [column, vms.map((vm) => column.cell(vm, view))]));
  const widthOfColumn = (column: Column): number =>
    Math.max(column.title.length, ...cells.get(column)!.map((cell) => cell.length));
  const shown = fitting(widthOfColumn, columns);
  const padded = (column: Column, text: string): string =>
    column.align === 'r' ? text.padStart(widthOfColumn(column)) : text.padEnd(widthOfColumn(column));
  const titles = shown.map((column) => padded(column, column.title)).join('  ');
  const rows = vms.map((vm, row): Line =>
    shown.flatMap((column, index) => [
      span(index === 0 ? '' : '  '),
      span(padded(column, cells.get(column)![row]!), column.style?.(vm, view) ?? 'plain'),
    ]),
  );
  return [[span(titles.padEnd(columns), 'bar')], ...rows];
}

/** In the order of the table. The first two always stay, and are cut where even they do not fit. */
function fitting(widthOfColumn: (column: Column) => number, columns: number): readonly Column[] {
  const kept = columnsOfVm.toSorted((a, b) => a.rank - b.rank);
  const width = (): number => kept.reduce((sum, column) => sum + widthOfColumn(column) + 2, -2);
  while (kept.length > 2 && width() > columns) kept.pop();
  return columnsOfVm.filter((column) => kept.includes(column));
}

function migrationLines(migrations: readonly MigrationView[], columns: number): Line[] {
  return migrations.flatMap((view) => [[], ...renderProgress(view, columns).map((line): Line => [span(line)])]);
}

function allCores({ guestCores, overheadCores }: VmTelemetry): number | null {
  return guestCores === null ? null : guestCores + (overheadCores ?? 0);
}

function cpuStyle(vm: VmTelemetry, { telemetry }: TopView): Style {
  return vm.guestCores === null
    ? 'faint'
    : heatOf(vm.guestCores / Math.min(vm.capCores ?? vm.vcpus, telemetry.cpu.cores));
}

function stateStyle({ state }: VmTelemetry): Style {
  if (state === 'running') return 'good';
  return state === 'migrating' || state === 'incoming' ? 'warm' : 'faint';
}

const coresText = (cores: number | null): string => (cores === null ? '-' : cores.toFixed(2));
const percentText = (part: number | null, all: number | null): string =>
  part === null || all === null ? '-' : `${Math.round((part / all) * 100)} %`;
const rateText = (bytesPerS: number | null): string => (bytesPerS === null ? '-' : formatRate(bytesPerS));
const bytesText = (bytesPerS: number | null): string => (bytesPerS === null ? '-' : `${formatBytes(bytesPerS)}/s`);
