/**
 * A program that watches a guest from a lab host: an echo connection with checked bytes, and the guest's heartbeat.
 *
 *     node guest-witness.ts GUEST ECHO_PORT HEARTBEAT_PORT      until its standard input ends; then prints WitnessReport as JSON
 *
 * What goes over the connection is a fixed sequence, so one lost, doubled or reordered byte shows as a difference.
 */
import { createSocket } from 'node:dgram';
import { createConnection } from 'node:net';
import { HeartbeatLog, type HeartbeatReport } from './heartbeat-log.ts';

export type WitnessReport = {
  readonly tcp: {
    readonly sentBytes: number;
    readonly receivedBytes: number;
    readonly wrongBytes: number;
    /** Longest time between two arrivals. */
    readonly longestGapMs: number;
    readonly ended: string | null;
  };
  readonly heartbeat: HeartbeatReport;
};

const PIECE_BYTES = 1000;
const PIECE_MS = 10;
const DRAIN_MS = 3000;
const IN_FLIGHT_BYTES_MAX = 256 * 1024;

/** The byte at a place of the sequence: no period that a packet or a buffer could have. */
const byteAt = (at: number): number => (Math.imul(at + 1, 2_654_435_761) >>> 24) ^ (at & 0xff);

const [guest = '', echoPort = '', heartbeatPort = ''] = process.argv.slice(2);
const tcp = { sentBytes: 0, receivedBytes: 0, wrongBytes: 0, longestGapMs: 0, ended: null as string | null };
const heartbeat = new HeartbeatLog();

const udp = createSocket('udp4');
udp.on('message', (packet) => heartbeat.received(packet, performance.timeOrigin + performance.now()));
udp.bind(Number(heartbeatPort));

const socket = createConnection({ host: guest, port: Number(echoPort), noDelay: true });
let arrivedAtMs: number | null = null;
socket.on('data', (bytes) => {
  const nowMs = performance.now();
  if (arrivedAtMs !== null) tcp.longestGapMs = Math.max(tcp.longestGapMs, nowMs - arrivedAtMs);
  arrivedAtMs = nowMs;
  for (const byte of bytes) if (byte !== byteAt(tcp.receivedBytes++)) tcp.wrongBytes++;
});
socket.on('error', (error) => (tcp.ended ??= error.message));
socket.on('close', () => (tcp.ended ??= 'closed by the guest'));
socket.on('connect', () => process.stderr.write('connected\n'));

const sending = setInterval(() => {
  if (tcp.ended !== null || socket.connecting || tcp.sentBytes - tcp.receivedBytes > IN_FLIGHT_BYTES_MAX) return;
  const from = tcp.sentBytes;
  socket.write(Uint8Array.from({ length: PIECE_BYTES }, (_, index) => byteAt(from + index)));
  tcp.sentBytes += PIECE_BYTES;
}, PIECE_MS);

process.stdin.resume();
process.stdin.once('end', () => {
  clearInterval(sending);
  const deadlineMs = performance.now() + DRAIN_MS;
  const draining = setInterval(() => {
    if (tcp.receivedBytes < tcp.sentBytes && tcp.ended === null && performance.now() < deadlineMs) return;
    clearInterval(draining);
    process.stdout.write(JSON.stringify({ tcp, heartbeat: heartbeat.report } satisfies WitnessReport));
    udp.close();
    socket.destroy();
  }, PIECE_MS);
});
