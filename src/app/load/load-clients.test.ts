/** What goes wrong at a server must show in its clients' reports: servers that lose writes, connections and content. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { LoadQuestion, RedisReport, WebReport } from './load-report.ts';

/** Long enough for hundreds of requests. */
const LOAD_MS = 400;

async function ask<Report>(client: ChildProcess, question: LoadQuestion): Promise<Report> {
  const answer = once(client, 'message') as Promise<[Report]>;
  client.send(question);
  return (await answer)[0];
}

/** Loads a server for a while and returns the last report. */
async function load<Report>(program: string, server: Server): Promise<Report> {
  if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const file = fileURLToPath(new URL(program, import.meta.url));
  const client = fork(file, ['127.0.0.1', String(port), '2', '0'], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  try {
    await once(client, 'message');
    await sleep(LOAD_MS);
    return await ask<Report>(client, 'finish');
  } finally {
    client.disconnect();
    server.close();
  }
}

type Fault = (command: number) => 'forget' | 'hang up' | null;

/** SET and GET, as our client sends them: one whole command in each piece. */
function redisLike(fault: Fault): Server {
  const values = new Map<string, string>();
  let commands = 0;
  return createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      const [, , name = '', , key = '', , value = ''] = bytes.toString().split('\r\n');
      const wrong = fault(commands++);
      if (wrong === 'hang up') return void socket.destroy();
      if (name === 'SET') {
        if (wrong !== 'forget') values.set(key, value);
        return void socket.write('+OK\r\n');
      }
      const found = values.get(key);
      socket.write(found === undefined ? '$-1\r\n' : `$${found.length}\r\n${found}\r\n`);
    });
  });
}

test('a sound Redis is found sound', async () => {
  const report = await load<RedisReport>(
    './redis-client.ts',
    redisLike(() => null),
  );
  assert.deepEqual([report.wrongAnswers, report.lostConnections, report.readBack?.lostWrites], [0, 0, 0]);
  assert.ok(report.writes > 20 && report.reads > 20 && (report.readBack?.keys ?? 0) > 20, JSON.stringify(report));
});

test('writes that Redis acknowledged and forgot are found', async () => {
  const report = await load<RedisReport>(
    './redis-client.ts',
    redisLike((command) => (command % 10 === 0 ? 'forget' : null)),
  );
  assert.ok((report.readBack?.lostWrites ?? 0) > 0, JSON.stringify(report));
  assert.ok(report.wrongAnswers > 0, JSON.stringify(report));
});

test('connections that Redis closed are counted, and a write that was under way then is no lost one', async () => {
  const report = await load<RedisReport>(
    './redis-client.ts',
    redisLike((command) => (command === 60 ? 'hang up' : null)),
  );
  assert.deepEqual([report.wrongAnswers, report.lostConnections, report.readBack?.lostWrites], [0, 1, 0]);
});

function webLike(wrong: 'nothing' | 'content' | 'status' | 'hang up'): Server {
  let requests = 0;
  return createHttpServer((request, response) => {
    const due = ++requests % 50 === 0;
    if (due && wrong === 'hang up') return void request.socket.destroy();
    response.statusCode = due && wrong === 'status' ? 500 : 200;
    response.end(due && wrong === 'content' ? 'other' : `content of ${request.url}`);
  });
}

test('a web server is found sound, or not, by content, status and connections', async () => {
  const sound = await load<WebReport>('./web-client.ts', webLike('nothing'));
  assert.deepEqual([sound.failedRequests, sound.lostConnections], [0, 0]);
  assert.ok(sound.requests > 100 && sound.latencyMs !== null && sound.longestGapMs < LOAD_MS, JSON.stringify(sound));
  for (const wrong of ['content', 'status'] as const) {
    const report = await load<WebReport>('./web-client.ts', webLike(wrong));
    assert.ok(report.failedRequests > 0, `${wrong}: ${JSON.stringify(report)}`);
    assert.equal(report.lostConnections, 0);
  }
  const cut = await load<WebReport>('./web-client.ts', webLike('hang up'));
  assert.ok(cut.failedRequests > 0 && cut.lostConnections > 0, JSON.stringify(cut));
});
