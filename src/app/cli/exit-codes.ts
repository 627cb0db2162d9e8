/** The one table of exit codes (docs/cli.md), and what leads to each. */
import type { MigrationReport } from '../../core/model/migration.ts';
import { AppError } from '../../core/base/errors.ts';
import { RefusalError } from '../client/errors.ts';

export const exitCodes = {
  completed: 0,
  internal: 1,
  usage: 2,
  notFound: 3,
  refused: 4,
  aborted: 5,
  failed: 6,
  inDoubt: 7,
  unreachable: 8,
  interrupted: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** One line per code, for `--help` and the docs; a test compares docs/cli.md with it. */
export const exitCodeTexts: readonly (readonly [ExitCode, string])[] = [
  [exitCodes.completed, 'done'],
  [exitCodes.internal, 'vmferry itself failed'],
  [exitCodes.usage, 'wrong arguments or an invalid file; nothing was done'],
  [exitCodes.notFound, 'no such VM, host or migration'],
  [exitCodes.refused, 'refused by a check; nothing was changed'],
  [exitCodes.aborted, 'the migration was aborted; the guest runs at the source'],
  [exitCodes.failed, 'the operation failed; the message says where the guest is'],
  [exitCodes.inDoubt, 'in doubt: the guest is stopped until a person or the other host decides'],
  [exitCodes.unreachable, 'the agent cannot be reached, or was lost on the way'],
  [exitCodes.interrupted, 'ended by Ctrl-C; the guest runs at the source unless the message says otherwise'],
];

export function exitCodeOfReport(report: MigrationReport, interrupted: boolean): ExitCode {
  if (report.outcome === 'completed') return exitCodes.completed;
  if (report.guest === 'in doubt') return exitCodes.inDoubt;
  if (report.outcome === 'failed') return exitCodes.failed;
  return interrupted ? exitCodes.interrupted : exitCodes.aborted;
}

const ofCode: Readonly<Record<string, ExitCode>> = {
  AGENT_UNREACHABLE: exitCodes.unreachable,
  AGENT_FORBIDDEN: exitCodes.unreachable,
  AGENT_LOST: exitCodes.unreachable,
  AGENT_SILENT: exitCodes.unreachable,
  CLIENT_CANCELLED: exitCodes.interrupted,
  ROUTE_UNKNOWN: exitCodes.internal,
  LAB_UNKNOWN_HOST: exitCodes.notFound,
  LAB_COMMAND: exitCodes.failed,
  LAB_AGENT_FAILED: exitCodes.failed,
  LAB_LEFTOVER: exitCodes.failed,
  LAB_NOT_UP: exitCodes.notFound,
  STATE_LOCKED: exitCodes.refused,
  STATE_UNREADABLE: exitCodes.failed,
  SOCKET_IN_USE: exitCodes.refused,
  SOCKET_FAILED: exitCodes.failed,
  HISTORY_UNREADABLE: exitCodes.failed,
  BENCH_OUT: exitCodes.refused,
  BENCH_SETUP: exitCodes.failed,
  BENCH_FAILED: exitCodes.failed,
  PKI_EXISTS: exitCodes.refused,
  PKI_FOLDER: exitCodes.failed,
};
/** Errors of what a person wrote: arguments, files, certificates. */
const usagePrefixes = ['UNIT_', 'CONFIG_', 'SPEC_', 'PKI_', 'IDENTITY_', 'LAB_', 'BENCH_', 'POLICY_', 'USAGE_'];

export function exitCodeOfError(error: unknown): ExitCode {
  if (!(error instanceof AppError)) return exitCodes.internal;
  const code: string = error.code;
  const known = Object.hasOwn(ofCode, code) ? ofCode[code] : undefined;
  if (known !== undefined) return known;
  if (error instanceof RefusalError) return exitCodeOfStatus(error.status);
  return usagePrefixes.some((prefix) => code.startsWith(prefix)) ? exitCodes.usage : exitCodes.internal;
}

function exitCodeOfStatus(status: number): ExitCode {
  if (status === 404) return exitCodes.notFound;
  if (status === 403 || status === 409 || status === 422) return exitCodes.refused;
  if (status < 500) return exitCodes.usage;
  if (status === 503) return exitCodes.unreachable;
  return status === 500 ? exitCodes.internal : exitCodes.failed;
}
