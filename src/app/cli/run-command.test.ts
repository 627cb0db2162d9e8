import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeEvent } from '../../core/api/events.ts';
import { migrationOptionsSchema } from '../../core/api/schemas.ts';
import { strategyNames, type MigrationReport } from '../../core/model/migration.ts';
import type { TransportRequest } from '../client/transport.ts';
import { exitCodeTexts } from './exit-codes.ts';
import { runCommand } from './run-command.ts';
import { samplePlan, sampleReport, sampleView } from '../../core/api/testing.ts';
import { TestConsole } from './testing.ts';
import type { Answer } from './testing.ts';

const ok = (value: unknown, status = 200): Answer => ({ status, body: JSON.stringify(value) });
const refusal = (status: number, code: string, message: string, problems: object[] = []): Answer =>
  ok({ code, message, fields: {}, problems }, status);

/** An agent with one migration that ends with this report. */
function migrating(
  report: MigrationReport,
  atEvents: (console: TestConsole) => void = () => undefined,
  started = sampleView(),
): TestConsole {
  const events = [encodeEvent({ type: 'view', view: sampleView() }), encodeEvent({ type: 'report', report } as never)];
  const console = new TestConsole(({ method, path }: TransportRequest): Answer => {
    if (path === '/migrations/m1/events') {
      return { status: 200, body: events.join(''), before: () => atEvents(console) };
    }
    if (path === '/migrations/m1/cancel') return ok({ accepted: true, view: sampleView() });
    return method === 'POST' ? ok(started, 201) : refusal(404, 'ROUTE_UNKNOWN', path);
  });
  return console;
}

test('migrate prints progress on standard error and the summary on standard output', async () => {
  const console = migrating(sampleReport());
  assert.equal(await runCommand(['migrate', 'web', 'host-b'], console), 0);
  assert.match(console.out[0] ?? '', /^VM "web" now runs at host host-b\.$/);
  assert.match(console.remarks.join('\n'), /pre-copy, round 1: sending/);
});

test('migrate asks for a prediction where a person looks on, and says what it is before anything else', async () => {
  const asksFor = async (words: readonly string[], isTerminal: boolean): Promise<unknown> => {
    const console = migrating(sampleReport());
    if (isTerminal) console.columns = 80;
    assert.equal(await runCommand(['migrate', 'web', 'host-b', ...words], console), 0);
    return (JSON.parse(console.requests[0]?.body ?? '') as { plan?: boolean }).plan ?? false;
  };
  assert.equal(await asksFor([], true), true);
  assert.equal(await asksFor(['--no-plan'], true), false);
  assert.equal(await asksFor([], false), false);
  assert.equal(await asksFor(['--json'], true), false);
  assert.equal(await asksFor(['--json', '--plan'], false), true);

  const [predicted = null] = samplePlan.predictions;
  const console = migrating(sampleReport(), undefined, sampleView({ predicted }));
  assert.equal(await runCommand(['migrate', 'web', 'host-b', '--plan'], console), 0);
  assert.match(
    console.remarks[0] ?? '',
    /^Expected: 2\.00 s to 3\.25 s, downtime 96 ms to 156 ms, .*; limited by processors\.$/,
  );
});

test('status and show say of a guest that needs the other host what that means, and what may be done', async () => {
  const view = sampleView({ id: 'm1', vm: 'web', reason: 'The guest needs host "a"' });
  const host = { name: 'b', version: '0', qemuVersion: null, vms: 0, peers: [] };
  const nothing = { capacity: 1, used: 0, reserved: 0 };
  for (const words of [['status'], ['show', 'm1'], ['show', 'm1', '--pages']]) {
    const console = new TestConsole(({ path }) => {
      if (path === '/host') return ok({ ...host, memoryBytes: nothing, vcpus: nothing });
      return ok(path === '/migrations' ? { migrations: [view] } : { view, report: null });
    });
    assert.equal(await runCommand(words, console), 0);
    assert.match(console.out.join('\n'), /\nm1, VM "web": The guest needs host "a"\.(\n|$)/);
  }
});

