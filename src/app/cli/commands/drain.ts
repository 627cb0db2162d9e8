/** `vmferry drain HOST` and `undrain HOST`: follows the moves, and ends with a line per VM. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentClient } from '../../client/agent-client.ts';
import type { DrainLineView, DrainView } from '../../../core/model/autopilot.ts';
import { withAgent, printResult } from '../console.ts';
import type { CommonOptions, Console } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { settingsOf } from './autopilot.ts';

export type DrainOptions = CommonOptions & {
  readonly dryRun?: boolean;
  readonly atATime?: number;
  readonly threshold?: number;
  readonly memory?: number;
};

const POLL_MS = 500;

/** 0 only when the host is empty in the end; a plan: when it would be. */
export async function drain(host: string, options: DrainOptions, console: Console): Promise<ExitCode> {
  const { dryRun = false } = options;
  return await withAgent(console, options, async (client) => {
    const body = { host, dryRun, settings: drainSettings(options) };
    const begun = await client.call('drain', { body });
    if (dryRun) {
      printResult(console, options, begun, () => [...begun.lines.map(({ sentence }) => sentence), planEnd(begun)]);
      return begun.lines.every(({ state }) => state !== 'stays') ? exitCodes.completed : exitCodes.refused;
    }
    const end = await follow(client, begun, console);
    if (end === null) {
      console.remark(
        `Host ${host} goes on being drained; see "vmferry drain ${host}" for it, end it with "vmferry undrain ${host}".`,
      );
      return exitCodes.interrupted;
    }
    printResult(console, options, end, () => endLines(end));
    return end.empty ? exitCodes.completed : exitCodes.refused;
  });
}

export async function undrain(host: string, options: CommonOptions, console: Console): Promise<ExitCode> {
  const view = await withAgent(console, options, (client) => client.call('undrain', { body: { host } }));
  const moving = view.lines.filter(({ state }) => state === 'moving');
  printResult(console, options, view, () => [
    `Host ${host} takes VMs again.`,
    ...moving.map(({ vm, to }) => `${vm} is still moving to ${to}.`),
  ]);
  return exitCodes.completed;
}

function drainSettings({ atATime, threshold, memory }: DrainOptions): Record<string, number | string> {
  const given = settingsOf({
    ...(atATime !== undefined && { atATime }),
    ...(threshold !== undefined && { threshold }),
    ...(memory !== undefined && { memory }),
  });
  // The plan goes up to the threshold; the low mark only has to lie below it.
  if (threshold !== undefined) Object.assign(given, { lowShare: threshold * 0.8, emptyBelowShare: threshold * 0.4 });
  return given;
}

/** Null: left by Ctrl-C. */
async function follow(client: AgentClient, begun: DrainView, console: Console): Promise<DrainView | null> {
  const left = new AbortController();
  const off = console.onInterrupt(() => left.abort());
  const said = new Map<string, string>();
  try {
    for (let view = begun; ;) {
      for (const line of view.lines) sayNews(line, said, console);
      if (!view.running) return view;
      await sleep(POLL_MS, undefined, { signal: left.signal }).catch(() => undefined);
      if (left.signal.aborted) return null;
      view = await client.call('drainState', { params: { host: begun.host } });
    }
  } finally {
    off();
  }
}

/** What changed since it was said last: a line when a move begins and when it ends, and every tenth of the way. */
function sayNews({ vm, state, sentence, progress }: DrainLineView, said: Map<string, string>, console: Console): void {
  const tenth = Math.floor(progress * 10);
  const news = state === 'moving' ? `moving ${tenth}` : `${state} ${sentence}`;
  if (said.get(vm) === news) return;
  said.set(vm, news);
  console.remark(state === 'moving' && tenth > 0 ? `${withoutStop(sentence)}: ${tenth * 10} %.` : sentence);
}

function endLines(view: DrainView): string[] {
  const { host, lines, empty, problem, draining } = view;
  const left = lines.filter(({ state }) => state === 'stays').length;
  return [
    ...lines.map(({ sentence }) => sentence),
    ...(problem === null ? [] : [`The drain ended early: ${withoutStop(problem)}.`]),
    empty
      ? `Host ${host} is empty, and takes no VM until "vmferry undrain ${host}".`
      : `Host ${host} is not empty: ${left} of ${lines.length} VMs could not go.${draining ? ` It takes no VM until "vmferry undrain ${host}".` : ''}`,
  ];
}

function planEnd({ host, lines }: DrainView): string {
  const left = lines.filter(({ state }) => state === 'stays').length;
  return left === 0 ? `Host ${host} would be empty.` : `${left} of ${lines.length} VMs would stay at host ${host}.`;
}

function withoutStop(text: string): string {
  return text.replace(/[.]$/, '');
}
