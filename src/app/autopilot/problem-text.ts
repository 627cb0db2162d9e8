/** An error of a call as one text: what happened, with everything that was found to speak against it. */
import { describeError } from '../../core/base/errors.ts';

export function problemText(error: unknown): string {
  const problems = (error as { problems?: unknown } | null)?.problems;
  const list = Array.isArray(problems) ? (problems as readonly { message: string }[]) : [];
  return [describeError(error), ...list.map(({ message }) => message)].join(' ');
}

/** Without its full stop, to go on within a sentence. */
export function withoutStop(text: string): string {
  return text.replace(/[.]$/, '');
}
