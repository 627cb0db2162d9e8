/**
 * The API of an agent as typed calls: `await client.call('startVm', { body: { spec } })`.
 *
 * Answers are checked against the schemas of core/api; an error answer is thrown as RefusalError with the agent's code.
 */
import { errorBodySchema } from '../../core/api/errors.ts';
import { EventDecoder } from '../../core/api/events.ts';
import type { MigrationEvent } from '../../core/api/events.ts';
import { describeIssues } from '../../core/api/issues.ts';
import { pathOf, routes } from '../../core/api/routes.ts';
import type { RequestOf, ResponseOf, Route, RouteName } from '../../core/api/routes.ts';
import { ClientError, RefusalError } from './errors.ts';
import type { Transport, TransportAnswer } from './transport.ts';

/** Checks before a migration open disks at both hosts: seconds are normal. */
const TIMEOUT_MS = 60_000;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

export type CallOptions = {
  readonly signal?: AbortSignal;
  /** Until the answer begins; 0 = no limit. */
  readonly timeoutMs?: number;
};

type CallName = Exclude<RouteName, 'migrationEvents' | 'openapi'>;

export class AgentClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Throws RefusalError (the agent said no) or ClientError. */
  async call<Name extends CallName>(
    name: Name,
    request: RequestOf<Name>,
    options: CallOptions = {},
  ): Promise<ResponseOf<Name>> {
    const route: Route = routes[name];
    const answer = await this.#send(route, request, options);
    const value = parseJson(await textOf(answer));
    if (answer.status !== route.status) throw refusal(answer.status, value);
    if (route.response === 'openapi') return value as ResponseOf<Name>;
    const parsed = route.response.safeParse(value);
    if (!parsed.success) throw notUnderstood(name, describeIssues(parsed.error, 'the answer').join('; '));
    return parsed.data as ResponseOf<Name>;
  }

  /** Views of a migration until it ends, then its report. Throws as `call`; AGENT_LOST when cut off before the report. */
  async *events(id: string, options: CallOptions = {}): AsyncGenerator<MigrationEvent> {
    const answer = await this.#send(routes.migrationEvents, { params: { id } }, options);
    if (answer.status !== 200) throw refusal(answer.status, parseJson(await textOf(answer)));
    const decoder = new EventDecoder();
    const text = new TextDecoder();
    let complete = false;
    for await (const chunk of answer.body) {
      for (const event of decoder.push(text.decode(chunk, { stream: true }))) {
        complete ||= event.type === 'report';
        yield event;
      }
    }
    if (!complete) throw new ClientError('AGENT_LOST', `The agent ended the events of migration ${id} before its end.`);
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #send(route: Route, request: object, options: CallOptions): Promise<TransportAnswer> {
    const { params, query, body } = request as {
      params?: Record<string, string>;
      query?: Record<string, unknown>;
      body?: unknown;
    };
    const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
    const search = new URLSearchParams(given.map(([key, value]): [string, string] => [key, String(value)])).toString();
    return await this.#transport.request({
      method: route.method,
      path: pathOf(route, params) + (search === '' ? '' : `?${search}`),
      body: route.method === 'POST' ? JSON.stringify(body ?? {}) : null,
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      signal: options.signal,
    });
  }
}

async function textOf(answer: TransportAnswer): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of answer.body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_BYTES_MAX) throw notUnderstood('the request', `more than ${ANSWER_BYTES_MAX} bytes`);
  }
  return text + decoder.decode();
}

function refusal(status: number, value: unknown): RefusalError | ClientError {
  const parsed = errorBodySchema.safeParse(value);
  return parsed.success ? new RefusalError(status, parsed.data) : notUnderstood('the request', `status ${status}`);
}

function notUnderstood(what: string, why: string): ClientError {
  return new ClientError(
    'AGENT_ANSWER',
    `The agent's answer to ${what} is not understood (${why}); its version may differ from that of this program.`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
