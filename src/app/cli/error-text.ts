/** An error as a person reads it: one sentence with a capital letter, then every problem on a line. No stack traces. */
import { AppError, describeError } from '../../core/base/errors.ts';
import type { Problem } from '../../core/model/vm.ts';

export function errorLines(error: unknown): string[] {
  // Messages that end with a full stop are followed by their cause all the same.
  const text = describeError(error).replaceAll('.: ', ': ');
  const sentence = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  const first = error instanceof AppError ? sentence : `Internal error: ${text}`;
  return [/[.!?]$/.test(first) ? first : `${first}.`, ...problemsOf(error).map(({ message }) => `  - ${message}`)];
}

/** What `--json` prints instead of the result. */
export function errorObject(error: unknown): object {
  const known = error instanceof AppError;
  return {
    error: {
      code: known ? error.code : 'INTERNAL',
      message: describeError(error),
      fields: known ? error.fields : {},
      problems: problemsOf(error),
    },
  };
}

function problemsOf(error: unknown): readonly Problem[] {
  const problems = (error as { problems?: unknown } | null)?.problems;
  return Array.isArray(problems) ? (problems as readonly Problem[]) : [];
}
