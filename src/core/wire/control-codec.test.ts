import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  attachmentChunks,
  ControlParser,
  encodeControl,
  epilogueMessages,
  type ReceivedMessage,
} from './control-codec.ts';
import { controlMessageTypes, PROTOCOL_VERSION, type ControlMessage } from './control-messages.ts';
import { ControlWireError } from './errors.ts';
import { FRAME_HEADER_BYTES, readFrameHeader } from './frame.ts';
import { ATTACHMENT_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, HEAD_BYTES_MAX, TEXT_CHARS_MAX } from './limits.ts';

const request = {
  migrationId: 'm-1',
  sourceHost: 'alpha',
  spec: {
    name: 'web',
    machine: 'pc-q35-7.2',
    cpu: 'max',
    vcpus: 2,
    memory: 1 << 30,
    accelerator: 'auto' as const,
    sharedMemory: false,
    disks: [{ source: 'nbd://10.0.0.9:10809/web', format: 'raw' as const, readOnly: false, cache: 'none' as const }],
    networks: [{ type: 'none' as const }],
    guestAgent: true,
    qemuArguments: ['-device', 'virtio-rng-pci'],
  },
  qemuVersion: '10.0.2',
  machine: 'pc-q35-7.2',
  leaseMs: 30_000,
  pull: false,
};

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const samples: [ControlMessage, (Uint8Array | null)?][] = [
  [{ type: 'hello', protocolVersion: PROTOCOL_VERSION, features: [], software: 'vmferry 0.1.0', host: 'alpha' }],
  [{ type: 'preflight', request }],
  [{ type: 'load' }],
  [{ type: 'loadResult', processors: 64, idle: 0.25 }],
  [{ type: 'preflightResult', problems: [{ code: 'NO_DISK', message: 'Müller hat keine 💾.\n' }] }],
  [
    {
      type: 'reserve',
      request,
      lanes: 2,
      blocks: [{ name: 'pc.ram', bytes: 1 << 30 }],
    },
  ],
  [
    {
      type: 'reserved',
      token: 'ab'.repeat(32),
      lanePorts: [7080, 7081],
      qemuVersion: '10.0.2',
      directBlocks: ['pc.ram'],
      leaseMs: 1,
    },
  ],
  [{ type: 'refused', problems: [{ code: 'NO_MEMORY', message: '' }] }],
  [{ type: 'prologue' }, bytes(0x51, 0x45, 0x56, 0x4d)],
  [{ type: 'prologueLoaded' }],
  [{ type: 'hotFiles' }, bytes(5)],
  [{ type: 'sidePart' }, bytes(9)],
  [{ type: 'epilogue', last: false }, bytes(1, 2, 3)],
  [{ type: 'epilogue', last: true }, bytes()],
  [{ type: 'prepared', loadMs: 1.25 }],
  [{ type: 'commit', migrationId: 'm1' }],
  [{ type: 'active', resumeMs: 0, pulling: true, pull: null }],
  [{ type: 'active', resumeMs: 0, pulling: false, pull: { ms: 1.5, faults: 2, medianMs: 0.5, p99Ms: null } }],
  [{ type: 'pullPages', ramSectionId: 2, last: true }, bytes(0, 0, 0, 0, 0, 0, 0, 1)],
  [{ type: 'pull', id: 0, urgent: true }, bytes(0, 0, 0, 9, 0, 0, 0, 1)],
  [{ type: 'pulled', id: 0, zstd: false }, bytes(1)],
  [{ type: 'done', migrationId: 'm1' }],
  [{ type: 'released', agentCpuMs: 12.5, qemuCpuMs: null }],
  [{ type: 'abort', migrationId: 'm1', code: 'CANCELLED', reason: 'by the user' }],
  [{ type: 'aborted' }],
  [{ type: 'gone', migrationId: 'm-1', mayHaveRun: false }],
  [{ type: 'failed', code: 'FERRY_QEMU', message: 'QEMU ended', guest: 'running at source' }],
  [{ type: 'query', migrationId: 'm-1' }],
  [{ type: 'outcome', outcome: 'undecided' }],
  [{ type: 'ping', id: 0 }],
  [{ type: 'pong', id: 2 ** 53 - 1 }],
  [{ type: 'probe', last: true }, bytes(1, 2, 3)],
  [{ type: 'probed', bytes: 131_072, ms: 1.5 }],
];

