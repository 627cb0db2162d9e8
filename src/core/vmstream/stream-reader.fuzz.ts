/**
 * Seeded mutations of legal streams: only VmStreamError may come out, soon, and with bounded memory.
 *
 *     node bin/with-node24 src/core/vmstream/stream-reader.fuzz.ts [COUNT [SEED]]      (or VMFERRY_FUZZ=COUNT)
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { VmStreamError } from './errors.ts';
import { ReturnPathReader } from './return-path.ts';
import type { VmStreamSink } from './sink.ts';
import { VmStreamReader } from './stream-reader.ts';
import { buildStream, smallSpec } from './testing.ts';

const DEFAULT_COUNT = 20_000;
const numbers = process.argv
  .slice(2)
  .filter((argument) => /^\d+$/.test(argument))
  .map(Number);
const count = numbers[0] ?? Number(process.env['VMFERRY_FUZZ'] ?? DEFAULT_COUNT);
const seed = numbers[1] ?? Number(process.env['VMFERRY_FUZZ_SEED'] ?? 1);

/** mulberry32: a whole number in [0, below). */
function randomFrom(start: number): (below: number) => number {
  let state = start >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * below);
  };
}

/** Numbers that sit on an edge of something. */
const edges = [0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10, 0x20, 0x22, 0x28, 0x40, 0x7e, 0x7f, 0x80, 0xfe, 0xff, 0x7b, 0x7d];

type Change = (bytes: Uint8Array<ArrayBuffer>, random: (below: number) => number) => Uint8Array<ArrayBuffer>;

const changes: readonly Change[] = [
  (bytes, random) => {
    bytes[random(bytes.length)]! ^= 1 << random(8);
    return bytes;
  },
  (bytes, random) => {
    bytes[random(bytes.length)] = edges[random(edges.length)]!;
    return bytes;
  },
  (bytes, random) => {
    bytes.fill(random(2) === 0 ? 0xff : 0, random(bytes.length));
    return bytes;
  },
  (bytes, random) => {
    const at = random(bytes.length);
    return bytes.fill(random(256), at, at + 1 + random(9));
  },
  (bytes, random) => bytes.slice(0, 1 + random(bytes.length)),
  (bytes, random) => bytes.copyWithin(random(bytes.length), random(bytes.length), random(bytes.length)),
  (bytes, random) => {
    const from = random(bytes.length);
    const to = Math.min(bytes.length, from + 1 + random(40));
    const longer = new Uint8Array(bytes.length + to - from);
    longer.set(bytes.subarray(0, to));
    longer.set(bytes.subarray(from), to);
    return longer;
  },
  (bytes, random) => {
    const from = random(bytes.length - 1);
    const to = Math.min(bytes.length - 1, from + 1 + random(40));
    const shorter = new Uint8Array(bytes.length - (to - from));
    shorter.set(bytes.subarray(0, from));
    shorter.set(bytes.subarray(to), from);
    return shorter;
  },
];

/** Changes favour the ends of the stream, where the structure is. */
function mutate(legal: Uint8Array<ArrayBuffer>, random: (below: number) => number): Uint8Array<ArrayBuffer> {
  let bytes = legal.slice();
  const near = (below: number): number => (random(3) === 0 ? random(Math.min(below, 400)) : random(below));
  for (let left = 1 + random(4); left > 0 && bytes.length > 2; left--)
    bytes = changes[random(changes.length)]!(bytes, near);
  return bytes;
}

/** Checks what the sink may rely on: pages lie in their blocks, content is a page, sizes are bounded by the input. */
function checkingSink(inputBytes: number, reader: () => VmStreamReader, captured: boolean): VmStreamSink {
  let pageCounts: number[] = [];
  return {
    configuration: (machineType) => assert.ok(machineType.length > 0),
    blocks: (list) => {
      pageCounts = list.map(({ usedBytes }) => usedBytes / 4096);
      if (captured) for (const block of list.keys()) reader().setCapture(block, true);
    },
    prologue: (bytes) => assert.ok(bytes.length <= inputBytes),
    command: (number, payload) => assert.ok(number < 3 && payload.length <= 4),
    page: (block, page) => assert.ok(page >= 0 && page < pageCounts[block]!),
    payload: (block, page, bytes) => assert.ok(page < pageCounts[block]! && bytes.length === 4096),
    partEnd: (pages) => assert.ok(pages * 9 <= inputBytes),
    switchoverStart: () => undefined,
    ramEndStarted: () => undefined,
    ramEnded: () => undefined,
    deviceState: (bytes) => assert.ok(bytes.length > 0 && bytes.length < inputBytes),
  };
}

/** Feeds the bytes in random pieces; true if they were accepted. Throws anything but VmStreamError on. */
function feed(
  target: { push(chunk: Uint8Array): void; end(): void },
  bytes: Uint8Array,
  random: (below: number) => number,
): boolean {
  const pieceBytes = [bytes.length, 1 + random(16), 1 + random(5000)][random(3)]!;
  try {
    for (let at = 0; at < bytes.length; at += pieceBytes) target.push(bytes.subarray(at, at + pieceBytes));
    target.end();
    return true;
  } catch (error) {
    if (!(error instanceof VmStreamError)) throw error;
    return false;
  }
}

const folder = new URL('../../../test/golden/', import.meta.url);
const golden = globSync('*.bin.gz', { cwd: folder }).map((file) => gunzipSync(readFileSync(new URL(file, folder))));
/** The first 3 KiB, where structure is, and the last 90 KiB, where device state is, of real streams. */
const bases: readonly Uint8Array<ArrayBuffer>[] = [
  buildStream({ ...smallSpec, virtioMemBits: 70, uuid: true }),
  buildStream({ ...smallSpec, parts: [[{ block: 1, page: 0, seed: null }], []], end: [] }),
  ...golden.map((stream) => Uint8Array.from(stream.subarray(0, 3072))),
];
const whole = golden.map((stream) => Uint8Array.from(stream));

test(`${count} damaged streams (seed ${seed}) give VmStreamError or a checked result`, () => {
  const random = randomFrom(seed);
  let accepted = 0;
  const startBytes = process.memoryUsage().rss;
  for (let i = 0; i < count; i++) {
    const pool = i % 500 === 0 && whole.length > 0 ? whole : bases;
    const bytes = mutate(pool[random(pool.length)]!, random);
    const reader: VmStreamReader = new VmStreamReader(checkingSink(bytes.length, () => reader, random(2) === 0));
    if (feed(reader, bytes, random)) accepted++;
    if (i % 8 === 0) feed(new ReturnPathReader(() => undefined), bytes.subarray(random(bytes.length)), random);
  }
  const grownBytes = process.memoryUsage().rss - startBytes;
  process.stdout.write(`fuzz: ${count} streams, ${accepted} accepted, memory grew by ${grownBytes >> 20} MiB\n`);
  assert.ok(grownBytes < 512 * 1024 * 1024);
});
