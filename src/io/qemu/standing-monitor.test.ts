import assert from 'node:assert/strict';
import { constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { QmpError } from './errors.ts';
import { hasStandingMonitor, makeStandingMonitor, StandingMonitor, standingMonitorOf } from './standing-monitor.ts';

type Said = { readonly id: string; readonly [command: string]: unknown };

/** Holds both FIFOs for reading and writing, as QEMU's `-chardev pipe` does. */
class PipeQemu {
  readonly heard: Said[] = [];
  answer: (said: Said) => object = ({ id }) => ({ return: {}, id });
  readonly #in: Socket;
  readonly #out: Socket;

  constructor(folder: string) {
    const open = (name: string): Socket =>
      new Socket({ fd: openSync(join(folder, name), constants.O_RDWR | constants.O_NONBLOCK) });
    this.#in = open('standing.in');
    this.#out = open('standing.out');
    // Only QEMU's side of each is used.
    this.#in.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString().trim().split('\n')) {
        const said = JSON.parse(line) as Said;
        this.heard.push(said);
        this.say(`${JSON.stringify(this.answer(said))}\n`);
      }
    });
  }

  say(text: string): void {
    this.#out.write(text);
  }

  end(): void {
    this.#in.destroy();
    this.#out.destroy();
  }
}

async function pipeQemu(t: TestContext): Promise<{ folder: string; qemu: PipeQemu }> {
  const folder = mkdtempSync(join(tmpdir(), 'standing-'));
  await makeStandingMonitor(folder);
  const qemu = new PipeQemu(folder);
  t.after(() => {
    qemu.end();
    rmSync(folder, { recursive: true });
  });
  return { folder, qemu };
}

const refusedWith = (code: string, text: RegExp) => (error: unknown) => {
  assert.ok(error instanceof QmpError);
  assert.equal(error.code, code);
  assert.match(error.message, text);
  return true;
};

test('a successor goes on where out of band was switched on, whatever its predecessor left half read', async (t) => {
  const { folder, qemu } = await pipeQemu(t);
  const first = StandingMonitor.open('v', folder);
  await first.negotiate();
  await first.executeOob('migrate-pause', undefined);
  first.close();
  qemu.say('{"event": "STOP"}\n{"return": {}, "id": "of a former agent"}\n"half of a line"}\n\n');
  const second = StandingMonitor.open('v', folder);
  await second.executeOob('migrate-recover', { uri: 'unix:x' });
  assert.deepEqual(
    qemu.heard.map((said) => ({ ...said, id: undefined })),
    [
      { execute: 'qmp_capabilities', arguments: { enable: ['oob'] }, id: undefined },
      { 'exec-oob': 'migrate-pause', id: undefined },
      { 'exec-oob': 'migrate-recover', arguments: { uri: 'unix:x' }, id: undefined },
    ],
  );
  assert.equal(new Set(qemu.heard.map(({ id }) => id)).size, 3, 'no id is used twice');
  second.close();
});

test('a refusal is told in the words of QEMU', async (t) => {
  const { folder, qemu } = await pipeQemu(t);
  qemu.answer = ({ id }) => ({ error: { class: 'GenericError', desc: 'not paused' }, id });
  const monitor = StandingMonitor.open('v', folder);
  await assert.rejects(monitor.executeOob('migrate-pause', undefined), refusedWith('QMP_COMMAND', /not paused/));
  monitor.close();
});

test('it ends with its QEMU, and a command that waits hears of it', async (t) => {
  const { folder, qemu } = await pipeQemu(t);
  qemu.answer = () => {
    qemu.end();
    return {};
  };
  const monitor = StandingMonitor.open('v', folder);
  await assert.rejects(monitor.executeOob('migrate-pause', undefined), refusedWith('QMP_CLOSED', /ended/));
  assert.ok(monitor.closed);
  assert.throws(() => StandingMonitor.open('v', folder), refusedWith('QMP_CONNECT', /no standing monitor/));
});

test('events are read as long as the QEMU lives: more than the FIFO holds do not gather in it', async (t) => {
  const { folder, qemu } = await pipeQemu(t);
  const monitor = standingMonitorOf('v', folder);
  assert.equal(standingMonitorOf('v', folder), monitor, 'one reader in a process');
  const event = `{"event": "RTC_CHANGE", "data": "${'x'.repeat(1000)}"}\n`;
  for (let i = 0; i < 300; i++) qemu.say(event);
  await monitor.executeOob('migrate-pause', undefined);
  monitor.close();
});

test('a machine of the same name gets FIFOs of its own, and nobody listens to the old ones', async (t) => {
  const { folder } = await pipeQemu(t);
  assert.ok(hasStandingMonitor(folder));
  const old = standingMonitorOf('v', folder);
  for (const name of ['standing.in', 'standing.out']) rmSync(join(folder, name));
  await makeStandingMonitor(folder);
  assert.ok(old.closed);
  const qemu = new PipeQemu(folder);
  t.after(() => qemu.end());
  await standingMonitorOf('v', folder).negotiate();
  await sleep(0);
  assert.notEqual(standingMonitorOf('v', folder), old);
  standingMonitorOf('v', folder).close();
});
