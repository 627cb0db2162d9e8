/**
 * Loads recorded streams into a real destination QEMU the way vmferry does: prologue, OPEN_RETURN_PATH, then an epilogue
 * composed from what the reader told. A check by hand of what unit tests cannot know: that QEMU accepts it.
 *
 *     node bin/with-node24 scripts/replay-golden.ts
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { ReturnPathReader, type ReturnPathMessage } from '../src/core/vmstream/return-path.ts';
import { VmStreamReader } from '../src/core/vmstream/stream-reader.ts';
import { composeEpilogue, openReturnPath, ping, type SidePage } from '../src/core/vmstream/stream-writer.ts';
import { GoldenQemu } from './golden-qemu.ts';

const qemu7 = '/usr/bin/qemu-system-x86_64';
const qemu10 = fileURLToPath(new URL('../.cache/qemu-10/bin/qemu-system-x86_64', import.meta.url));
const ANSWER_MS = 10_000;

type Composed = { readonly prologue: Uint8Array; readonly epilogue: Uint8Array };

/** Prologue and epilogue of a recording; all its pages, each with its newest content, travel as side pages. */
function compose(name: string): Composed {
  const packed = readFileSync(fileURLToPath(new URL(`../test/golden/${name}.bin.gz`, import.meta.url)));
  const pages = new Map<string, SidePage>();
  let blocks: string[] = [];
  let prologue = new Uint8Array(0);
  let deviceState = new Uint8Array(0);
  const keep = (block: number, page: number, bytes: Uint8Array | null): void => {
    pages.set(`${block}/${page}`, { block: blocks[block] ?? '', page, bytes });
  };
  const reader: VmStreamReader = new VmStreamReader({
    configuration: () => undefined,
    blocks: (list) => {
      blocks = list.map((block) => block.name);
      for (const index of list.keys()) reader.setCapture(index, true);
    },
    prologue: (bytes) => (prologue = bytes),
    command: () => undefined,
    page: (block, page) => keep(block, page, null),
    payload: (block, page, bytes) => keep(block, page, bytes.slice()),
    partEnd: () => undefined,
    switchoverStart: () => undefined,
    ramEndStarted: () => undefined,
    ramEnded: () => undefined,
    deviceState: (bytes) => (deviceState = bytes),
  });
  reader.push(gunzipSync(packed));
  const epilogue = composeEpilogue({
    ramSectionId: reader.ramSectionId,
    sidePages: [...pages.values()],
    switchoverStart: reader.sawSwitchoverStart,
    deviceState,
  });
  return { prologue, epilogue };
}

/** Feeds a waiting QEMU; returns what it said on its return path until it closed. */
async function feed(path: string, { prologue, epilogue }: Composed): Promise<ReturnPathMessage[]> {
  const messages: ReturnPathMessage[] = [];
  const returnPath = new ReturnPathReader((message) => messages.push(message));
  const socket = connect(path);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.on('data', (chunk) => returnPath.push(chunk));
  socket.once('close', () => resolve());
  socket.once('error', reject);
  socket.write(prologue);
  socket.write(openReturnPath());
  socket.write(ping(1));
  await sleep(200);
  socket.write(epilogue);
  const late = setTimeout(() => socket.destroy(new Error('No SHUT from the destination')), ANSWER_MS);
  await promise;
  clearTimeout(late);
  return messages;
}

async function replay(name: string, binary: string, args: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'golden-'));
  const path = join(folder, 'migration');
  try {
    await using qemu = await GoldenQemu.start(binary, ['-S', '-incoming', 'defer', ...args]);
    await qemu.setCapabilities({ 'late-block-activate': true });
    await qemu.execute('migrate-incoming', { uri: `unix:${path}` });
    const messages = await feed(path, compose(name));
    const statusOf = async (): Promise<string> => (await qemu.execute<{ status: string }>('query-status')).status;
    const loaded = await statusOf();
    assert.deepEqual(messages, [
      { type: 'pong', value: 1 },
      { type: 'shut', value: 0 },
    ]);
    // A guest that never ran at the source takes its state "prelaunch" along.
    assert.equal(loaded, name.endsWith('return-path') ? 'paused' : 'prelaunch');
    await qemu.execute('cont');
    await sleep(300);
    return `${loaded}, SHUT(0); after cont ${await statusOf()}`;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const virtioMem = ['-m', '16M,slots=2,maxmem=1G', '-object', 'memory-backend-ram,id=vm0,size=256M'];
virtioMem.push('-device', 'virtio-mem-pci,id=mem0,memdev=vm0,requested-size=0');
const old = ['-M', 'pc-q35-7.2'];
const cases: readonly (readonly [name: string, binary: string, args: readonly string[]])[] = [
  ['qemu-7.2-stopped', qemu7, old],
  ['qemu-7.2-return-path', qemu7, old],
  ['qemu-7.2-stopped', qemu10, old],
  ['qemu-7.2-return-path', qemu10, old],
  ['qemu-10-stopped', qemu10, ['-M', 'q35']],
  ['qemu-10-return-path', qemu10, ['-M', 'q35']],
  ['qemu-10-machine-7.2', qemu10, old],
  ['qemu-10-machine-7.2', qemu7, old],
  ['qemu-10-virtio-mem', qemu10, ['-M', 'q35', ...virtioMem]],
];
for (const [name, binary, args] of cases) {
  const version = binary === qemu7 ? '7.2' : '10';
  console.log(`${name} -> QEMU ${version}: ${await replay(name, binary, args)}`);
}
