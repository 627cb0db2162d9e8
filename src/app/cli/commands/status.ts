/** `vmferry status|cancel|history|show`: what happens on a host, and what happened. */
import type { MigrationReport, MigrationView } from '../../../core/model/migration.ts';
import type { HostView } from '../../../core/model/vm.ts';
import { formatBytes, formatMs } from '../../../core/model/units.ts';
import { printResult, withAgent } from '../console.ts';
import type { CommonOptions, Console } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { percentOf, stageText } from '../migration-words.ts';
import { renderPlain } from '../progress.ts';
import { renderReport } from '../summary.ts';
import { formatTable } from '../table.ts';

export async function showStatus(options: CommonOptions, console: Console): Promise<ExitCode> {
  const found = await withAgent(console, options, async (client) => ({
    host: await client.call('host', {}),
    migrations: (await client.call('listMigrations', {})).migrations,
  }));
  const lines = (): string[] => [...migrationTable(found.migrations), ...reasonLines(found.migrations)];
  printResult(console, options, found, () => [...hostLines(found.host), '', ...lines()]);
  return exitCodes.completed;
}

export async function cancelMigration(id: string, options: CommonOptions, console: Console): Promise<ExitCode> {
  const result = await withAgent(console, options, (client) => client.call('cancelMigration', { params: { id } }));
  printResult(console, options, result, () => [cancelText(result.accepted, result.view)]);
  return result.accepted ? exitCodes.completed : exitCodes.refused;
}

/** A person's word about a migration in doubt, for the host whose agent is asked. */
export async function resolveMigration(
  id: string,
  word: 'run' | 'discard',
  options: CommonOptions,
  console: Console,
): Promise<ExitCode> {
  const result = await withAgent(console, options, (client) =>
    client.call('resolveMigration', { params: { id }, body: { word } }),
  );
  printResult(console, options, result, () => [
    word === 'run'
      ? `Decided: the guest of migration ${id} runs at this host. See "vmferry vm list".`
      : `Decided: what this host has of migration ${id} is discarded. See "vmferry vm list".`,
  ]);
  return exitCodes.completed;
}

export type HistoryOptions = CommonOptions & { readonly limit?: number; readonly vm?: string };

export async function showHistory(options: HistoryOptions, console: Console): Promise<ExitCode> {
  const query = {
    ...(options.limit !== undefined && { limit: options.limit }),
    ...(options.vm !== undefined && { vm: options.vm }),
  };
  const { reports } = await withAgent(console, options, (client) => client.call('history', { query }));
  printResult(console, options, { reports }, () => historyTable(reports));
  return exitCodes.completed;
}

export type ShowOptions = CommonOptions & { readonly pages?: boolean };

export async function showMigration(id: string, options: ShowOptions, console: Console): Promise<ExitCode> {
  const { view, report } = await withAgent(console, options, (client) =>
    client.call('showMigration', { params: { id } }),
  );
  if (options.pages === true && report === null) {
    printResult(console, options, view, () => [renderPlain(view), ...reasonLines([view]), '', ...directoryTable(view)]);
    return exitCodes.completed;
  }
  printResult(console, options, report ?? view, () =>
    report === null ? [renderPlain(view), ...reasonLines([view])] : renderReport(report),
  );
  return exitCodes.completed;
}

/** What a person has to know of a migration that goes on: whom a guest waits for, and what may be done. */
function reasonLines(views: readonly MigrationView[]): string[] {
  return views.flatMap(({ id, vm, reason }) => (reason === null ? [] : ['', `${id}, VM "${vm}": ${reason}.`]));
}

export function hostLines(host: HostView): string[] {
  const { memoryBytes: memory, vcpus } = host;
  const rows = [
    ['host', `${host.name}, vmferry ${host.version}, QEMU ${host.qemuVersion ?? 'not usable'}`],
    [
      'memory',
      `${formatBytes(memory.used)} used, ${formatBytes(memory.reserved)} reserved of ${formatBytes(memory.capacity)}`,
    ],
    ['vCPUs', `${vcpus.used} used, ${vcpus.reserved} reserved of ${vcpus.capacity}`],
    ['VMs', String(host.vms)],
    ['peers', host.peers.length === 0 ? 'none' : host.peers.join(', ')],
  ];
  return formatTable(['', ''], rows, 'll').slice(1);
}

export function migrationTable(views: readonly MigrationView[]): string[] {
  if (views.length === 0) return ['No migrations in progress.'];
  return formatTable(
    ['ID', 'VM', 'DESTINATION', 'STAGE', 'DONE', 'TIME', 'TO GO'],
    views.map((view) => [
      view.id,
      view.vm,
      view.destination,
      stageText(view),
      `${percentOf(view)} %`,
      formatMs(view.elapsedMs),
      view.timeToGoMs === null ? '-' : formatMs(view.timeToGoMs),
    ]),
    'llllrrr',
  );
}

export function historyTable(reports: readonly MigrationReport[]): string[] {
  if (reports.length === 0) return ['No migrations yet.'];
  return formatTable(
    ['ID', 'VM', 'FROM', 'TO', 'OUTCOME', 'TOTAL', 'DOWNTIME', 'WIRE', 'GUEST'],
    reports.map((report) => [
      report.id,
      report.vm,
      report.source,
      report.destination,
      report.outcome,
      formatMs(report.totalMs),
      report.downtimeMs === null ? '-' : formatMs(report.downtimeMs),
      formatBytes(report.bytes.wire),
      report.guest,
    ]),
    'lllllrrrl',
  );
}

/** Which host has the newest copy of how many pages, and why. */
export function directoryTable({ directory, source, destination }: MigrationView): string[] {
  if (directory === null) return ['No page has been looked at yet.'];
  const { unnamed, pending, withheld, spared, missing, inFlight, placed, zero } = directory;
  const rows: [state: string, owner: string, pages: number][] = [
    ['not looked at yet', source, unnamed],
    ['to be sent', source, pending],
    ['withheld: written too often', source, withheld],
    ['left out: not needed by the guest', 'nobody', spared],
    ['missing: the guest pulls it', source, missing],
    ['on the way', source, inFlight],
    ['placed', destination, placed],
    ['zero, never sent', destination, zero],
  ];
  return formatTable(
    ['STATE', 'OWNER', 'PAGES'],
    rows.map(([state, owner, pages]) => [state, owner, String(pages)]),
    'llr',
  );
}

function cancelText(accepted: boolean, view: MigrationView): string {
  if (accepted)
    return `Migration ${view.id} of VM "${view.vm}" is being aborted; the guest goes on at host ${view.source}.`;
  if (view.stage === 'ended') return `Migration ${view.id} of VM "${view.vm}" has ended already (${view.outcome}).`;
  return `Migration ${view.id} of VM "${view.vm}" is committed and cannot be aborted; it is being finished.`;
}
