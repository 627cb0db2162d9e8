import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { writeU16, writeU32 } from '../bytes/big-endian.ts';
import { LaneFrameError } from './lane-errors.ts';
import {
  decodeAck,
  decodeHello,
  DELTA_RUN,
  decodeRefuse,
  encodeAccept,
  encodeAck,
  encodeBye,
  encodeHello,
  encodeRefuse,
  encodeVerified,
  encodeVerify,
  FLAG_ZSTD,
  LANE_HEADER_BYTES,
  laneHeadBytes,
  type LaneHeader,
  LaneFrameType,
  RefuseReason,
  RUN_COUNT_MASK,
  sameHash,
  writeLaneHead,
  ZERO_RUN,
} from './lane-frame.ts';
import { LaneParser, type LaneSender } from './lane-parser.ts';

const token = new Uint8Array(32).map((_, i) => i * 7 + 1);

type Seen = Pick<LaneHeader, 'type' | 'flags' | 'sequence' | 'rawBytes' | 'deltaBytes'> & {
  runs: number[];
  payload: number[];
};

function parse(sender: LaneSender, chunks: readonly Uint8Array[]): Seen[] {
  const seen: Seen[] = [];
  const parser = new LaneParser(sender, ({ header, runs, payload }) => {
    const { type, flags, sequence, rawBytes, deltaBytes } = header;
    seen.push({ type, flags, sequence, rawBytes, deltaBytes, runs: [...runs], payload: [...payload] });
  });
  for (const chunk of chunks) parser.push(chunk);
  parser.end();
  return seen;
}

type Content = { payload?: Uint8Array; zstd?: boolean; deltaBytes?: number };

