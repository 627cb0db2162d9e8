/**
 * A process of its own that asks a guest's nginx for files over connections that it keeps; started by load-process.ts.
 *
 *     node web-client.ts ADDRESS PORT CONNECTIONS REQUESTS_PER_S
 *
 * A file's content never changes (guests/debian/image.ts), so each answer is compared with the first one.
 */
import { setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'undici';
import { LatencyHistogram } from './latency-histogram.ts';
import { LoadClock } from './load-clock.ts';
import type { LoadQuestion, WebReport } from './load-report.ts';

const paths = ['small', 'large'].flatMap((size) => Array.from({ length: 8 }, (_, file) => `/${size}-${file}`));
/** A guest may be moved in this time; TCP itself gives up much later. */
const REQUEST_TIMEOUT_MS = 30_000;
/** After a failure, so that a server that is gone is not asked a million times. */
const PAUSE_MS = 100;

const [address = '', port = '', connections = '', requestsPerS = ''] = process.argv.slice(2);
const contents = new Map<string, Buffer>();
const latencies = new LatencyHistogram();
const clock = new LoadClock(Number(requestsPerS));
const counts = { requests: 0, failedRequests: 0, lostConnections: 0 };
let ready = false;
const end = new AbortController();

async function ask(client: Client, path: string): Promise<boolean> {
  const { statusCode, body } = await client.request({ method: 'GET', path });
  const content = Buffer.from(await body.arrayBuffer());
  if (statusCode !== 200) return false;
  const first = contents.get(path);
  if (first === undefined) contents.set(path, content);
  return first === undefined || first.equals(content);
}

async function keepAsking(connection: number): Promise<void> {
  const timeouts = { headersTimeout: REQUEST_TIMEOUT_MS, bodyTimeout: REQUEST_TIMEOUT_MS, connectTimeout: 5000 };
  // The server closes a connection after 300 s without a request: never here.
  const client = new Client(`http://${address}:${port}`, { ...timeouts, pipelining: 1, keepAliveTimeout: 200_000 });
  client.on('disconnect', () => {
    if (!end.signal.aborted) counts.lostConnections++;
  });
  for (let turn = connection; !end.signal.aborted; turn++) {
    const waitMs = clock.waitMs();
    if (waitMs >= 1) await sleep(waitMs);
    const sentMs = performance.now();
    const sound = await ask(client, paths[turn % paths.length]!).catch(() => false);
    // The last one is cut off where the load ends in the middle of it.
    if (end.signal.aborted) return void client.destroy();
    if (!sound) {
      counts.failedRequests++;
      await sleep(PAUSE_MS);
      continue;
    }
    latencies.add(performance.now() - sentMs);
    clock.answered();
    counts.requests++;
    if (!ready) process.send?.('ready');
    ready = true;
  }
}

function take(): WebReport {
  const report = { ...counts, longestGapMs: clock.takeGapMs(), latencyMs: latencies.take() };
  counts.requests = counts.failedRequests = counts.lostConnections = 0;
  return report;
}

setPriority(-10);
process.on('message', (question: LoadQuestion) => {
  process.send?.(take());
  if (question === 'finish') end.abort();
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole group of processes; this one ends with its parent.
process.on('SIGINT', () => undefined);
for (let connection = 0; connection < Number(connections); connection++) void keepAsking(connection);
