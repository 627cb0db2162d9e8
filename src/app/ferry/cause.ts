/** Anything that was thrown -> why a migration ends, as the journal and the report keep it. */
import { AppError, describeError } from '../../core/base/errors.ts';
import type { Cause } from '../../core/machine/source-states.ts';
import type { Problem } from '../../core/model/vm.ts';

/** The journal keeps reasons short. */
const REASON_CHARS_MAX = 1500;

export function causeOf(error: unknown): Cause {
  const code = error instanceof AppError ? error.code : 'FERRY_INTERNAL';
  return { code, reason: describeError(error).slice(0, REASON_CHARS_MAX) };
}

/** All the reasons of a refused reservation; none for any other error. */
export function problemsOf(error: unknown): readonly Problem[] {
  if (!(error instanceof AppError) || !('problems' in error)) return [];
  return Array.isArray(error.problems) ? (error.problems as Problem[]) : [];
}