function join(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const encode = (message: unknown, attachment: Uint8Array | null = null): Uint8Array =>
  join(encodeControl(message as ControlMessage, attachment));

function parse(pieces: readonly Uint8Array[]): ReceivedMessage[] {
  const parser = new ControlParser();
  const messages = pieces.flatMap((piece) => parser.push(piece));
  parser.finish();
  return messages;
}

/** A frame with any head, as a hostile or foreign peer might send it. */
function rawFrame(head: string, type = 1, tail: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = Uint8Array.from(head, (character) => character.charCodeAt(0));
  const size = type === 2 ? 4 : 0;
  const out = new Uint8Array(FRAME_HEADER_BYTES + size + text.length + tail.length);
  const view = new DataView(out.buffer);
  view.setUint8(0, type);
  view.setUint32(4, out.length - FRAME_HEADER_BYTES);
  if (size > 0) view.setUint32(8, text.length);
  out.set(text, FRAME_HEADER_BYTES + size);
  out.set(tail, FRAME_HEADER_BYTES + size + text.length);
  return out;
}

const expected = samples.map(([message, attachment]) => ({ message, attachment: attachment ?? null }));
const plain = (messages: readonly ReceivedMessage[]): unknown =>
  messages.map(({ message, attachment }) => ({ message, attachment: attachment && Uint8Array.from(attachment) }));

const throwsCode = (code: string, action: () => unknown): void => {
  assert.throws(action, (error) => error instanceof ControlWireError && error.code === code);
};

test('the samples cover every message type', () => {
  assert.deepEqual(new Set(samples.map(([message]) => message.type)), controlMessageTypes);
});

test('every message survives the round trip', () => {
  assert.deepEqual(plain(parse(samples.map(([message, attachment]) => encode(message, attachment)))), expected);
});

test('a frame has exactly the documented bytes', () => {
  assert.deepEqual(
    encode({ type: 'epilogue', last: true }, bytes(0xaa)),
    join([
      bytes(2, 0, 0, 0, 0, 0, 0, 36),
      bytes(0, 0, 0, 31),
      Uint8Array.from('{"type":"epilogue","last":true}', (c) => c.charCodeAt(0)),
      bytes(0xaa),
    ]),
  );
});

test('every split of the bytes gives the same messages', () => {
  const whole = join(samples.map(([message, attachment]) => encode(message, attachment)));
  for (let cut = 1; cut < whole.length; cut++) {
    assert.equal(parse([whole.subarray(0, cut), whole.subarray(cut)]).length, samples.length);
  }
  assert.deepEqual(plain(parse(Array.from(whole, (_, i) => whole.subarray(i, i + 1)))), expected);
});

test('property: random splits of random messages give the same messages', () => {
  const text = fc.string({ maxLength: 60, unit: 'binary' });
  const message = fc.oneof(
    fc.record({
      type: fc.constant('abort' as const),
      migrationId: fc.constant('m1'),
      code: fc.constant('X'),
      reason: text,
    }),
    fc.record({ type: fc.constant('ping' as const), id: fc.nat() }),
    fc.record({ type: fc.constant('epilogue' as const), last: fc.boolean() }),
  );
  const item = fc.tuple(message, fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(fc.array(item, { maxLength: 8 }), fc.array(fc.nat({ max: 97 }), { minLength: 1 }), (items, steps) => {
      const wanted = items.map(([m, a]) => ({ message: { ...m }, attachment: m.type === 'epilogue' ? a : null }));
      const whole = join(wanted.map((w) => encode(w.message, w.attachment)));
      const pieces: Uint8Array[] = [];
      for (let at = 0, i = 0; at < whole.length; i++) {
        const step = (steps[i % steps.length] ?? 0) + 1;
        pieces.push(whole.subarray(at, at + step));
        at += step;
      }
      assert.deepEqual(plain(parse(pieces)), wanted);
    }),
    { numRuns: 200 },
  );
});

test('property: damaged bytes give messages or a ControlWireError, nothing else', () => {
  const whole = join(samples.map(([message, attachment]) => encode(message, attachment)));
  const damage = fc.array(fc.tuple(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 })), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(damage, fc.nat({ max: whole.length }), (changes, end) => {
      const bad = Uint8Array.from(whole.subarray(0, end));
      for (const [at, value] of changes) if (at < bad.length) bad[at] = value;
      try {
        parse([bad]);
      } catch (error) {
        assert.ok(error instanceof ControlWireError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test('property: bytes that never were a message give a ControlWireError or nothing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 8, maxLength: 64 }), (noise) => {
      try {
        assert.deepEqual(new ControlParser().push(noise), []);
      } catch (error) {
        assert.ok(error instanceof ControlWireError, String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

test('headers are checked field by field', () => {
  throwsCode('WIRE_FRAME_TYPE', () => readFrameHeader(bytes(0, 0, 0, 0, 0, 0, 0, 2)));
  throwsCode('WIRE_FRAME_TYPE', () => readFrameHeader(bytes(3, 0, 0, 0, 0, 0, 0, 2)));
  throwsCode('WIRE_FRAME_RESERVED', () => readFrameHeader(bytes(1, 1, 0, 0, 0, 0, 0, 2)));
  throwsCode('WIRE_FRAME_RESERVED', () => readFrameHeader(bytes(1, 0, 0, 9, 0, 0, 0, 2)));
  throwsCode('WIRE_HEAD_LENGTH', () => readFrameHeader(bytes(1, 0, 0, 0, 0, 0, 0, 0)));
  throwsCode('WIRE_FRAME_TOO_LONG', () => readFrameHeader(bytes(2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)));
  const header = (type: number, size: number): Uint8Array => {
    const out = bytes(type, 0, 0, 0, 0, 0, 0, 0);
    new DataView(out.buffer).setUint32(4, size);
    return out;
  };
  assert.equal(readFrameHeader(header(1, HEAD_BYTES_MAX)).payloadBytes, HEAD_BYTES_MAX);
  throwsCode('WIRE_FRAME_TOO_LONG', () => readFrameHeader(header(1, HEAD_BYTES_MAX + 1)));
  assert.equal(readFrameHeader(header(2, FRAME_PAYLOAD_BYTES_MAX)).payloadBytes, FRAME_PAYLOAD_BYTES_MAX);
});

test('illegal heads are refused by kind', () => {
  const push = (frame: Uint8Array) => (): unknown => new ControlParser().push(frame);
  throwsCode('WIRE_HEAD_SYNTAX', push(rawFrame('{"type":')));
  throwsCode('WIRE_HEAD_SYNTAX', push(rawFrame('{"type":"commit\u00e9"}')));
  throwsCode('WIRE_MESSAGE_UNKNOWN', push(rawFrame('[]')));
  throwsCode('WIRE_MESSAGE_UNKNOWN', push(rawFrame('null')));
  throwsCode('WIRE_MESSAGE_UNKNOWN', push(rawFrame('{"type":"constructor"}')));
  throwsCode('WIRE_MESSAGE_INVALID', push(rawFrame('{"type":"ping","id":-1}')));
  throwsCode('WIRE_MESSAGE_INVALID', push(rawFrame('{"type":"aborted","now":true}')));
  throwsCode('WIRE_ATTACHMENT', push(rawFrame('{"type":"aborted"}', 2)));
  throwsCode('WIRE_ATTACHMENT', push(rawFrame('{"type":"prologue"}', 1)));
  throwsCode('WIRE_HEAD_LENGTH', push(bytes(2, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0)));
  throwsCode('WIRE_HEAD_LENGTH', push(bytes(2, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0x7b)));
});

test('an unknown field is named', () => {
  assert.throws(() => new ControlParser().push(rawFrame('{"type":"prepared","loadMs":1,"loadedMs":2}')), /loadedMs/);
});

test('hello and failed ignore fields of later versions', () => {
  const hello = '{"type":"hello","protocolVersion":9,"features":[],"software":"x","host":"b","zone":{"a":1}}';
  assert.deepEqual(new ControlParser().push(rawFrame(hello))[0]?.message, {
    type: 'hello',
    protocolVersion: 9,
    features: [],
    software: 'x',
    host: 'b',
  });
  const failed = '{"type":"failed","code":"X","message":"m","guest":"on the moon","hint":1}';
  assert.deepEqual(new ControlParser().push(rawFrame(failed))[0]?.message, {
    type: 'failed',
    code: 'X',
    message: 'm',
    guest: null,
  });
});

test('a parser that failed once stays failed', () => {
  const parser = new ControlParser();
  throwsCode('WIRE_FRAME_TYPE', () => parser.push(new Uint8Array(8)));
  throwsCode('WIRE_FRAME_TYPE', () => parser.push(encode({ type: 'commit', migrationId: 'm1' })));
});

test('an end inside a frame is an error', () => {
  const whole = encode({ type: 'commit', migrationId: 'm1' });
  for (let end = 1; end < whole.length; end++) throwsCode('WIRE_TRUNCATED', () => parse([whole.subarray(0, end)]));
});

test('long texts are cut by the sender and arrive', () => {
  const [received] = parse([
    encode({ type: 'abort', migrationId: 'm1', code: 'X', reason: 'é'.repeat(3 * TEXT_CHARS_MAX) }),
  ]);
  assert.equal(received?.message.type === 'abort' && received.message.reason.length, TEXT_CHARS_MAX);
});

test('a head that is too long is refused at the sender', () => {
  const spec = { ...request.spec, cmdline: 'x'.repeat(HEAD_BYTES_MAX) };
  throwsCode('WIRE_HEAD_LENGTH', () => encode({ type: 'preflight', request: { ...request, spec } }));
});

test('byte strings are cut into attachments that fit', () => {
  const long = new Uint8Array(2 * ATTACHMENT_BYTES_MAX + 1);
  assert.deepEqual(
    attachmentChunks(long).map((chunk) => chunk.length),
    [ATTACHMENT_BYTES_MAX, ATTACHMENT_BYTES_MAX, 1],
  );
  assert.deepEqual(
    epilogueMessages(long).map(({ message }) => message.last),
    [false, false, true],
  );
  assert.deepEqual(epilogueMessages(new Uint8Array(0)), [
    { message: { type: 'epilogue', last: true }, attachment: new Uint8Array(0) },
  ]);
  const whole = encode({ type: 'epilogue', last: false }, long.subarray(0, ATTACHMENT_BYTES_MAX));
  assert.equal(parse([whole.subarray(0, 100), whole.subarray(100)])[0]?.attachment?.length, ATTACHMENT_BYTES_MAX);
});
