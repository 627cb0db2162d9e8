/**
 * A process of its own that runs on a lab host and receives a guest's heartbeats; started by heartbeat-listener.ts.
 *
 *     node heartbeat-receiver.ts ADDRESS PORT
 *
 * It answers each message of its parent with the longest time between two arrivals since the message before (the time
 * since the last arrival included), and the number of heartbeats in that time.
 */
import { createSocket } from 'node:dgram';
import { setPriority } from 'node:os';
import type { HeartbeatRecord } from './heartbeat-listener.ts';

const [address = '', port = ''] = process.argv.slice(2);
let lastMs = performance.now();
let longestMs = 0;
let count = 0;

function arrived(): void {
  const nowMs = performance.now();
  longestMs = Math.max(longestMs, nowMs - lastMs);
  lastMs = nowMs;
}

// Arrivals are timed here, not in the kernel: the receiver must run when one comes, whatever else does.
setPriority(-20);
const socket = createSocket('udp4');
socket.on('message', () => {
  arrived();
  count++;
});
socket.bind(Number(port), address, () => process.send?.('ready'));
process.on('message', () => {
  arrived();
  process.send?.({ longestGapMs: longestMs, heartbeats: count } satisfies HeartbeatRecord);
  longestMs = 0;
  count = 0;
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole group of processes; this one ends with its parent.
process.on('SIGINT', () => undefined);
