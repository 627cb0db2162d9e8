import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { vmSpecSchema } from '../../core/model/vm.ts';
import { WARM_UP_FEATURE } from '../../core/wire/control-messages.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { silentLogger } from '../../io/log/logger.ts';
import { GuestPruning, type PruningOptions } from './guest-pruning.ts';
import type { PruneAnswer } from './pump-protocol.ts';

const PAGES = 16_384;
const layout = {
  blocks: [{ name: 'pc.ram', pageCount: 2 * PAGES }],
  windows: [{ gpa: 0, bytes: 2 * PAGES * 4096, block: 'pc.ram', offset: 0, readOnly: false }],
  isPaced: false,
};

type Command = {
  readonly execute: string;
  readonly arguments?: {
    readonly id?: number;
    readonly path?: string;
    readonly handle?: number;
    readonly count?: number;
  };
};

/** A guest of 128 MiB whose files can be changed, with an agent that can be slow or refuse to write. */
class Guest {
  readonly folder = mkdtempSync(join(tmpdir(), 'prune-'));
  readonly path = join(this.folder, 's');
  readonly files: Record<string, Buffer> = {
    '/proc/cmdline': Buffer.from('quiet\n'),
    '/proc/meminfo': Buffer.from('MemTotal: 131072 kB\nMemFree: 65536 kB\nCached: 32768 kB\n'),
    // Clean cache, all of it: LRU alone.
    '/proc/kpageflags': Buffer.alloc(2 * PAGES * 8, Buffer.of(1 << 5, 0, 0, 0, 0, 0, 0, 0)),
  };
  readonly written: string[] = [];
  /** Of each answer to a flush. */
  flushError: string | null = null;
  readDelayMs = 0;
  /** Sent beyond what was asked for. */
  extraBytes = 0;
  /** Files opened and not closed. */
  openFiles = 0;
  isSilent = false;
  /** How each program ends: its exit code and what it prints; null: it never does. Undefined: the agent forbids programs. */
  program: { code: number; output: string } | null | undefined;
  /** The scripts of programs, and between them the files written. */
  readonly done: string[] = [];
  readonly #sockets: Socket[] = [];
  readonly #handles: { path: string; at: number }[] = [];
  readonly #server = createServer((socket) => {
    this.#sockets.push(socket);
    const lines = createInterface(socket.on('error', () => undefined).setEncoding('latin1'));
    lines.on('error', () => undefined);
    lines.on('line', (line) => void this.#answer(socket, JSON.parse(line.replaceAll('\xff', '')) as Command));
  });

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.path, resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.folder, { recursive: true });
  }

  async #answer(socket: Socket, { execute, arguments: given = {} }: Command): Promise<void> {
    if (this.isSilent) return;
    const file = this.#handles[given.handle ?? -1];
    let result: unknown = {};
    if (execute === 'guest-sync-delimited') result = given.id;
    if (execute === 'guest-file-open') {
      this.openFiles++;
      result = this.#handles.push({ path: given.path ?? '', at: 0 }) - 1;
    }
    if (execute === 'guest-file-close') this.openFiles--;
    if (execute === 'guest-file-write') {
      this.written.push(file?.path ?? '');
      this.done.push(file?.path ?? '');
    }
    if (execute === 'guest-exec') {
      this.done.push(given.path ?? '');
      result = { pid: 7 };
    }
    if (execute === 'guest-exec-status' && this.program !== undefined) {
      const { code = 0, output = '' } = this.program ?? {};
      const ended = { exited: true, exitcode: code, 'out-data': Buffer.from(output).toString('base64') };
      result = this.program === null ? { exited: false } : ended;
    }
    if (execute === 'guest-file-read' && file !== undefined) {
      if (file.path === '/proc/kpageflags') await sleep(this.readDelayMs);
      const bytes = this.files[file.path]!.subarray(file.at, file.at + (given.count ?? 0) + this.extraBytes);
      file.at += bytes.length;
      result = { count: bytes.length, 'buf-b64': bytes.toString('base64') };
    }
    const isRefused = execute === 'guest-file-flush' && this.flushError !== null;
    const isForbidden = execute === 'guest-exec' && this.program === undefined;
    const desc = isForbidden ? 'Command guest-exec has been disabled' : this.flushError;
    const answer = isRefused || isForbidden ? { error: { class: 'GenericError', desc } } : { return: result };
    const sentinel = execute === 'guest-sync-delimited' ? '\xff' : '';
    socket.write(Buffer.from(`${sentinel}${JSON.stringify(answer)}\n`, 'latin1'));
  }
}

type Scene = { guest: Guest; pruning: GuestPruning; answers: PruneAnswer[]; said: string[] };

