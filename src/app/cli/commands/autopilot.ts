/** `vmferry autopilot`: on, off, what it does, what it decided, and what it would decide now. */
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  AutopilotLogEntry,
  AutopilotRound,
  AutopilotStatus,
  FleetHostStatus,
  LoggedMove,
} from '../../../core/model/autopilot.ts';
import { formatMs } from '../../../core/model/units.ts';
import { printResult, withAgent } from '../console.ts';
import type { CommonOptions, Console } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { formatTable } from '../table.ts';

/** Options that are settings, and what the agent calls them. */
const settingNames = {
  goal: 'goal',
  threshold: 'thresholdShare',
  low: 'lowShare',
  memory: 'memoryShare',
  sustain: 'sustainMs',
  atATime: 'movesAtATime',
  vmCooldown: 'vmCooldownMs',
  hostCooldown: 'hostCooldownMs',
  returnAfter: 'returnMs',
  downtimePerHour: 'downtimeMsPerHour',
  bytesPerHour: 'bytesPerHour',
  minRelief: 'reliefShareMin',
  maxRelief: 'reliefMsMax',
  balanceMargin: 'balanceMargin',
  emptyBelow: 'emptyBelowShare',
  maxAge: 'figuresAgeMsMax',
  halfLife: 'halfLifeMs',
  measure: 'measureMs',
  round: 'roundMs',
  lease: 'leaseMs',
} as const;
type SettingOptions = { readonly [Name in keyof typeof settingNames]?: number | string };

export type AutopilotOptions = CommonOptions & SettingOptions & { readonly dryRun?: boolean };
export type LogOptions = CommonOptions & { readonly follow?: boolean; readonly limit?: number };

/** Guests are looked at before the answer comes. */
const ROUND_TIMEOUT_MS = 600_000;
const FOLLOW_MS = 1_000;
const PAGE = 500;

/** Those that were given, as a request has them. */
export function settingsOf(options: SettingOptions): Record<string, number | string> {
  const named = Object.entries(settingNames) as [keyof typeof settingNames, string][];
  return Object.fromEntries(
    named.flatMap(([option, name]) => (options[option] === undefined ? [] : [[name, options[option]]])),
  );
}

export async function turnAutopilotOn(options: AutopilotOptions, console: Console): Promise<ExitCode> {
  const body = { dryRun: options.dryRun === true, settings: settingsOf(options) };
  const status = await withAgent(console, options, (client) => client.call('autopilotOn', { body }));
  printResult(console, options, status, () => [
    `The autopilot of ${status.host} is on${body.dryRun ? ' for a dry run: it moves nothing' : ''}.`,
    'See "vmferry autopilot" for what it does, "vmferry autopilot log --follow" for what it decides.',
  ]);
  return exitCodes.completed;
}

export async function turnAutopilotOff(options: CommonOptions, console: Console): Promise<ExitCode> {
  const status = await withAgent(console, options, (client) => client.call('autopilotOff', {}));
  printResult(console, options, status, () => [
    status.because,
    ...status.moves.map(({ vm, to }) => `${vm} is still moving to ${to}.`),
  ]);
  return exitCodes.completed;
}

export async function showAutopilot(options: CommonOptions, console: Console): Promise<ExitCode> {
  const status = await withAgent(console, options, (client) => client.call('autopilotStatus', {}));
  printResult(console, options, status, () => statusLines(status, Date.now()));
  return exitCodes.completed;
}

export async function dryRun(options: AutopilotOptions, console: Console): Promise<ExitCode> {
  const body = { settings: settingsOf(options) };
  const call = { timeoutMs: ROUND_TIMEOUT_MS };
  const round = await withAgent(console, options, (client) => client.call('autopilotRound', { body }, call));
  printResult(console, options, round, () => roundLines(round));
  return exitCodes.completed;
}

