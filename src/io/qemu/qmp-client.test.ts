import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { QmpClient } from './qmp-client.ts';

const greeting =
  '{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}, "capabilities": ["oob"]}}\r\n';

type Command = { readonly id: number; readonly execute?: string; readonly 'exec-oob'?: string };
/** null = stay silent. */
type Answer = (command: Command, socket: Socket) => object | null;

/** A monitor on a unix socket that answers as told; records what it was sent. */
async function withMonitor(
  answer: Answer,
  run: (path: string, seen: Command[]) => Promise<void>,
  hello: string = greeting,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'qmp-'));
  const path = join(folder, 's');
  const seen: Command[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.write(hello);
    let text = '';
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      const lines = (text + chunk.toString()).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        const command = JSON.parse(line) as Command;
        seen.push(command);
        const reply = command.execute === 'qmp_capabilities' ? { return: {} } : answer(command, socket);
        if (reply !== null) socket.write(`${JSON.stringify({ ...reply, id: command.id })}\r\n`);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  try {
    await run(path, seen);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  }
}

const silent: Answer = () => null;

test('greeting, version, out-of-band negotiation and a command', async () => {
  const answer: Answer = () => ({ return: { status: 'running', running: true } });
  await withMonitor(answer, async (socketPath, seen) => {
    using qmp = await QmpClient.connect({ socketPath, vm: 'a' });
    assert.deepEqual(qmp.version, { major: 10, minor: 0, micro: 2 });
    assert.ok(qmp.oob);
    assert.deepEqual(seen[0], { execute: 'qmp_capabilities', arguments: { enable: ['oob'] }, id: 1 });
    assert.equal(await qmp.runState(), 'running');
  });
});

test('a refused command carries class and text of QEMU', async () => {
  const answer: Answer = () => ({ error: { class: 'GenericError', desc: 'not now' } });
  await withMonitor(answer, async (socketPath) => {
    using qmp = await QmpClient.connect({ socketPath, vm: 'a' });
    await assert.rejects(qmp.execute('cont'), {
      code: 'QMP_COMMAND',
      message: 'QEMU of VM "a" refused cont: not now',
      fields: { vm: 'a', command: 'cont', class: 'GenericError', desc: 'not now' },
    });
  });
});

test('a monitor that does not answer is a time-out, and a late answer is dropped', async () => {
  let late: Socket | null = null;
  const answer: Answer = (command, socket) => {
    if (command.execute === 'stop') {
      late = socket;
      return null;
    }
    return { return: { status: 'paused', running: false } };
  };
  await withMonitor(answer, async (socketPath) => {
    using qmp = await QmpClient.connect({ socketPath, vm: 'a' });
    await assert.rejects(qmp.execute('stop', undefined, { timeoutMs: 30 }), {
      code: 'QMP_TIMEOUT',
      message: 'The monitor of VM "a" does not answer: no reply to stop within 30 ms',
    });
    (late as Socket | null)?.write('{"return": {}, "id": 2}\r\n');
    assert.equal(await qmp.runState(), 'paused');
  });
});

test('commands beyond the fourth wait here, so that out of band gets through', async () => {
  const answer: Answer = (command) => (command['exec-oob'] === undefined ? null : { return: [] });
  await withMonitor(answer, async (socketPath, seen) => {
    using qmp = await QmpClient.connect({ socketPath, vm: 'a' });
    const stuck = Array.from({ length: 10 }, () => qmp.execute('query-status', undefined, { timeoutMs: 100 }));
    assert.deepEqual(await qmp.executeOob('query-yank'), []);
    const ends = await Promise.allSettled(stuck);
    assert.ok(ends.every((end) => end.status === 'rejected'));
    assert.deepEqual(
      ends.map((end) => end.status === 'rejected' && end.reason.fields.sent),
      [true, true, true, true, false, false, false, false, false, false],
    );
    assert.equal(seen.filter(({ execute }) => execute === 'query-status').length, 4);
  });
});

