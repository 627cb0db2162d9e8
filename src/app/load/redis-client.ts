/**
 * A process of its own that writes to a guest's Redis and reads back what it wrote; started by load-process.ts.
 *
 *     node redis-client.ts ADDRESS PORT CONNECTIONS COMMANDS_PER_S
 *
 * Each connection has keys of its own and writes ever higher numbers to them. A value that is read must be one that was
 * sent, and no older than the last write of that key that was acknowledged before: so a lost write shows, whether the
 * connection lived on or not. At the end every key is read.
 */
import { createConnection } from 'node:net';
import type { Socket } from 'node:net';
import { setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { LatencyHistogram } from './latency-histogram.ts';
import { LoadClock } from './load-clock.ts';
import type { LoadQuestion, RedisReport } from './load-report.ts';
import { encodeCommand, RespReader } from './resp-reader.ts';
import type { RespReply } from './resp-reader.ts';

const KEYS_PER_CONNECTION = 500;
/** Writes of other keys between that of a key and the reading of it. */
const READ_AFTER = 20;
const PAYLOAD = 'x'.repeat(200);
/** After a connection was lost or refused. */
const PAUSE_MS = 100;

const [address = '', port = '', connections = '', commandsPerS = ''] = process.argv.slice(2);
const latencies = new LatencyHistogram();
const clock = new LoadClock(Number(commandsPerS));
const counts = { writes: 0, reads: 0, wrongAnswers: 0, lostConnections: 0 };
let ready = false;
const end = new AbortController();

type Key = { readonly name: string; sent: number; acknowledged: number };

/** One command at a time: the answer, or null where the connection was lost before it came. */
class RedisConnection {
  readonly #socket: Socket;
  readonly #reader = new RespReader();
  #waiting: ((reply: RespReply | null) => void) | null = null;
  lost = false;

  constructor() {
    this.#socket = createConnection({ host: address, port: Number(port), noDelay: true });
    this.#socket.on('data', (bytes) => {
      try {
        for (const reply of this.#reader.push(bytes)) this.#answer(reply);
      } catch (error) {
        this.#socket.destroy(error as Error);
      }
    });
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => {
      this.lost = true;
      this.#answer(null);
    });
  }

  async command(...words: readonly string[]): Promise<RespReply | null> {
    if (this.lost) return null;
    const reply = new Promise<RespReply | null>((resolve) => (this.#waiting = resolve));
    this.#socket.write(encodeCommand(...words));
    return await reply;
  }

  #answer(reply: RespReply | null): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting !== null) waiting(reply);
    else if (reply !== null) counts.wrongAnswers++;
  }
}

class KeyWriter {
  readonly #keys: readonly Key[];
  #connection = new RedisConnection();

  constructor(number: number) {
    this.#keys = Array.from({ length: KEYS_PER_CONNECTION }, (_, key) => ({
      ...{ name: `load:${process.pid}:${number}:${key}`, sent: 0, acknowledged: 0 },
    }));
  }

  async run(): Promise<void> {
    for (let turn = 0; !end.signal.aborted; turn++) {
      const waitMs = clock.waitMs();
      if (waitMs >= 1) await sleep(waitMs);
      const sentMs = performance.now();
      // A key is read some writes after its own.
      const written = Math.floor(turn / 2);
      const key =
        this.#keys[(turn % 2 === 0 ? written : written + KEYS_PER_CONNECTION - READ_AFTER) % KEYS_PER_CONNECTION]!;
      const answered = turn % 2 === 0 ? await this.#write(key) : await this.#read(key);
      if (!answered) continue;
      latencies.add(performance.now() - sentMs);
      clock.answered();
      if (!ready) process.send?.('ready');
      ready = true;
    }
  }

  /** Reads every key that was ever sent; tells how many there are and in how many an acknowledged write is missing. */
  async readBack(): Promise<{ keys: number; lostWrites: number }> {
    const written = this.#keys.filter(({ sent }) => sent > 0);
    let lostWrites = 0;
    for (const key of written) {
      const reply = await this.#command('GET', key.name);
      if (!isPossible(reply, key)) lostWrites++;
    }
    return { keys: written.length, lostWrites };
  }

  async #write(key: Key): Promise<boolean> {
    const value = ++key.sent;
    const reply = await this.#command('SET', key.name, `${value} ${PAYLOAD}`);
    if (reply === null) return false;
    if (reply.type === 'text' && reply.text === 'OK') {
      key.acknowledged = value;
      counts.writes++;
    } else {
      counts.wrongAnswers++;
    }
    return true;
  }

  async #read(key: Key): Promise<boolean> {
    const reply = await this.#command('GET', key.name);
    if (reply === null) return false;
    counts.reads++;
    if (!isPossible(reply, key)) counts.wrongAnswers++;
    return true;
  }

  async #command(...words: readonly string[]): Promise<RespReply | null> {
    const reply = await this.#connection.command(...words);
    if (reply !== null) return reply;
    counts.lostConnections++;
    await sleep(PAUSE_MS);
    this.#connection = new RedisConnection();
    return null;
  }
}

function isPossible(reply: RespReply | null, key: Key): boolean {
  if (reply === null) return false;
  if (reply.type === 'nothing') return key.acknowledged === 0;
  if (reply.type !== 'text') return false;
  const value = Number(/^\d+(?= )/.exec(reply.text)?.[0] ?? Number.NaN);
  return value >= key.acknowledged && value <= key.sent && reply.text === `${value} ${PAYLOAD}`;
}

function take(readBack: RedisReport['readBack']): RedisReport {
  const report = { ...counts, longestGapMs: clock.takeGapMs(), latencyMs: latencies.take(), readBack };
  counts.writes = counts.reads = counts.wrongAnswers = counts.lostConnections = 0;
  return report;
}

setPriority(-10);
const writers = Array.from({ length: Number(connections) }, (_, number) => new KeyWriter(number));
const running = Promise.all(writers.map(async (writer) => await writer.run()));

async function finish(): Promise<RedisReport> {
  const report = take(null);
  end.abort();
  await running;
  const all = await Promise.all(writers.map(async (writer) => await writer.readBack()));
  const sum = (of: 'keys' | 'lostWrites'): number => all.reduce((total, one) => total + one[of], 0);
  return { ...report, readBack: { keys: sum('keys'), lostWrites: sum('lostWrites') } };
}

process.on('message', (question: LoadQuestion) => {
  if (question === 'take') process.send?.(take(null));
  else void finish().then((report) => process.send?.(report));
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole group of processes; this one ends with its parent.
process.on('SIGINT', () => undefined);
