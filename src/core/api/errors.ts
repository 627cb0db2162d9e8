/**
 * Errors of the HTTP API: the body, and which HTTP status a code means.
 *
 * The status tells proxies and browsers what kind of failure it was; programs match on `code`. A code that is not in the
 * table is an error inside the agent or below it, hence 500.
 */
import { z } from 'zod';
import { AppError } from '../base/errors.ts';
import type { ErrorFields } from '../base/errors.ts';
import type { Problem } from '../model/vm.ts';
import { problemSchema } from './schemas.ts';

const fieldValue = z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(z.string())]);

export const errorBodySchema = z.object({
  /** Stable; what programs match on. */
  code: z.string(),
  /** For people: what happened, the state now, what to do. */
  message: z.string(),
  fields: z.record(z.string(), fieldValue).default({}),
  /** Every unmet need at once, where the request was refused by checks. */
  problems: z.array(problemSchema).default([]),
});
export type ErrorBody = z.infer<typeof errorBodySchema>;

/** Codes that the API itself gives, with their status. */
export const statusOfCode = {
  INVALID_REQUEST: 400,
  SAME_HOST: 400,
  FORBIDDEN: 403,
  NOT_OBEYED: 403,
  ROUTE_UNKNOWN: 404,
  VM_UNKNOWN: 404,
  MIGRATION_UNKNOWN: 404,
  FERRY_UNKNOWN: 404,
  PEER_UNKNOWN: 404,
  LEASE_NOT_HELD: 409,
  VM_EXISTS: 409,
  VM_MIGRATING: 409,
  FERRY_BUSY: 409,
  FERRY_UNDECIDABLE: 409,
  VM_NOT_RUNNING: 409,
  VM_STATE: 409,
  BODY_TOO_LARGE: 413,
  PREFLIGHT_REFUSED: 422,
  RESERVATION_REFUSED: 422,
  START_REFUSED: 422,
  ADOPT_REFUSED: 422,
  INTERNAL: 500,
  QEMU_FAILED: 502,
  SHUTTING_DOWN: 503,
  TOO_MANY_STREAMS: 503,
  QEMU_SILENT: 504,
} as const;
export type ApiCode = keyof typeof statusOfCode;

/** An error that an agent answers with; `problems` lists everything that was found. */
export class ApiError extends AppError<ApiCode> {
  readonly problems: readonly Problem[];

  constructor(code: ApiCode, message: string, fields: ErrorFields = {}, more: ApiErrorMore = {}) {
    super(code, message, fields, more.cause === undefined ? undefined : { cause: more.cause });
    this.problems = more.problems ?? [];
  }
}
export type ApiErrorMore = { readonly problems?: readonly Problem[]; readonly cause?: unknown };

/** Codes of the rooms below, which the agent passes on as they are. First match wins. */
const statusOfPrefix: readonly (readonly [prefix: string, status: number])[] = [
  ['QMP_TIMEOUT', 504],
  ['QMP_', 502],
  ['QEMU_SPEC', 400],
  ['QEMU_', 502],
  ['TAP_', 502],
  ['MEMORY_DENIED', 422],
  ['MEMORY_', 502],
  ['LINK_', 502],
  ['AGENT_', 502],
  ['POLICY_', 400],
  ['FERRY_REFUSED', 422],
  ['FERRY_BLOCKED', 422],
  ['FERRY_', 502],
];

export function httpStatusOf(code: string): number {
  if (Object.hasOwn(statusOfCode, code)) return statusOfCode[code as ApiCode];
  return statusOfPrefix.find(([prefix]) => code.startsWith(prefix))?.[1] ?? 500;
}
