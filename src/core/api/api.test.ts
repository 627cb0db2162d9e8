import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { vmSpecSchema } from '../model/vm.ts';
import { httpStatusOf } from './errors.ts';
import { encodeEvent, EventDecoder } from './events.ts';
import type { MigrationEvent } from './events.ts';
import { describeIssues } from './issues.ts';
import { openapiDocument } from './openapi.ts';
import { pathOf, routes } from './routes.ts';
import { sampleView } from './testing.ts';
import { migrationOptionsSchema, startMigrationRequestSchema } from './schemas.ts';

test('docs/openapi.json is what the route table says', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const committed: unknown = JSON.parse(readFileSync('docs/openapi.json', 'utf8'));
  const fresh: unknown = JSON.parse(JSON.stringify(openapiDocument(version)));
  assert.deepEqual(committed, fresh, 'run: node bin/with-node24 scripts/openapi.ts');
});

test('the document has every route, with its parameters', () => {
  const { paths } = openapiDocument('0') as {
    paths: Record<string, Record<string, { parameters?: { name: string }[] }>>;
  };
  for (const route of Object.values(routes)) {
    const operation = paths[route.path]?.[route.method.toLowerCase()];
    assert.ok(operation !== undefined, route.path);
    const named = [...route.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
    for (const name of named) assert.ok(operation.parameters?.some((parameter) => parameter.name === name));
  }
});

test('other hosts may read what is harmless, and ask for what is checked by their name, and nothing else', () => {
  const open = Object.entries(routes).filter(([, route]) => route.audience === 'peers');
  assert.deepEqual(
    open.map(([name, route]) => [name, route.method]),
    [
      ['health', 'GET'],
      ['host', 'GET'],
      ['telemetry', 'GET'],
      ['autopilotLease', 'POST'],
      ['autopilotPlan', 'POST'],
      ['autopilotMove', 'POST'],
      ['autopilotMoveState', 'GET'],
      ['drain', 'POST'],
      ['drainState', 'GET'],
      ['undrain', 'POST'],
    ],
  );
});

test('the options of a migration have defaults and bounds', () => {
  const { options } = startMigrationRequestSchema.parse({ vm: 'web', destination: 'host-b' });
  assert.deepEqual(options, migrationOptionsSchema.parse({}));
  for (const wrong of [
    { lanes: 0 },
    { downtimeTargetMs: -1 },
    { compress: 'rar' },
    { maxBandwidthBytesPerSecond: 0 },
  ]) {
    assert.equal(migrationOptionsSchema.safeParse(wrong).success, false, JSON.stringify(wrong));
  }
});

test('parameters of a path are escaped', () => {
  assert.equal(pathOf(routes.showVm, { name: 'a/b' }), '/vms/a%2Fb');
});

test('codes of the rooms below have a status as well', () => {
  assert.equal(httpStatusOf('VM_UNKNOWN'), 404);
  assert.equal(httpStatusOf('QMP_TIMEOUT'), 504);
  assert.equal(httpStatusOf('QMP_CLOSED'), 502);
  assert.equal(httpStatusOf('QEMU_SPEC'), 400);
  assert.equal(httpStatusOf('constructor'), 500);
});

test('complaints name the field', () => {
  const parsed = vmSpecSchema.safeParse({
    memory: 'x',
    disks: [{ source: 'a,b' }],
    networks: [{ type: 'token-ring' }],
    x: 1,
  });
  assert.ok(!parsed.success);
  assert.deepEqual(describeIssues(parsed.error).sort(), [
    'disks[0].source: a disk source must not contain a comma or newline',
    'memory: "x" is not a size like 512MiB or 1G',
    'name: is missing',
    "networks[0].type: Invalid discriminator value. Expected 'none' | 'user' | 'tap'",
    'x: is not a known field',
  ]);
});

const view: MigrationEvent = { type: 'view', view: sampleView({ vm: 'wéb', reason: 'x\n\ny' }) };

test('events come back whole wherever the stream is cut', () => {
  const text = `: remark\n\nevent: later\ndata: {}\n\n${encodeEvent(view)}${encodeEvent(view)}`;
  for (let cut = 0; cut <= text.length; cut++) {
    const decoder = new EventDecoder();
    assert.deepEqual([...decoder.push(text.slice(0, cut)), ...decoder.push(text.slice(cut))], [view, view]);
  }
});

test('events that are not what they say are errors', () => {
  assert.throws(() => new EventDecoder().push('event: view\ndata: {"id":1}\n\n'), { code: 'EVENT_MALFORMED' });
  assert.throws(() => new EventDecoder().push('event: report\ndata: nonsense\n\n'), { code: 'EVENT_MALFORMED' });
  assert.throws(() => new EventDecoder().push('x'.repeat(5 * 1024 * 1024)), { code: 'EVENT_TOO_LONG' });
});