test('migrate --json prints nothing but the report', async () => {
  const console = migrating(sampleReport());
  const flags = ['--lanes', '4', '--max-bandwidth', '1gbit', '--downtime', '0.5s', '--verify', '--compress', 'none'];
  assert.equal(await runCommand(['migrate', 'web', 'host-b', '--json', ...flags], console), 0);
  assert.deepEqual(console.result, sampleReport());
  assert.deepEqual(JSON.parse(console.requests[0]?.body ?? ''), {
    vm: 'web',
    destination: 'host-b',
    options: {
      lanes: 4,
      maxBandwidthBytesPerSecond: 125e6,
      downtimeTargetMs: 500,
      verify: true,
      compress: 'none',
    },
  });
});

test('migrate takes every strategy, and an interval for mplm', async () => {
  for (const strategy of strategyNames) {
    const console = migrating(sampleReport());
    const flags = ['--strategy', strategy, '--interval', '1500ms'];
    assert.equal(await runCommand(['migrate', 'web', 'host-b', ...flags], console), 0);
    const { options } = JSON.parse(console.requests[0]?.body ?? '') as { options: unknown };
    assert.deepEqual(options, { strategy, intervalMs: 1500 });
    assert.ok(migrationOptionsSchema.safeParse(options).success);
  }
  const console = migrating(sampleReport());
  assert.equal(await runCommand(['migrate', 'web', 'host-b', '--strategy', 'warp'], console), 2);
  assert.match(console.remarks.join('\n'), /Allowed choices are auto, precopy, mplm/);
});

test('migrate --events prints JSON lines', async () => {
  const console = migrating(sampleReport());
  assert.equal(await runCommand(['migrate', 'web', 'host-b', '--events'], console), 0);
  assert.deepEqual(
    console.out.map((line) => (JSON.parse(line) as { type: string }).type),
    ['view', 'report'],
  );
});

test('the exit code tells the outcomes apart', async () => {
  const code = async (change: Partial<MigrationReport>) =>
    await runCommand(['migrate', 'web', 'host-b'], migrating(sampleReport(change)));
  assert.equal(await code({ outcome: 'aborted', guest: 'running at source' }), 5);
  assert.equal(await code({ outcome: 'failed', guest: 'running at source' }), 6);
  assert.equal(await code({ outcome: 'failed', guest: 'in doubt' }), 7);
});

test('the first Ctrl-C asks for an abort, the second leaves', async () => {
  const aborted = sampleReport({
    outcome: 'aborted',
    guest: 'running at source',
    reason: 'A person asked for the abort',
  });
  const console = migrating(aborted, (at) => at.interrupt());
  assert.equal(await runCommand(['migrate', 'web', 'host-b'], console), 130);
  assert.ok(console.requests.some(({ path }) => path === '/migrations/m1/cancel'));
  assert.match(console.out[0] ?? '', /The guest runs at host host-a\.$/);

  const impatient = migrating(aborted, (at) => {
    at.interrupt();
    at.interrupt();
  });
  await runCommand(['migrate', 'web', 'host-b'], impatient);
  assert.equal(impatient.left, 130);
  assert.match(impatient.remarks.join('\n'), /goes on with the abort of VM "web"; see "vmferry show m1"/);
});

test('a refusal lists every problem and changes nothing', async () => {
  const problems = [
    { code: 'MEMORY_SHORT', message: 'Too little memory.' },
    { code: 'NAME_TAKEN', message: 'The name is taken.' },
  ];
  const answer = refusal(422, 'PREFLIGHT_REFUSED', 'VM "web" cannot be moved.', problems);
  const console = new TestConsole(() => answer);
  assert.equal(await runCommand(['migrate', 'web', 'host-b'], console), 4);
  assert.deepEqual(console.remarks, ['VM "web" cannot be moved.', '  - Too little memory.', '  - The name is taken.']);
  assert.deepEqual(console.out, []);
  const json = new TestConsole(() => answer);
  assert.equal(await runCommand(['migrate', 'web', 'host-b', '--json'], json), 4);
  assert.deepEqual((json.result as { error: { problems: unknown } }).error.problems, problems);
});