async function withGuest(options: Partial<PruningOptions>, run: (scene: Scene) => Promise<void>): Promise<void> {
  await using guest = new Guest();
  await guest.listen();
  const spec = vmSpecSchema.parse({ name: 'one', memory: '128M' });
  const paths = { qmpPath: '', qgaPath: guest.path, runFolder: guest.folder };
  const said: string[] = [];
  const all: PruningOptions = { prune: 'soft', keepCache: false, dropSlabs: false, warmUp: false, ...options };
  const pruning = new GuestPruning({ name: 'one', spec, pid: 1, startTicks: 1, ...paths }, all, (text) =>
    said.push(text),
  );
  const answers: PruneAnswer[] = [];
  pruning.deliverTo((answer) => answers.push(answer));
  try {
    await run({ guest, pruning, answers, said });
  } finally {
    pruning.close();
  }
}

async function until(what: string, look: () => boolean): Promise<void> {
  for (let n = 0; !look(); n++) {
    assert.ok(n < 500, what);
    await sleep(10);
  }
}

function ask(pruning: GuestPruning, isProof: boolean): void {
  for (const firstPage of [0, PAGES]) {
    pruning.order({ type: 'report', firstPage, pages: PAGES, isProof, isLast: firstPage === PAGES });
  }
}

const has = (answers: readonly PruneAnswer[], type: PruneAnswer['type'], count = 1) =>
  answers.filter((answer) => answer.type === type).length === count;

test('a small guest drops its cache first, then what it calls free is proof', async () => {
  await withGuest({}, async ({ guest, pruning, answers, said }) => {
    pruning.start(Promise.resolve(layout));
    await until('ready', () => has(answers, 'agentReady'));
    assert.deepEqual(answers, [{ type: 'agentAnswered' }, { type: 'agentReady', isProof: true }]);
    assert.deepEqual(guest.written, ['/proc/sys/vm/drop_caches']);
    ask(pruning, true);
    await until('answered', () => has(answers, 'pageReport', 2));
    await until('all files are closed', () => guest.openFiles === 0);
    assert.deepEqual([pruning.note, said.length], [null, 2]);
  });
});

test('a guest that cannot reclaim keeps its cache, a note says so, and it is asked all the same', async () => {
  await withGuest({ keepCache: true }, async ({ guest, pruning, answers }) => {
    pruning.start(Promise.resolve(layout));
    await until('ready', () => has(answers, 'agentReady'));
    ask(pruning, false);
    await until('answered', () => has(answers, 'pageReport', 2));
    guest.flushError = 'failed to flush file: Invalid argument';
    pruning.order({ type: 'drop' });
    await until('dropped', () => has(answers, 'cacheDropped'));
    ask(pruning, true);
    await until('answered again', () => has(answers, 'pageReport', 4));
    assert.match(pruning.note ?? '', /kept all of its file cache/);
    assert.ok(guest.written.every((path) => path === '/sys/fs/cgroup/memory.reclaim'));
  });
});

test('a kernel that gives less cache than it was asked for is not asked for more', async () => {
  await withGuest({ keepCache: true }, async ({ guest, pruning, answers }) => {
    pruning.start(Promise.resolve(layout));
    await until('ready', () => has(answers, 'agentReady'));
    ask(pruning, false);
    guest.flushError = 'failed to flush file: Resource temporarily unavailable';
    pruning.order({ type: 'drop' });
    await until('dropped', () => has(answers, 'cacheDropped'));
    assert.deepEqual([guest.written.length, pruning.note], [1, null]);
  });
});

test('a guest that started anew with another kernel is looked at again before it is believed', async () => {
  await withGuest({}, async ({ guest, pruning, answers }) => {
    pruning.start(Promise.resolve(layout));
    await until('ready', () => has(answers, 'agentReady'));
    ask(pruning, true);
    await until('answered', () => has(answers, 'pageReport', 2));
    guest.files['/proc/cmdline'] = Buffer.from('quiet page_poison=1\n');
    ask(pruning, true);
    await until('given up', () => has(answers, 'pruningFailed'));
    assert.match(pruning.note ?? '', /^Nothing more of VM "one" was left out.*page_poison/);
    assert.ok(has(answers, 'pageReport', 2));
  });
});

test('an agent that takes its time with each question is given up once it has cost too much', async () => {
  await withGuest({ prune: 'free' }, async ({ guest, pruning, answers }) => {
    pruning.start(Promise.resolve(layout));
    await until('ready', () => has(answers, 'agentReady'));
    guest.readDelayMs = 2_000;
    for (let pass = 0; pass < 3; pass++) ask(pruning, true);
    const startMs = performance.now();
    while (!has(answers, 'pruningFailed') && performance.now() - startMs < 10_000) await sleep(50);
    assert.match(pruning.note ?? '', /too slow/);
    assert.ok(has(answers, 'pageReport', 2), 'the third question exceeds what all may take');
  });
});