test('a stuck main loop is told from a dead monitor', async () => {
  const busy: Answer = (command) => (command['exec-oob'] === undefined ? null : { return: [] });
  await withMonitor(busy, async (socketPath) => {
    using qmp = await QmpClient.connect({ socketPath, vm: 'a' });
    assert.equal(await qmp.checkMonitor(50), 'busy');
  });
  await withMonitor(silent, async (socketPath) => {
    const qmp = await QmpClient.connect({ socketPath, vm: 'a' });
    assert.equal(await qmp.checkMonitor(50), 'dead');
    qmp.close();
    assert.equal(await qmp.checkMonitor(50), 'closed');
  });
});

test('a connection that QEMU closes fails what is pending and what comes later', async () => {
  const answer: Answer = (_, socket) => {
    socket.end();
    return null;
  };
  await withMonitor(answer, async (socketPath) => {
    const qmp = await QmpClient.connect({ socketPath, vm: 'a' });
    await assert.rejects(qmp.execute('quit'), { code: 'QMP_CLOSED' });
    assert.equal((await qmp.whenClosed).code, 'QMP_CLOSED');
    await assert.rejects(qmp.execute('cont'), { code: 'QMP_CLOSED' });
    assert.ok(qmp.closed);
  });
});

test('no socket, no greeting and a foreign protocol are told apart', async () => {
  const nowhere = { socketPath: '/nonexistent/s', vm: 'a', timeoutMs: 50 };
  await assert.rejects(QmpClient.connect(nowhere), { code: 'QMP_CONNECT' });
  await withMonitor(
    silent,
    async (socketPath) => {
      await assert.rejects(QmpClient.connect({ socketPath, vm: 'a', timeoutMs: 50 }), { code: 'QMP_TIMEOUT' });
    },
    '',
  );
  await withMonitor(
    silent,
    async (socketPath) => {
      await assert.rejects(QmpClient.connect({ socketPath, vm: 'a' }), { code: 'QMP_PROTOCOL' });
    },
    'SSH-2.0-OpenSSH\r\n',
  );
});

test('connecting and commands end when the caller gives up', async () => {
  const signal = AbortSignal.timeout(30);
  await withMonitor(
    silent,
    async (socketPath) => {
      await assert.rejects(QmpClient.connect({ socketPath, vm: 'a', signal }), { code: 'QMP_ABORTED' });
    },
    '',
  );
  const waiting = QmpClient.connect({ socketPath: '/nonexistent/s', vm: 'a', signal: AbortSignal.timeout(30) });
  await assert.rejects(waiting, { code: 'QMP_ABORTED' });
  await withMonitor(silent, async (socketPath) => {
    using qmp = await QmpClient.connect({ socketPath, vm: 'a' });
    await assert.rejects(qmp.execute('stop', undefined, { signal: AbortSignal.timeout(20) }), { code: 'QMP_ABORTED' });
  });
});

test('events reach their listeners with both clocks, until these end', async () => {
  const event = (status: string): string =>
    `{"timestamp": {"seconds": 1700000000, "microseconds": 250000}, "event": "MIGRATION", "data": {"status": "${status}"}}\r\n`;
  const answer: Answer = (_, socket) => {
    socket.write(event('setup') + event('active'));
    return { return: {} };
  };
  await withMonitor(answer, async (socketPath) => {
    using qmp = await QmpClient.connect({ socketPath, vm: 'a' });
    const all: string[] = [];
    const off = qmp.on('*', ({ event }) => all.push(event));
    const active = qmp.waitForEvent('MIGRATION', ({ data }) => data.status === 'active', { timeoutMs: 1000 });
    await qmp.execute('stop');
    const found = await active;
    assert.equal(found.timestampUs, 1_700_000_000_250_000);
    assert.ok(found.receivedMs <= performance.now());
    off();
    await qmp.execute('stop');
    assert.deepEqual(all, ['MIGRATION', 'MIGRATION']);
    await assert.rejects(qmp.waitForEvent('RESUME', null, { timeoutMs: 20 }), { code: 'QMP_TIMEOUT' });
  });
});
