/** `vmferry doctor`: what of a host's needs is met, and what each lack costs. */
import { examineHost } from '../host-examination.ts';
import type { Finding } from '../host-examination.ts';
import { printResult } from '../console.ts';
import type { Console } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { formatTable } from '../table.ts';

export type DoctorOptions = {
  readonly qemu?: readonly string[];
  readonly stateFolder: string;
  readonly json?: boolean;
};

export async function examine(options: DoctorOptions, console: Console): Promise<ExitCode> {
  const findings = await examineHost({ qemu: options.qemu ?? [], stateFolder: options.stateFolder });
  const usable = !findings.some(({ verdict }) => verdict === 'missing');
  printResult(console, options, { usable, findings }, () => doctorLines(findings, usable));
  return usable ? exitCodes.completed : exitCodes.refused;
}

const marks = { ok: 'ok', reduced: 'reduced', missing: 'MISSING' } as const;

export function doctorLines(findings: readonly Finding[], usable: boolean): string[] {
  const rows = findings.map(({ verdict, what, found }) => [marks[verdict], what, found]);
  const costs = findings.flatMap(({ what, cost }) => (cost === null ? [] : [`- ${what}: ${cost}`]));
  return [
    ...formatTable(['', 'NEED', 'FOUND'], rows, 'lll'),
    '',
    ...(costs.length === 0 ? [] : ['What the lacks cost:', ...costs, '']),
    usable ? 'This host can send and receive guests.' : 'This host cannot send and receive guests as it is.',
  ];
}
