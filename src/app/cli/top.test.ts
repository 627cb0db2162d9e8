import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sampleTelemetry } from '../../core/api/telemetry-testing.ts';
import { runCommand } from './run-command.ts';
import { TestConsole } from './testing.ts';
import type { Terminal } from './terminal.ts';

const point = {
  ...{ atMs: 1, cores: 1, otherCores: 0, memoryBytes: 1, dirtyBytesPerS: null, receivedBytesPerS: null },
  ...{ sentBytesPerS: null, readBytesPerS: null, writtenBytesPerS: null },
};

function consoleOf(answers: { fail?: boolean } = {}): TestConsole {
  return new TestConsole(({ path }) => {
    if (answers.fail === true) return { status: 500, body: JSON.stringify({ code: 'INTERNAL', message: 'It broke' }) };
    if (path === '/telemetry') return { status: 200, body: JSON.stringify(sampleTelemetry()) };
    if (path === '/migrations') return { status: 200, body: '{"migrations":[]}' };
    return { status: 200, body: JSON.stringify({ vm: null, spanMs: 1000, points: [point, point] }) };
  });
}

class FakeTerminal implements Terminal {
  readonly isColored = false;
  readonly written: string[] = [];
  isClosed = false;
  press: (key: string) => void = () => undefined;
  readonly size = () => ({ columns: 80, rows: 24 });
  readonly write = (text: string): void => void this.written.push(text);
  readonly onEvent = (listener: (event: string) => void): void => void (this.press = listener);
  readonly close = (): void => void (this.isClosed = true);
}

test('without a terminal, and with --once, one screen is printed', async () => {
  const console = consoleOf();
  assert.equal(await runCommand(['top'], console), 0);
  assert.match(console.out.join('\n'), /^vmferry top {2}host-a[^]*\nweb /);
  assert.ok(!console.out.join('\n').includes('\u001b'), 'nothing but text');
  const once = consoleOf();
  once.terminal = new FakeTerminal();
  assert.equal(await runCommand(['top', '--once'], once), 0);
  assert.deepEqual(once.out, console.out);
});

test('--json prints the telemetry', async () => {
  const console = consoleOf();
  assert.equal(await runCommand(['top', '--json'], console), 0);
  assert.deepEqual(console.result, sampleTelemetry());
});

test('a terminal is drawn on until q, and given back; an agent that fails on the way is shown', async () => {
  const answers = { fail: false };
  const console = consoleOf(answers);
  const terminal = new FakeTerminal();
  console.terminal = terminal;
  const ended = runCommand(['top'], console);
  while (terminal.written.length === 0) await sleep(5);
  answers.fail = true;
  while (terminal.written.length < 2) await sleep(5);
  terminal.press('x');
  terminal.press('resize');
  terminal.press('q');
  assert.equal(await ended, 0);
  assert.ok(terminal.isClosed);
  assert.ok(terminal.written[0]!.startsWith('\u001b[H'), 'it is drawn from the corner');
  assert.match(terminal.written[0]!, /host-a/);
  assert.match(terminal.written.at(-1)!, /It broke/);
  assert.deepEqual(console.out, []);
});

test('Ctrl-C ends it as well, and a first failure is an error', async () => {
  const console = consoleOf();
  const terminal = new FakeTerminal();
  console.terminal = terminal;
  const ended = runCommand(['top'], console);
  while (terminal.written.length === 0) await sleep(5);
  console.interrupt();
  assert.equal(await ended, 0);
  assert.ok(terminal.isClosed);
  const failing = consoleOf({ fail: true });
  assert.notEqual(await runCommand(['top'], failing), 0);
  assert.match(failing.remarks.join('\n'), /It broke/);
});