test('mistakes of all kinds have their exit code', async () => {
  const run = async (answer: Answer, ...argv: string[]) => await runCommand(argv, new TestConsole(() => answer));
  const never = refusal(500, 'INTERNAL', 'not to be asked');
  assert.equal(await run(refusal(404, 'VM_UNKNOWN', 'x'), 'vm', 'show', 'web'), 3);
  assert.equal(await run(refusal(409, 'VM_MIGRATING', 'x'), 'vm', 'stop', 'web'), 4);
  assert.equal(await run(refusal(400, 'SAME_HOST', 'x'), 'migrate', 'web', 'host-a'), 2);
  assert.equal(await run(refusal(504, 'QEMU_SILENT', 'x'), 'migrate', 'web', 'host-b'), 6);
  assert.equal(await run(never, 'vm', 'list'), 1);
  assert.equal(await run(never, 'migrate', 'web'), 2, 'a missing argument');
  assert.equal(await run(never, 'migrate', 'web', 'host-b', '--downtime', 'soon'), 2);
  assert.equal(await run(never, 'migrate', 'web', 'host-b', '--compress', 'rar'), 2);
  assert.equal(await run(never, 'nonsense'), 2);
  assert.equal(await run(never, '--help'), 0);
  assert.equal(await run(never, 'vm', 'start', '/nowhere.yaml'), 2);
  assert.equal(await run({ status: 200, body: 'not JSON' }, 'vm', 'list'), 1);
});

test('a spec is checked before the agent is asked, and its paths follow the file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-spec-'));
  try {
    const file = join(folder, 'web.yaml');
    const asked = new TestConsole(() => refusal(422, 'START_REFUSED', 'no'));
    writeFileSync(file, 'name: web\nmemory: lots\ndisk: []\n');
    assert.equal(await runCommand(['vm', 'start', file], asked), 2);
    assert.match(
      asked.remarks[0] ?? '',
      /web\.yaml is invalid: memory: "lots" is not a size.*; disk: is not a known field/,
    );
    assert.equal(asked.requests.length, 0);
    writeFileSync(
      file,
      'name: web\nmemory: 1GiB\nkernel: bzImage\ndisks: [{source: "{run}/x"}, {source: nbd://h/e}, {source: a.raw}]\n',
    );
    assert.equal(await runCommand(['vm', 'start', file], asked), 4);
    const { spec } = JSON.parse(asked.requests[0]?.body ?? '') as {
      spec: { kernel: string; disks: { source: string }[] };
    };
    assert.equal(spec.kernel, join(folder, 'bzImage'));
    assert.deepEqual(
      spec.disks.map(({ source }) => source),
      ['{run}/x', 'nbd://h/e', join(folder, 'a.raw')],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('no agent: the message says what to do', async () => {
  const { realConsole } = await import('./console.ts');
  const remarks: string[] = [];
  const console = { ...realConsole(), remark: (text: string) => void remarks.push(text) };
  assert.equal(await runCommand(['--socket', '/nowhere/agent.sock', 'status'], console), 8);
  assert.match(remarks[0] ?? '', /^No agent answers at \/nowhere\/agent\.sock\. Start one with "vmferry agent/);
});

test('docs/cli.md lists the exit codes as they are', () => {
  const docs = readFileSync(join(import.meta.dirname, '../../../docs/cli.md'), 'utf8');
  for (const [code, text] of exitCodeTexts) assert.ok(docs.includes(`| ${code} | ${text} |`), `${code} ${text}`);
});
