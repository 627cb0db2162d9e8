import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { VmStreamError } from './errors.ts';
import { pong, ReturnPathReader, shut, switchoverAck, type ReturnPathMessage } from './return-path.ts';
import { cutInto, everySplit } from './testing.ts';

function messagesOf(pieces: Iterable<Uint8Array>): ReturnPathMessage[] {
  const messages: ReturnPathMessage[] = [];
  const reader = new ReturnPathReader((message) => messages.push(message));
  for (const piece of pieces) reader.push(piece);
  reader.end();
  return messages;
}

const conversation = new ByteWriter()
  .bytes(pong(0xdeadbeef))
  .bytes(switchoverAck())
  .bytes(new ByteWriter().u16(3).u16(15).u64(0x1_0000_2000).u32(4096).u8(2).latin1('m0').view())
  .bytes(new ByteWriter().u16(4).u16(12).u64(0x3000).u32(4096).view())
  .bytes(new ByteWriter().u16(5).u16(3).u8(2).latin1('m0').u64(8).u64(77).u32(0x01234567).u32(0x89abcdef).view())
  .bytes(new ByteWriter().u16(6).u16(4).u32(1).view())
  .bytes(shut(0))
  .take();

const expected: ReturnPathMessage[] = [
  { type: 'pong', value: 0xdeadbeef },
  { type: 'switchoverAck' },
  { type: 'requestPages', block: 'm0', offsetBytes: 0x1_0000_2000, lengthBytes: 4096 },
  { type: 'requestPages', block: null, offsetBytes: 0x3000, lengthBytes: 4096 },
  { type: 'receivedBitmap', block: 'm0', bitmap: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 77) },
  { type: 'resumeAck', value: 1 },
  { type: 'shut', value: 0 },
];

test('every message is understood at every split', () => {
  for (const pieces of everySplit(conversation)) assert.deepEqual(messagesOf(pieces), expected);
});

test('SHUT, PONG and SWITCHOVER_ACK have the bytes that QEMU expects', () => {
  assert.deepEqual(shut(0), Uint8Array.of(0, 1, 0, 4, 0, 0, 0, 0));
  assert.deepEqual(pong(258), Uint8Array.of(0, 2, 0, 4, 0, 0, 1, 2));
  assert.deepEqual(switchoverAck(), Uint8Array.of(0, 7, 0, 0));
});

test('unknown types, wrong lengths and large bitmaps are refused', () => {
  const bad = (writer: ByteWriter, code: string) => assert.throws(() => messagesOf([writer.view()]), { code });
  bad(new ByteWriter().u16(0).u16(0), 'VMSTREAM_RETURN_PATH');
  bad(new ByteWriter().u16(8).u16(0), 'VMSTREAM_RETURN_PATH');
  bad(new ByteWriter().u16(1).u16(5), 'VMSTREAM_RETURN_PATH');
  bad(new ByteWriter().u16(7).u16(1), 'VMSTREAM_RETURN_PATH');
  bad(new ByteWriter().u16(3).u16(513), 'VMSTREAM_RETURN_PATH');
  bad(new ByteWriter().u16(3).u16(15).u64(0).u32(1).u8(9).latin1('m0'), 'VMSTREAM_RETURN_PATH');
  bad(new ByteWriter().u16(4).u16(12).zeros(0).u32(0xffffffff).u64(0), 'VMSTREAM_RETURN_PATH');
  bad(
    new ByteWriter()
      .u16(5)
      .u16(2)
      .u8(1)
      .latin1('a')
      .u64(2 ** 40),
    'VMSTREAM_LIMIT',
  );
  bad(new ByteWriter().u16(5).u16(2).u8(1).latin1('a').u64(8).zeros(16), 'VMSTREAM_RETURN_PATH');
  bad(new ByteWriter().u16(1).u16(4).u8(0), 'VMSTREAM_TRUNCATED');
});

test('any bytes give messages or one VmStreamError, however they are cut', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 });
  const outcome = (pieces: Iterable<Uint8Array>): string => {
    try {
      return JSON.stringify(messagesOf(pieces));
    } catch (error) {
      assert.ok(error instanceof VmStreamError);
      return error.message;
    }
  };
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(conversation.length - 1), fc.nat(255)), { maxLength: 4 }),
      lengths,
      (changes, lengths) => {
        const bytes = conversation.slice();
        for (const [at, value] of changes) bytes[at] = value;
        assert.equal(outcome(cutInto(bytes, lengths)), outcome([bytes]));
      },
    ),
    { numRuns: 500 },
  );
});