export async function showAutopilotLog(options: LogOptions, console: Console): Promise<ExitCode> {
  const { follow = false, json = false, limit } = options;
  return await withAgent(console, options, async (client) => {
    const query = limit === undefined ? {} : { limit };
    const { entries } = await client.call('autopilotLog', { query });
    if (!follow) {
      printResult(console, options, { entries }, () =>
        entries.length === 0 ? ['Nothing has been decided yet.'] : entries.flatMap(entryLines),
      );
      return exitCodes.completed;
    }
    const left = new AbortController();
    const off = console.onInterrupt(() => left.abort());
    const print = (entry: AutopilotLogEntry): void =>
      json ? console.print(JSON.stringify(entry)) : entryLines(entry).forEach((line) => console.print(line));
    entries.forEach(print);
    try {
      for (let after = entries.at(-1)?.sequence ?? 0; !left.signal.aborted;) {
        await sleep(FOLLOW_MS, undefined, { signal: left.signal }).catch(() => undefined);
        const more = (await client.call('autopilotLog', { query: { after, limit: PAGE } })).entries;
        more.forEach(print);
        after = more.at(-1)?.sequence ?? after;
      }
    } finally {
      off();
    }
    return exitCodes.completed;
  });
}

export function statusLines(status: AutopilotStatus, nowMs: number): string[] {
  const { state, because, settings, hosts, moves, rounds, lastRoundAtMs } = status;
  if (state === 'off') return [because, ...moves.map((move) => moveLine(move))];
  const share = (name: string): string => percentOf(Number(settings[name]));
  const last = lastRoundAtMs === null ? 'none yet' : `the last ${formatMs(Math.max(0, nowMs - lastRoundAtMs))} ago`;
  return [
    because,
    `Goal ${settings['goal']}: from ${share('thresholdShare')} of CPU until ${share('lowShare')}, after ${formatMs(Number(settings['sustainMs']))}. Rounds: ${rounds}, ${last}.`,
    '',
    ...hostTable(hosts),
    '',
    ...hosts.flatMap(({ sentence, name, problem }) => {
      if (sentence !== null) return [sentence];
      return problem === null ? [] : [`Host ${name}: ${problem}`];
    }),
    ...moves.map((move) => moveLine(move)),
  ];
}

function hostTable(hosts: readonly FleetHostStatus[]): string[] {
  return formatTable(
    ['HOST', 'OBEYS NOW', 'ORDERS', 'CPU', 'MEMORY', 'VMS', 'FIGURES'],
    hosts.map((host) => [
      host.name + (host.draining ? ' (draining)' : ''),
      host.lease === 'silent' ? 'silent' : (host.holder ?? 'nobody'),
      host.obeys ? 'yes' : 'no',
      host.cpuShare === null ? '-' : percentOf(host.cpuShare),
      host.memoryShare === null ? '-' : percentOf(host.memoryShare),
      host.vms === null ? '-' : String(host.vms),
      host.figuresAgeMs === null ? '-' : `${formatMs(host.figuresAgeMs)} old`,
    ]),
    'lllrrrr',
  );
}

function moveLine({ vm, from, to, predicted }: LoggedMove): string {
  return `${vm} is moving from ${from} to ${to}, for about ${formatMs(predicted.totalMs)}.`;
}

function roundLines({ notes, decisions }: AutopilotRound): string[] {
  const moves = decisions.filter(({ kind }) => kind === 'move').length;
  return [
    ...notes,
    ...decisions.flatMap(({ sentence, details }) => [sentence, ...details.map((detail) => `  - ${detail}`)]),
    moves === 0 ? 'Nothing would be moved.' : `${moves} ${moves === 1 ? 'VM' : 'VMs'} would be moved. Nothing was.`,
  ];
}

/** "2026-11-22 00:12:03  Nothing is moved from a: ... (12 times, until 00:13:03)" */
export function entryLines({ atMs, lastAtMs, times, sentence, dryRun: isDry, details }: AutopilotLogEntry): string[] {
  const again = times === 1 ? '' : ` (${times} times, until ${timeOf(lastAtMs).slice(11)})`;
  return [
    `${timeOf(atMs)}  ${isDry ? 'dry run: ' : ''}${sentence}${again}`,
    ...details.map((detail) => `${' '.repeat(21)}- ${detail}`),
  ];
}

/** UTC, as in the logs. */
function timeOf(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').slice(0, 19);
}

function percentOf(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