function pagesFrame(sequence: number, runs: readonly number[], content: Content = {}): Uint8Array {
  const { payload = new Uint8Array(0), zstd = false, deltaBytes = 0 } = content;
  let pages = 0;
  for (let i = 1; i < runs.length; i += 2) if (runs[i]! < DELTA_RUN) pages += runs[i]!;
  const at = laneHeadBytes(runs.length / 2);
  const out = new Uint8Array(at + payload.length);
  const header = {
    type: LaneFrameType.pages,
    flags: zstd ? FLAG_ZSTD : 0,
    sequence,
    runCount: runs.length / 2,
    payloadBytes: payload.length,
    rawBytes: pages * 4096 + deltaBytes,
    deltaBytes,
  };
  writeLaneHead(out, 0, header, Uint32Array.from(runs));
  out.set(payload, at);
  return out;
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function everyType(): { source: Uint8Array<ArrayBuffer>; destination: Uint8Array<ArrayBuffer> } {
  const source = concat([
    encodeHello({ version: 1, lane: 1, lanes: 3, token }),
    pagesFrame(1, [7, (ZERO_RUN | 4) >>> 0, 600, (ZERO_RUN | 512) >>> 0]),
    pagesFrame(2, [512, 1, 9, (ZERO_RUN | 1) >>> 0], { payload: new Uint8Array(33).fill(5), zstd: true }),
    pagesFrame(3, [40, DELTA_RUN | 2], { payload: new Uint8Array(11).fill(6), deltaBytes: 11 }),
    pagesFrame(4, []),
    encodeVerify(5, Uint32Array.of(0, 512, 9, 1), Uint32Array.of(1, 2, 0xffff_ffff, 4)),
    encodeBye(),
  ]);
  const destination = concat([
    encodeAccept(1),
    encodeAck(2, 70_000),
    encodeVerified(3, Uint32Array.of(9, 1)),
    encodeRefuse(RefuseReason.place, 'Nothing to write to'),
  ]);
  return { source, destination };
}

function* everySplit(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  for (let cut = 1; cut < bytes.length; cut++) yield [bytes.subarray(0, cut), bytes.subarray(cut)];
  yield Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
}

test('a connection yields the same frames however it is cut', () => {
  const { source, destination } = everyType();
  const expected = { source: parse('source', [source]), destination: parse('destination', [destination]) };
  assert.deepEqual(
    expected.source.map((frame) => [frame.type, frame.sequence]),
    [[1, 0], [4, 1], [4, 2], [4, 3], [4, 4], [5, 5], [6, 0]], // prettier-ignore
  );
  assert.deepEqual(
    expected.destination.map((frame) => [frame.type, frame.sequence]),
    [[2, 0], [7, 2], [8, 3], [3, 0]], // prettier-ignore
  );
  for (const chunks of everySplit(source)) assert.deepEqual(parse('source', chunks), expected.source);
  for (const chunks of everySplit(destination)) assert.deepEqual(parse('destination', chunks), expected.destination);
});

test('a hello and a refusal keep what they say', () => {
  const [hello] = parse('source', [encodeHello({ version: 1, lane: 2, lanes: 64, token })]);
  assert.deepEqual(decodeHello(Uint8Array.from(hello!.payload)), { version: 1, lane: 2, lanes: 64, token });
  const [refuse] = parse('destination', [encodeRefuse(RefuseReason.token, `Wrong tök\n${'x'.repeat(600)}`)]);
  const { reason, text } = decodeRefuse(Uint8Array.from(refuse!.payload));
  assert.equal(reason, RefuseReason.token);
  assert.equal(text, `Wrong t?k?${'x'.repeat(502)}`);
});

test('an acknowledgement keeps the busy time', () => {
  for (const busyMs of [0, 1, 70_000, 2 ** 32 - 1]) {
    const [ack] = parse('destination', [encodeAck(9, busyMs)]);
    assert.deepEqual([ack!.sequence, decodeAck(Uint8Array.from(ack!.payload))], [9, busyMs]);
  }
});

test('hashes keep both words', () => {
  const [frame] = parse('source', [encodeVerify(1, Uint32Array.of(0, 1, 5, 2), Uint32Array.of(1, 2, 0x9000_0000, 7))]);
  const payload = Uint8Array.from(frame!.payload);
  assert.ok(sameHash(payload, 0, 1, 2));
  assert.ok(sameHash(payload, 1, 0x9000_0000, 7));
  assert.ok(!sameHash(payload, 1, 0x9000_0000, 8));
  assert.ok(!sameHash(payload, 0, 2, 2));
});

const run = fc.record({
  page: fc.nat(2 ** 31 - 600),
  count: fc.integer({ min: 1, max: 4 }),
  kind: fc.constantFrom(0, ZERO_RUN, DELTA_RUN),
});

test('any frame of pages survives any cut', () => {
  fc.assert(
    fc.property(
      fc.array(run, { maxLength: 8 }),
      fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      fc.array(fc.integer({ min: 1, max: 9000 }), { maxLength: 8 }),
      fc.boolean(),
      (runs, sequence, cuts, zstd) => {
        const words = runs.flatMap(({ page, count, kind }) => [page, (count | kind) >>> 0]);
        const pagesOf = (kind: number) => runs.reduce((sum, each) => sum + (each.kind === kind ? each.count : 0), 0);
        const dataPages = pagesOf(0);
        const deltaBytes = pagesOf(DELTA_RUN) * 9;
        const compressed = zstd && dataPages > 0;
        const payload = new Uint8Array(compressed ? 1000 : dataPages * 4096 + deltaBytes).map((_, i) => i * 31);
        const bytes = pagesFrame(sequence, words, { payload, zstd: compressed, deltaBytes });
        const chunks: Uint8Array[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(bytes.subarray(at, at + cut));
          at += cut;
        }
        chunks.push(bytes.subarray(at));
        const [frame, ...more] = parse('source', chunks);
        assert.equal(more.length, 0);
        assert.deepEqual(frame!.runs, words);
        assert.equal(frame!.sequence, sequence);
        assert.equal(frame!.rawBytes, dataPages * 4096 + deltaBytes);
        assert.equal(frame!.deltaBytes, deltaBytes);
        assert.ok(Buffer.from(frame!.payload).equals(payload));
      },
    ),
    { numRuns: 60 },
  );
});

const refused: { name: string; code: string; bytes: () => Uint8Array; sender?: LaneSender }[] = [
  { name: 'type 0', code: 'LANE_FRAME_TYPE', bytes: () => new Uint8Array(LANE_HEADER_BYTES) },
  { name: 'an answer from the source', code: 'LANE_FRAME_TYPE', bytes: () => encodeAck(1, 0) },
  { name: 'pages from the destination', code: 'LANE_FRAME_TYPE', bytes: () => header(4, {}), sender: 'destination' },
  { name: 'an unknown flag', code: 'LANE_FRAME_FLAGS', bytes: () => header(4, { flags: 2 }) },
  { name: 'a flag on a frame without pages', code: 'LANE_FRAME_FLAGS', bytes: () => header(6, { flags: 1 }) },
  { name: 'reserved bytes', code: 'LANE_FRAME_RESERVED', bytes: () => header(6, { reserved: 1 }) },
  { name: 'too many runs', code: 'LANE_FRAME_TOO_LONG', bytes: () => header(4, { runCount: 513 }) },
  { name: 'too long a payload', code: 'LANE_FRAME_TOO_LONG', bytes: () => header(4, { payloadBytes: 2 ** 20 + 1 }) },
  { name: 'too much content', code: 'LANE_FRAME_TOO_LONG', bytes: () => header(4, { rawBytes: 2 ** 32 - 1 }) },
  { name: 'a short hello', code: 'LANE_FRAME_LENGTH', bytes: () => header(1, { payloadBytes: 39 }) },
  { name: 'pages without a sequence', code: 'LANE_FRAME_LENGTH', bytes: () => header(4, { runCount: 1 }) },
  {
    name: 'a raw payload of another length than its pages',
    code: 'LANE_FRAME_LENGTH',
    bytes: () => header(4, { sequence: 1, runCount: 1, payloadBytes: 4095, rawBytes: 4096 }),
  },
  {
    name: 'a compressed payload that is not shorter',
    code: 'LANE_FRAME_LENGTH',
    bytes: () => header(4, { flags: 1, sequence: 1, runCount: 1, payloadBytes: 4096, rawBytes: 4096 }),
  },
  {
    name: 'a run table that disagrees with the content length',
    code: 'LANE_FRAME_LENGTH',
    bytes: () => mutate(pagesFrame(1, [0, 1], { payload: new Uint8Array(4096) }), LANE_HEADER_BYTES + 4, 2),
  },
  { name: 'an empty run', code: 'LANE_FRAME_RUN', bytes: () => pagesFrame(1, [5, 0]) },
  {
    name: 'a run that is too long',
    code: 'LANE_FRAME_RUN',
    bytes: () => pagesFrame(1, [5, (ZERO_RUN | 513) >>> 0]),
  },
  {
    name: 'a run past the last possible page',
    code: 'LANE_FRAME_RUN',
    bytes: () => pagesFrame(1, [2 ** 32 - 1, (ZERO_RUN | 1) >>> 0]),
  },
  {
    name: 'a zero run in a verify',
    code: 'LANE_FRAME_RUN',
    bytes: () => encodeVerify(1, Uint32Array.of(0, (ZERO_RUN | 1) >>> 0), new Uint32Array(2)),
  },
  {
    name: 'a delta run in a verify',
    code: 'LANE_FRAME_RUN',
    bytes: () => encodeVerify(1, Uint32Array.of(0, DELTA_RUN | 1), new Uint32Array(2)),
  },
  {
    name: 'a run of zero deltas',
    code: 'LANE_FRAME_RUN',
    bytes: () => pagesFrame(1, [0, (ZERO_RUN | DELTA_RUN | 1) >>> 0]),
  },
  { name: 'a delta run without deltas', code: 'LANE_FRAME_LENGTH', bytes: () => pagesFrame(1, [0, DELTA_RUN | 1]) },
  {
    name: 'a delta that is longer than a delta may be',
    code: 'LANE_FRAME_LENGTH',
    bytes: () => pagesFrame(1, [0, DELTA_RUN | 1], { payload: new Uint8Array(2049), deltaBytes: 2049 }),
  },
  {
    name: 'deltas without a delta run',
    code: 'LANE_FRAME_LENGTH',
    bytes: () => pagesFrame(1, [0, 1], { payload: new Uint8Array(4105), deltaBytes: 9 }),
  },
  {
    name: 'more pages than a frame may have',
    code: 'LANE_FRAME_LENGTH',
    bytes: () => pagesFrame(1, [0, DELTA_RUN | 257], { payload: new Uint8Array(257 * 9), deltaBytes: 257 * 9 }),
  },
  { name: 'deltas of a bye', code: 'LANE_FRAME_LENGTH', bytes: () => header(6, { deltaBytes: 1 }) },
  { name: 'an end inside a frame', code: 'LANE_FRAME_TRUNCATED', bytes: () => encodeBye().subarray(0, 9) },
];

for (const { name, code, bytes, sender } of refused) {
  test(`${name} is refused`, () => {
    assert.throws(() => parse(sender ?? 'source', [bytes()]), { name: 'LaneFrameError', code });
  });
}

test('changed bytes end in frames within the limits or in a typed error, never in anything else', () => {
  const { source, destination } = everyType();
  const change = fc.array(fc.tuple(fc.nat(5000), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(change, fc.integer({ min: 1, max: 700 }), fc.boolean(), (changes, cut, fromSource) => {
      const bytes = (fromSource ? source : destination).slice();
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      try {
        for (const frame of parse(fromSource ? 'source' : 'destination', [
          bytes.subarray(0, cut),
          bytes.subarray(cut),
        ])) {
          assert.ok(frame.runs.length <= 1024 && frame.payload.length <= 2 ** 20);
          for (let i = 1; i < frame.runs.length; i += 2) assert.ok((frame.runs[i]! & RUN_COUNT_MASK) <= 512);
        }
      } catch (error) {
        if (!(error instanceof LaneFrameError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});

type Fields = Partial<Omit<LaneHeader, 'type'>> & { readonly reserved?: number };

function header(type: number, fields: Fields): Uint8Array {
  const out = new Uint8Array(LANE_HEADER_BYTES);
  out[0] = type;
  out[1] = fields.flags ?? 0;
  writeU16(out, 2, fields.reserved ?? 0);
  writeU32(out, 4, fields.sequence ?? 0);
  writeU32(out, 8, fields.runCount ?? 0);
  writeU32(out, 12, fields.payloadBytes ?? 0);
  writeU32(out, 16, fields.rawBytes ?? 0);
  writeU32(out, 20, fields.deltaBytes ?? 0);
  return out;
}

/** Sets one u32 of a frame. */
function mutate(bytes: Uint8Array, at: number, value: number): Uint8Array {
  writeU32(bytes, at, value);
  return bytes;
}
