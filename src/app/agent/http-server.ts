/**
 * The HTTP API: the route table of core/api on fastify, once for the unix socket with everything, and once for trusted
 * hosts with the routes for `peers` only. What a peer may not ask for does not exist on its server.
 */
import fastify from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Socket } from 'node:net';
import type { z } from 'zod';
import { ApiError } from '../../core/api/errors.ts';
import { assert } from '../../core/base/assert.ts';
import { encodeEvent } from '../../core/api/events.ts';
import type { MigrationEvent } from '../../core/api/events.ts';
import { describeIssues } from '../../core/api/issues.ts';
import { BODY_BYTES_MAX } from '../../core/api/limits.ts';
import { routes } from '../../core/api/routes.ts';
import type { Caller, CheckedOf, ResponseOf, Route, RouteName } from '../../core/api/routes.ts';
import type { Logger } from '../../io/log/logger.ts';
import { errorAnswer } from './http-errors.ts';
import { EVENT_STREAMS_MAX, LAST_WORDS_MS } from './limits.ts';

/** `signal` is aborted when the client goes away; `caller` is who asks. */
export type Handlers = {
  readonly [Name in Exclude<RouteName, 'migrationEvents' | 'openapi'>]: (
    request: CheckedOf<Name>,
    signal: AbortSignal,
    caller: Caller,
  ) => Promise<ReadonlyDeep<ResponseOf<Name>>>;
} & {
  readonly migrationEvents: (
    request: CheckedOf<'migrationEvents'>,
    signal: AbortSignal,
  ) => AsyncGenerator<MigrationEvent>;
  readonly openapi: () => Promise<object>;
  /** What Prometheus is shown: no JSON, hence beside the route table. */
  readonly metrics: { readonly contentType: string; readonly text: () => Promise<string> };
};

/** Views and reports are read-only in our types, schemas infer writable ones. */
type ReadonlyDeep<T> = T extends readonly (infer Item)[]
  ? readonly ReadonlyDeep<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: ReadonlyDeep<T[Key]> }
    : T;

export type HttpApi = {
  /** Takes over a connection that someone else accepted, of the host with this name in its certificate. */
  readonly serve: (socket: Socket, peerName: string) => void;
  readonly listenUnix: (path: string) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Makes the server for one audience. */
export async function createHttpApi(audience: Route['audience'], handlers: Handlers, log: Logger): Promise<HttpApi> {
  const app = fastify({ logger: false, bodyLimit: BODY_BYTES_MAX, forceCloseConnections: true });
  let streams = 0;
  const peerNames = new WeakMap<Socket, string>();
  const callerOf = ({ raw }: FastifyRequest): Caller => ({ peer: peerOf(raw.socket, peerNames, audience) });
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply, log));
  app.setNotFoundHandler((request) => {
    throw new ApiError('ROUTE_UNKNOWN', `There is no ${request.method} ${request.url} in this API.`);
  });
  app.addHook('onResponse', async (request, reply) => {
    log.debug('http.request', `${request.method} ${request.url}`, { status: reply.statusCode, audience });
    await Promise.resolve();
  });
  for (const [name, route] of Object.entries<Route>(routes)) {
    if (audience === 'peers' && route.audience !== 'peers') continue;
    const handle = handlers[name as RouteName] as (checked: unknown, signal: AbortSignal, caller: Caller) => unknown;
    app.route({
      method: route.method,
      url: route.path.replace(/\{(\w+)\}/g, ':$1'),
      handler: async (request, reply) => {
        const checked = checkRequest(route, request);
        const signal = goneSignal(reply);
        const caller = callerOf(request);
        if (route.stream !== true) return await reply.code(route.status).send(await handle(checked, signal, caller));
        if (streams >= EVENT_STREAMS_MAX) {
          throw new ApiError('TOO_MANY_STREAMS', `${EVENT_STREAMS_MAX} event streams are open already.`);
        }
        streams++;
        try {
          await streamEvents(reply, handle(checked, signal, caller) as AsyncGenerator<MigrationEvent>);
        } finally {
          streams--;
        }
      },
    });
  }
  if (audience === 'local') {
    const { contentType, text } = handlers.metrics;
    app.get('/metrics', async (_request, reply) => await reply.header('content-type', contentType).send(await text()));
  }
  await app.ready();
  return {
    serve: (socket, peerName) => {
      peerNames.set(socket, peerName);
      app.server.emit('connection', socket);
    },
    listenUnix: (path) => listenUnix(app, path),
    close: () => closeServer(app),
  };
}

/** A host without a name on the server for hosts would be taken for a person of this one. */
function peerOf(socket: Socket, names: WeakMap<Socket, string>, audience: Route['audience']): string | null {
  const name = names.get(socket) ?? null;
  assert((name === null) === (audience === 'local'), 'hosts have names, and nobody else has');
  return name;
}

/** The server was not opened by fastify, so fastify does not close it. Event streams get a moment to say how it ended. */
async function closeServer(app: FastifyInstance): Promise<void> {
  const closed = new Promise((resolve) => app.server.close(resolve));
  app.server.closeIdleConnections();
  const timer = setTimeout(() => app.server.closeAllConnections(), LAST_WORDS_MS);
  await closed;
  clearTimeout(timer);
  await app.close();
}

/** Only the owner may connect: the socket is made under a umask, so there is no moment at which others can. */
async function listenUnix(app: FastifyInstance, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  app.server.once('error', reject);
  const umask = process.umask(0o177);
  try {
    app.server.listen(path, () => resolve());
  } finally {
    process.umask(umask);
  }
  await promise;
  app.server.off('error', reject);
}

function checkRequest(route: Route, request: FastifyRequest): unknown {
  const issues: string[] = [];
  const check = (schema: z.ZodType | undefined, value: unknown, root: string): unknown => {
    if (schema === undefined) return undefined;
    const parsed = schema.safeParse(value);
    if (!parsed.success) issues.push(...describeIssues(parsed.error, root));
    return parsed.data;
  };
  const checked = {
    params: check(route.params, request.params, 'path'),
    query: check(route.query, request.query, 'query'),
    body: check(route.body, request.body ?? {}, 'body'),
  };
  if (issues.length > 0) {
    throw new ApiError('INVALID_REQUEST', `The request is invalid: ${issues.join('; ')}.`, { issues });
  }
  return checked;
}

/** Aborted when the connection ends before the answer was complete. */
function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort();
  });
  return gone.signal;
}

async function streamEvents(reply: FastifyReply, events: AsyncGenerator<MigrationEvent>): Promise<void> {
  // The first event decides about the status: an unknown migration is a plain error answer.
  const first = await events.next();
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  const write = (event: MigrationEvent): void => {
    // A reader that does not keep up misses views, never the report.
    if (event.type === 'report' || !raw.writableNeedDrain) raw.write(encodeEvent(event));
  };
  if (first.done !== true) write(first.value);
  for await (const event of events) write(event);
  raw.end();
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, log: Logger): void {
  const { status, body } = errorAnswer(error);
  const facts = { status, code: body.code, method: request.method, url: request.url };
  if (status >= 500) log.error('http.failed', body.message, { ...facts, error });
  else log.debug('http.failed', body.message, facts);
  if (reply.raw.headersSent) reply.raw.destroy();
  else void reply.code(status).send(body);
}
