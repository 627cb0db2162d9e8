/** The OpenAPI 3.1 document of the agent's API, made from the route table. Pure: same table, same document. */
import { z } from 'zod';
import { errorBodySchema, statusOfCode } from './errors.ts';
import { migrationEventSchema } from './events.ts';
import { routes } from './routes.ts';
import type { Route } from './routes.ts';

type Json = { [key: string]: unknown };

export function openapiDocument(version: string): Json {
  const paths: Record<string, Json> = {};
  for (const [name, route] of Object.entries<Route>(routes)) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operationOf(name, route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'vmferry agent',
      version,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      description:
        'The API of the daemon of one host. All of it is served on the unix socket of the agent; what is marked ' +
        '`x-audience: peers` is served to trusted hosts over mutual TLS, too. Times are milliseconds, sizes are bytes.',
    },
    paths,
    components: { schemas: { Error: responseSchema(errorBodySchema) } },
  };
}

function operationOf(name: string, route: Route): Json {
  const parameters = [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query')];
  return {
    operationId: name,
    summary: route.summary,
    'x-audience': route.audience,
    ...(parameters.length > 0 && { parameters }),
    ...(route.body !== undefined && {
      requestBody: { required: true, content: { 'application/json': { schema: requestSchema(route.body) } } },
    }),
    responses: {
      [route.status]: { description: route.summary, content: contentOf(route) },
      default: {
        description: `An error; statuses are ${[...new Set(Object.values(statusOfCode))].join(', ')}`,
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  };
}

function contentOf(route: Route): Json {
  if (route.stream) return { 'text/event-stream': { schema: responseSchema(migrationEventSchema) } };
  const schema = route.response === 'openapi' ? { type: 'object' } : responseSchema(route.response);
  return { 'application/json': { schema } };
}

function parametersOf(schema: z.ZodType | undefined, where: 'path' | 'query'): Json[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = requestSchema(schema) as { properties?: Json; required?: string[] };
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: where,
    required: where === 'path' || required.includes(name),
    schema: property,
  }));
}

/** What may be written: fields with a default are optional. */
function requestSchema(schema: z.ZodType): Json {
  return withoutDialect(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }));
}

function responseSchema(schema: z.ZodType): Json {
  return withoutDialect(z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }));
}

function withoutDialect(schema: Json): Json {
  const { $schema: _dialect, '~standard': _standard, ...rest } = schema;
  return rest;
}
