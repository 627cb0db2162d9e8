/**
 * The events of a migration as server-sent events (text/event-stream): `view` while it runs, `report` once at the end.
 *
 *     event: view                  event: report
 *     data: {MigrationView}        data: {MigrationReport}
 * * Views come several times a second, so no keep-alive is needed. The stream ends after the report; one that ends
 * without it was cut off.
 */
import { z } from 'zod';
import { AppError } from '../base/errors.ts';
import { EVENT_CHARS_MAX } from './limits.ts';
import { migrationReportSchema, migrationViewSchema } from './schemas.ts';

export const migrationEventSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('view'), view: migrationViewSchema }),
  z.object({ type: z.literal('report'), report: migrationReportSchema }),
]);
export type MigrationEvent = z.infer<typeof migrationEventSchema>;

export class EventStreamError extends AppError<'EVENT_TOO_LONG' | 'EVENT_MALFORMED'> {}

export function encodeEvent(event: MigrationEvent): string {
  const data = event.type === 'view' ? event.view : event.report;
  return `event: ${event.type}\ndata: ${JSON.stringify(data)}\n\n`;
}

/**
 * Incremental decoder: text in, whole events out. Events of unknown types are skipped, so that agents may add some.
 * Throws EventStreamError on an event beyond EVENT_CHARS_MAX or with data that is not what its type says.
 */
export class EventDecoder {
  #rest = '';

  push(text: string): MigrationEvent[] {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    if (this.#rest.length > EVENT_CHARS_MAX) {
      throw new EventStreamError('EVENT_TOO_LONG', `Event of more than ${EVENT_CHARS_MAX} characters`);
    }
    return blocks.flatMap((block) => decodeBlock(block));
  }
}

function decodeBlock(block: string): MigrationEvent[] {
  const lines = block.split('\n');
  const type = lines.find((line) => line.startsWith('event: '))?.slice('event: '.length);
  const data = lines
    .filter((line) => line.startsWith('data: '))
    .map((line) => line.slice('data: '.length))
    .join('\n');
  if (type !== 'view' && type !== 'report') return [];
  const parsed = migrationEventSchema.safeParse({ type, [type]: parseJson(data) });
  if (!parsed.success) {
    throw new EventStreamError('EVENT_MALFORMED', `Event "${type}" is malformed: ${z.prettifyError(parsed.error)}`);
  }
  return [parsed.data];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
