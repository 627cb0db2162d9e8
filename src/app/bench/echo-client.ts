/**
 * A process of its own that talks to a guest's echo service over connections that it keeps; started by echo-load.ts.
 *
 *     node echo-client.ts ADDRESS PORT CONNECTIONS BYTES_PER_S
 *
 * Each connection sends a message and waits until all of it is back, and compares it. It answers each message of its parent with
 * what has happened since the start.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EchoReport } from './echo-load.ts';

const MESSAGE_BYTES = 16_384;
/** After a connection was lost, so that a service that is gone is not asked a million times. */
const PAUSE_MS = 200;

const [address = '', port = '', connections = '', bytesPerS = ''] = process.argv.slice(2);
const report = { echoedBytes: 0, lostConnections: 0, wrongEchoes: 0 };
const message = randomBytes(MESSAGE_BYTES);
/** Between two messages of one connection. */
const periodMs = (MESSAGE_BYTES * Number(connections) * 1000) / Number(bytesPerS);

async function echo(socket: Socket): Promise<void> {
  socket.write(message);
  for (let at = 0; at < MESSAGE_BYTES;) {
    const [part] = (await once(socket, 'data')) as [Buffer];
    if (Buffer.compare(part, message.subarray(at, at + part.length)) !== 0) report.wrongEchoes++;
    at += part.length;
  }
  report.echoedBytes += MESSAGE_BYTES;
}

async function talk(): Promise<never> {
  for (let isFirst = true; ; isFirst = false) {
    const socket = connect({ host: address, port: Number(port), noDelay: true });
    try {
      await once(socket, 'connect');
      for (let dueMs = performance.now(); ; dueMs = Math.max(dueMs + periodMs, performance.now() - periodMs)) {
        await sleep(Math.max(0, dueMs - performance.now()));
        await echo(socket);
        if (report.echoedBytes === MESSAGE_BYTES) process.send?.('ready');
      }
    } catch {
      // The guest may not listen yet when this starts.
      if (!isFirst || report.echoedBytes > 0) report.lostConnections++;
      socket.destroy();
      await sleep(PAUSE_MS);
    }
  }
}

process.on('message', () => process.send?.({ ...report } satisfies EchoReport));
process.on('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole group of processes; this one ends with its parent.
process.on('SIGINT', () => undefined);
await Promise.all(Array.from({ length: Number(connections) }, talk));
