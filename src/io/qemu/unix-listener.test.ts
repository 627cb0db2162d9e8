import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { holdsUnixSocket, parseUnixSockets } from './unix-listener.ts';

test('/proc/net/unix is read, sockets without a path are left out', () => {
  const text = [
    'Num       RefCount Protocol Flags    Type St Inode Path',
    '0000000000000000: 00000002 00000000 00010000 0001 01 21504 /run/a b/qga.sock',
    '0000000000000000: 00000003 00000000 00000000 0001 03 21505',
    '',
  ].join('\n');
  assert.deepEqual(parseUnixSockets(text), [{ inode: 21504, path: '/run/a b/qga.sock' }]);
});

test('a socket is found at the process that listens there, also through a link, and at no other', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'held-'));
  const server = createServer();
  try {
    await new Promise<void>((resolve) => server.listen(join(folder, 's'), resolve));
    symlinkSync('s', join(folder, 'link'));
    assert.ok(holdsUnixSocket(process.pid, join(folder, 's')));
    assert.ok(holdsUnixSocket(process.pid, join(folder, 'link')));
    assert.ok(!holdsUnixSocket(process.ppid, join(folder, 's')));
    assert.ok(!holdsUnixSocket(process.pid, join(folder, 'missing')));
  } finally {
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  }
});