test('an agent that sends more than it was asked for is given up', async () => {
  await withGuest({ prune: 'free' }, async ({ guest, pruning, answers }) => {
    pruning.start(Promise.resolve(layout));
    await until('ready', () => has(answers, 'agentReady'));
    guest.extraBytes = 8;
    ask(pruning, true);
    await until('given up', () => has(answers, 'pruningFailed'));
    assert.match(pruning.note ?? '', /sends more than 131072 bytes of \/proc\/kpageflags/);
    assert.ok(!answers.some(({ type }) => type === 'pageReport'));
  });
});

test('a guest that stops before its agent has said a word gets a note; an open file is given back', async () => {
  await withGuest({}, async ({ guest, pruning, answers }) => {
    guest.isSilent = true;
    pruning.start(Promise.resolve(layout));
    await sleep(50);
    pruning.close();
    assert.match(
      pruning.note ?? '',
      /^Nothing of VM "one" was left out as unneeded: its guest agent did not answer in time/,
    );
    assert.deepEqual(answers, []);
  });
  await withGuest({ prune: 'free' }, async ({ guest, pruning, answers }) => {
    pruning.start(Promise.resolve(layout));
    await until('ready', () => has(answers, 'agentReady'));
    pruning.order({ type: 'report', firstPage: 0, pages: PAGES, isProof: true, isLast: false });
    await until('answered', () => has(answers, 'pageReport'));
    assert.equal(guest.openFiles, 1);
    pruning.close();
    await until('closed', () => guest.openFiles === 0);
    assert.equal(pruning.note, null);
  });
});

const connectionTo = (
  features: readonly string[],
  sent: [string, string][] = [],
): Pick<ControlConnection, 'peerName' | 'peerHello' | 'send'> => ({
  peerName: 'b',
  peerHello: { type: 'hello', protocolVersion: 2, features: [...features], software: 'vmferry', host: 'b' },
  send: async ({ type }, attachment) => {
    await Promise.resolve();
    sent.push([type, Buffer.from(attachment ?? []).toString()]);
  },
});

test('files in the cache are named before it is dropped, and the destination is told', async () => {
  await withGuest({ warmUp: true }, async ({ guest, pruning, answers }) => {
    guest.program = { code: 124, output: '/db\n\n4194304 8000000 /db\n8192 8192 /a\\x20b\n' };
    pruning.start(Promise.resolve(layout));
    await until('ready', () => has(answers, 'agentReady'));
    assert.deepEqual(guest.done, ['timeout', '/proc/sys/vm/drop_caches']);
    const sent: [string, string][] = [];
    await pruning.warmUpThere(connectionTo([WARM_UP_FEATURE], sent));
    assert.deepEqual(sent, [['hotFiles', '/db\n/a b\n']]);
    const note = 'VM "one" reads 2 files of its former cache (4.01 MiB) again, in the background';
    assert.deepEqual([pruning.note, pruning.notes], [null, [note]]);
    await pruning.warmUpThere(connectionTo([], sent));
    assert.equal(sent.length, 1);
    assert.match(pruning.notes.join(), /does not read .* again: host "b" runs an older vmferry$/);
  });
});

test('a guest that goes on at the source reads what it dropped there again', async () => {
  await withGuest({ warmUp: true }, async ({ guest, pruning, answers }) => {
    guest.program = { code: 0, output: '\n8192 8192 /a\n' };
    pruning.start(Promise.resolve(layout));
    await until('ready', () => has(answers, 'agentReady'));
    pruning.close();
    await pruning.warmUpHere(silentLogger);
    assert.deepEqual(guest.done, ['timeout', '/proc/sys/vm/drop_caches', 'sh']);
    assert.deepEqual(pruning.notes, []);
  });
});

test('an agent that runs no programs, or none that end, and a guest without fincore: the cache is dropped all the same', async () => {
  const cases = [
    [undefined, /guest-exec has been disabled/],
    [{ code: 3, output: '' }, /no program "fincore"/],
    [null, /waited 2500 ms in vain for timeout/],
  ] as const;
  for (const [program, reason] of cases) {
    await withGuest({ warmUp: true }, async ({ guest, pruning, answers }) => {
      guest.program = program;
      pruning.start(Promise.resolve(layout));
      await until('ready', () => has(answers, 'agentReady'));
      assert.deepEqual(guest.written, ['/proc/sys/vm/drop_caches']);
      assert.equal(pruning.note, null);
      assert.match(pruning.notes.join(), /^VM "one" does not read the files of its cache again: /);
      assert.match(pruning.notes.join(), reason);
      const sent: [string, string][] = [];
      await pruning.warmUpThere(connectionTo([WARM_UP_FEATURE], sent));
      assert.deepEqual(sent, []);
    });
  }
});

test('where no cache is dropped nothing is listed', async () => {
  await withGuest({ warmUp: true, prune: 'free' }, async ({ guest, pruning, answers }) => {
    pruning.start(Promise.resolve(layout));
    await until('ready', () => has(answers, 'agentReady'));
    assert.deepEqual([guest.done, pruning.notes], [[], []]);
  });
});
