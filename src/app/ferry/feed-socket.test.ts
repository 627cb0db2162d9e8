import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FeedSocket } from './feed-socket.ts';
import { SidePages } from './side-pages.ts';

const folder = mkdtempSync(join(tmpdir(), 'feed-'));
after(() => rmSync(folder, { recursive: true }));

/** What arrived, and the socket on which it did; the bytes are compared as they come, because they are overwritten. */
async function feed(name: string, onChunk: (chunk: Uint8Array, at: number) => void) {
  const closed = Promise.withResolvers<Error | null>();
  let received = 0;
  const socket = new FeedSocket(join(folder, name), {
    onChunk: (chunk) => {
      onChunk(chunk, received);
      received += chunk.length;
    },
    onClosed: closed.resolve,
  });
  await socket.listen();
  const qemu = connect(join(folder, name));
  await once(qemu, 'connect');
  return { socket, qemu, closed: closed.promise, received: () => received };
}

test('all bytes arrive in order, and what is written goes back', async () => {
  const sent = Buffer.from(Uint32Array.from({ length: 1 << 20 }, (_, i) => i).buffer);
  const { socket, qemu, closed, received } = await feed('order', (chunk, at) => {
    assert.ok(sent.subarray(at, at + chunk.length).equals(chunk), `bytes from ${at} on`);
  });
  qemu.write(sent);
  await socket.write(Buffer.from('back'));
  assert.equal(String((await once(qemu, 'data'))[0]), 'back');
  qemu.end();
  assert.equal(await closed, null);
  assert.equal(received(), sent.length);
  socket.close();
});

test('held, it reads nothing, and the sender waits', async () => {
  const { socket, qemu, closed, received } = await feed('held', () => {
    if (received() === 0) socket.hold(true);
  });
  qemu.end(Buffer.alloc(8 << 20));
  await new Promise((resolve) => setTimeout(resolve, 200));
  const before = received();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(before > 0 && before <= 256 * 1024 && received() === before, `${before}, then ${received()} bytes`);
  socket.hold(false);
  assert.equal(await closed, null);
  assert.equal(received(), 8 << 20);
  socket.close();
});

test('a side page keeps its content when the buffer that it came in is read into again', () => {
  for (const buffer of [Buffer.alloc(4096, 7), new Uint8Array(4096).fill(7)]) {
    const pages = new SidePages(['rom']);
    pages.setContent(0, 3, buffer.subarray());
    buffer.fill(9);
    assert.deepEqual(new Set(pages.take()[0]?.bytes ?? []), new Set([7]));
  }
});
