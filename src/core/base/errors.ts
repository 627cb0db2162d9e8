/**
 * The one base class of every error that vmferry throws on purpose.
 *
 * `code` is what programs match on, never the text. `fields` carry the facts apart from the prose. Each room declares
 * its own subclass with its own codes in its `errors.ts`; the program's edge prints the chain of causes once.
 */
export type ErrorFields = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

export class AppError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly fields: ErrorFields;

  constructor(code: Code, message: string, fields: ErrorFields = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.fields = fields;
  }
}

/** The message of anything that was thrown, with the messages of its causes, outermost first. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error, depth = 0; at !== undefined && depth < 8; depth++) {
    parts.push(at instanceof Error ? at.message : typeof at === 'string' ? at : JSON.stringify(at));
    at = at instanceof Error ? at.cause : undefined;
  }
  return parts.filter((part, i) => part !== parts[i - 1]).join(': ');
}
