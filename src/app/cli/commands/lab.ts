/** `vmferry lab ...`: two hosts on this machine, for trying out and for tests. */
import { labDown, labRun, labStatus, labUp } from '../../lab/lab.ts';
import type { LabStatus } from '../../lab/lab.ts';
import type { LinkName } from '../../lab/plan.ts';
import { printResult } from '../console.ts';
import type { Console } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { formatTable } from '../table.ts';

export type LabCommandOptions = { readonly name?: string; readonly json?: boolean };
export type LabUpOptions = LabCommandOptions & { readonly link?: LinkName; readonly delay?: number };

export async function bringLabUp(options: LabUpOptions, console: Console): Promise<ExitCode> {
  const { name, link, delay } = options;
  const status = await labUp({
    ...(name !== undefined && { name }),
    ...(link !== undefined && { link }),
    ...(delay !== undefined && { delayMs: delay }),
  });
  printResult(console, options, status, () => labLines(status));
  return exitCodes.completed;
}

export async function takeLabDown(options: LabCommandOptions, console: Console): Promise<ExitCode> {
  await labDown(options.name);
  printResult(console, options, { up: false }, () => ['The lab is down; its hosts and guests are gone.']);
  return exitCodes.completed;
}

export async function showLab(options: LabCommandOptions, console: Console): Promise<ExitCode> {
  const status = await labStatus(options.name);
  printResult(console, options, status, () => labLines(status));
  return exitCodes.completed;
}

/** The exit code is that of the program. */
export async function runInLab(host: string, argv: readonly string[], options: LabCommandOptions): Promise<number> {
  return await labRun(host, argv, options.name);
}

function labLines(status: LabStatus): string[] {
  const link = status.link === null ? '' : `, link ${status.link}, delay ${status.delayMs} ms each way`;
  return [
    `Lab "${status.name}" is ${status.up ? 'up' : 'not up'}${link}.`,
    ...formatTable(
      ['HOST', 'ADDRESS', 'AGENT', 'PROCESSES', 'SOCKET'],
      status.hosts.map((host) => [
        host.name,
        host.address,
        host.agentAnswers ? 'answers' : 'silent',
        String(host.processes),
        host.socket,
      ]),
      'lllrl',
    ),
  ];
}
