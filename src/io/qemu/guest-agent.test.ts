import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { GuestAgent } from './guest-agent.ts';

type Command = { readonly execute: string; readonly arguments?: { readonly id?: number } };
type Reply = (command: Command, socket: Socket) => void;

async function withAgent(reply: Reply, run: (path: string, seen: string[]) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'qga-'));
  const path = join(folder, 's');
  const seen: string[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    let text = '';
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      const lines = (text + chunk.toString('latin1')).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        const command = JSON.parse(line.replaceAll('\u00ff', '')) as Command;
        seen.push(command.execute);
        reply(command, socket);
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

const sync = (command: Command, socket: Socket): boolean => {
  if (command.execute !== 'guest-sync-delimited') return false;
  socket.write(Buffer.concat([Buffer.of(0xff), Buffer.from(`{"return": ${command.arguments?.id}}\n`)]));
  return true;
};

test('the handshake skips whatever an earlier command left behind', async () => {
  const reply: Reply = (command, socket) => {
    if (command.execute === 'guest-sync-delimited') {
      socket.write('ft over"}\n{"return": {"old": 1}}\n');
      socket.write(Buffer.concat([Buffer.of(0xff), Buffer.from('{"return": 7}\n')]));
    }
    if (!sync(command, socket)) socket.write('{"return": {"version": "8"}}\n');
  };
  await withAgent(reply, async (socketPath, seen) => {
    using agent = await GuestAgent.connect({ socketPath, vm: 'a' });
    assert.deepEqual(await agent.execute('guest-info'), { version: '8' });
    assert.deepEqual(seen, ['guest-sync-delimited', 'guest-info']);
  });
});

test('a guest without agent, and a channel that does not exist, are absent agents', async () => {
  await withAgent(
    () => undefined,
    async (socketPath) => {
      await assert.rejects(GuestAgent.connect({ socketPath, vm: 'a', timeoutMs: 30 }), {
        code: 'QGA_ABSENT',
        message: 'No guest agent answers in VM "a"',
      });
    },
  );
  await assert.rejects(GuestAgent.connect({ socketPath: '/nonexistent/s', vm: 'a' }), { code: 'QGA_ABSENT' });
});

test('after a time-out the next command shakes hands again and is not given the late answer', async () => {
  const reply: Reply = (command, socket) => {
    if (command.execute === 'guest-slow') setTimeout(() => socket.write('{"return": "late"}\n'), 60);
    else if (!sync(command, socket)) socket.write('{"return": {}}\n');
  };
  await withAgent(reply, async (socketPath, seen) => {
    using agent = await GuestAgent.connect({ socketPath, vm: 'a' });
    await assert.rejects(agent.execute('guest-slow', undefined, { timeoutMs: 20 }), { code: 'QGA_TIMEOUT' });
    await new Promise((resolve) => setTimeout(resolve, 80));
    await agent.ping();
    assert.deepEqual(seen, ['guest-sync-delimited', 'guest-slow', 'guest-sync-delimited', 'guest-ping']);
  });
});

test('a refusal carries what the agent said', async () => {
  const reply: Reply = (command, socket) => {
    if (!sync(command, socket)) {
      socket.write('{"error": {"class": "CommandNotFound", "desc": "guest-file-open is disabled"}}\n');
    }
  };
  await withAgent(reply, async (socketPath) => {
    using agent = await GuestAgent.connect({ socketPath, vm: 'a' });
    await assert.rejects(agent.execute('guest-file-open', { path: '/x' }), {
      code: 'QGA_COMMAND',
      message: 'The guest agent of VM "a" refused guest-file-open: guest-file-open is disabled',
    });
  });
});

test('two commands at once are sent one after the other', async () => {
  let open = 0;
  let openMax = 0;
  const reply: Reply = (command, socket) => {
    if (sync(command, socket)) return;
    openMax = Math.max(openMax, ++open);
    setTimeout(() => {
      open--;
      socket.write(`{"return": "${command.execute}"}\n`);
    }, 10);
  };
  await withAgent(reply, async (socketPath) => {
    using agent = await GuestAgent.connect({ socketPath, vm: 'a' });
    const results = await Promise.all([agent.execute('one'), agent.execute('two'), agent.execute('three')]);
    assert.deepEqual(results, ['one', 'two', 'three']);
    assert.equal(openMax, 1);
  });
});

test('an agent that goes away fails the command that waits', async () => {
  const reply: Reply = (command, socket) => {
    if (!sync(command, socket)) socket.destroy();
  };
  await withAgent(reply, async (socketPath) => {
    using agent = await GuestAgent.connect({ socketPath, vm: 'a' });
    await assert.rejects(agent.ping(), { code: 'QGA_ABSENT' });
    await assert.rejects(agent.ping(), { code: 'QGA_ABSENT' });
  });
});
