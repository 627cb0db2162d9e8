import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { RamFlag, TARGET_PAGE_BYTES } from './constants.ts';
import { VmStreamError, type VmStreamErrorCode } from './errors.ts';
import { VmStreamReader } from './stream-reader.ts';
import {
  buildStream,
  cutInto,
  everySplit,
  eventsOf,
  expectedEvents,
  prologueOf,
  recordingSink,
  smallSpec,
  type PageSpec,
  type StreamEvent,
  type StreamSpec,
} from './testing.ts';

const same = (a: readonly StreamEvent[], b: readonly StreamEvent[]): boolean => JSON.stringify(a) === JSON.stringify(b);

test('a stream gives the events of its description', () => {
  const captured = [1];
  assert.deepEqual(eventsOf([buildStream(smallSpec)], captured), expectedEvents(smallSpec, captured));
});

test('every split of a small stream gives the same events', () => {
  const parts: PageSpec[][] = [[{ block: 1, page: 0, seed: null }], [], [{ block: 0, page: 5, seed: 3 }]];
  const spec: StreamSpec = {
    ...smallSpec,
    virtioMemBits: 3,
    uuid: true,
    parts,
    end: [{ block: 0, page: 5, seed: null }],
  };
  const stream = buildStream(spec);
  for (const captured of [[], [0]]) {
    const expected = expectedEvents(spec, captured);
    for (const pieces of everySplit(stream)) {
      assert.ok(same(eventsOf(pieces, captured), expected), `cut at ${pieces[0]?.length}, captured ${captured.join()}`);
    }
  }
});

const blockNames = ['pc.ram', 'm0', '/rom@etc/acpi/tables', 'pc.bios', '0000:00:01.0/vga.vram'];

const specs: fc.Arbitrary<StreamSpec> = fc
  .uniqueArray(fc.constantFrom(...blockNames), { minLength: 1 })
  .chain((names) =>
    fc.tuple(...names.map((name) => fc.record({ name: fc.constant(name), pages: fc.integer({ min: 1, max: 9 }) }))),
  )
  .chain((blocks) => {
    const page = fc.integer({ min: 0, max: blocks.length - 1 }).chain((block) =>
      fc.record({
        block: fc.constant(block),
        page: fc.integer({ min: 0, max: blocks[block]!.pages - 1 }),
        seed: fc.option(fc.integer({ min: 0, max: 99 })),
      }),
    );
    const pages = fc.array(page, { maxLength: 8 });
    return fc.record({
      machineType: fc.constantFrom('pc-q35-7.2', 'pc-q35-10.0', 'microvm'),
      uuid: fc.boolean(),
      returnPath: fc.boolean(),
      ramSectionId: fc.integer({ min: 1, max: 0xffffffff }),
      blocks: fc.constant(blocks.map(({ name, pages }) => ({ name, usedBytes: pages * TARGET_PAGE_BYTES }))),
      virtioMemBits: fc.option(fc.integer({ min: 1, max: 200 })),
      parts: fc.array(pages, { maxLength: 4 }),
      switchoverStart: fc.boolean(),
      end: pages,
      renames: fc.boolean(),
      devices: fc.array(
        fc.record({ name: fc.constantFrom('timer', 'cpu', '0000:00:02.0/virtio-net'), payload: fc.uint8Array() }),
        { minLength: 1, maxLength: 4 },
      ),
    });
  });

test('any stream, cut in any way, gives the events of its description', () => {
  const lengths = fc.array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 9000 })), {
    minLength: 1,
  });
  fc.assert(
    fc.property(specs, lengths, fc.array(fc.integer({ min: 0, max: 4 })), (spec, lengths, captured) => {
      assert.deepEqual(eventsOf(cutInto(buildStream(spec), lengths), captured), expectedEvents(spec, captured));
    }),
    { numRuns: 300 },
  );
});

/** Events of the bytes, and the code of the error that ended them. */
function outcomeOf(pieces: readonly Uint8Array[]): { events: StreamEvent[]; code: string; message: string } {
  const events: StreamEvent[] = [];
  const reader = new VmStreamReader(recordingSink(events));
  try {
    for (const piece of pieces) reader.push(piece);
    reader.end();
  } catch (error) {
    assert.ok(error instanceof VmStreamError, String(error));
    return { events, code: error.code, message: error.message };
  }
  return { events, code: 'none', message: '' };
}

test('a damaged stream gives the same events and the same error however it is cut', () => {
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  const lengths = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(specs, fc.array(change, { maxLength: 3 }), fc.nat(), lengths, (spec, changes, cut, lengths) => {
      const stream = buildStream(spec);
      for (const [at, value] of changes) stream[at % stream.length] = value;
      const bytes = stream.subarray(0, 1 + (cut % stream.length));
      const whole = outcomeOf([bytes]);
      assert.deepEqual(outcomeOf(cutInto(bytes, lengths)), whole);
      assert.deepEqual(outcomeOf(cutInto(bytes, [1])), whole);
    }),
    { numRuns: 200 },
  );
});

test('the end of a PART is told before its footer arrives', () => {
  const stream = buildStream({
    ...smallSpec,
    parts: [[{ block: 0, page: 1, seed: null }]],
    end: [],
    returnPath: false,
  });
  const events: StreamEvent[] = [];
  const reader = new VmStreamReader(recordingSink(events));
  const eos = prologueOf(smallSpec).length + 5 + 8 + 1 + 'pc.ram'.length + 1 + 8;
  reader.push(stream.subarray(0, eos));
  assert.deepEqual(events.at(-1), ['partEnd', 1]);
});

test('the device state is told without a close, as soon as its last byte is there', () => {
  const stream = buildStream(smallSpec);
  const events: StreamEvent[] = [];
  const reader = new VmStreamReader(recordingSink(events));
  reader.push(stream.subarray(0, -1));
  assert.equal(events.at(-1)?.[0], 'ramEnded');
  reader.push(stream.subarray(-1));
  assert.equal(events.at(-1)?.[0], 'deviceState');
  assert.ok(reader.done && reader.sawSwitchoverStart);
  assert.equal(reader.ramSectionId, smallSpec.ramSectionId);
  assert.equal(reader.offsetBytes, stream.length);
  assert.throws(() => reader.push(Uint8Array.of(0)), { code: 'VMSTREAM_TRAILING' });
});

test('a look-alike of the end inside device state does not cut it short', () => {
  const fake = new TextEncoder().encode('{"devices":[{"name":"other"}]}');
  const payload = new ByteWriter().u8(0x7e).u32(1).u8(0).u8(6).u32(fake.length).bytes(fake).take();
  const spec = {
    ...smallSpec,
    devices: [
      { name: 'disk', payload },
      { name: 'cpu', payload: new Uint8Array(9) },
    ],
  };
  const stream = buildStream(spec);
  for (const pieces of everySplit(stream.subarray(stream.length - 400))) {
    const events = eventsOf([stream.subarray(0, stream.length - 400), ...pieces]);
    assert.deepEqual(events.at(-1), expectedEvents(spec).at(-1));
  }
});

/** The prologue of `smallSpec`, then a PART that is open. */
function inPart(): ByteWriter {
  return new ByteWriter().bytes(prologueOf(smallSpec)).u8(2).u32(smallSpec.ramSectionId);
}

const bare = { ...smallSpec, returnPath: false };
const start = (name: string, type = 1): ByteWriter =>
  new ByteWriter().bytes(prologueOf(bare)).u8(type).u32(77).u8(name.length).latin1(name).u32(0).u32(1);
const record = (offset: number, name = 'pc.ram'): ByteWriter => inPart().u64(offset).u8(name.length).latin1(name);

const refusals: [what: string, bytes: Uint8Array, code: VmStreamErrorCode, message: RegExp][] = [
  ['other files', new Uint8Array(20), 'VMSTREAM_NOT_A_STREAM', /version 3/],
  ['no configuration', new ByteWriter().u32(0x5145564d).u32(3).u8(1).view(), 'VMSTREAM_MACHINE_TOO_OLD', /2\.3/],
  ['VFIO', start('0000:00:03.0/vfio').view(), 'VMSTREAM_DEVICE', /0000:00:03\.0 keeps .*VFIO.* detach it/],
  ['dirty bitmaps', start('dirty-bitmap').view(), 'VMSTREAM_CAPABILITY', /dirty-bitmaps is on: switch it off/],
  ['disk migration', start('block').view(), 'VMSTREAM_CAPABILITY', /capability block is on/],
  ['other iterables', start('spapr/htab').view(), 'VMSTREAM_DEVICE', /spapr\/htab/],
  ['early devices', start('0000:00:05.0/new-early', 4).view(), 'VMSTREAM_DEVICE', /new-early .*detach it/],
  ['a second RAM section', start('ram').view(), 'VMSTREAM_ORDER', /twice/],
  ['XBZRLE', inPart().u64(RamFlag.Xbzrle).view(), 'VMSTREAM_CAPABILITY', /xbzrle is on: switch it off.*0x40/],
  ['compression', inPart().u64(RamFlag.CompressPage).view(), 'VMSTREAM_CAPABILITY', /compress/],
  ['multifd', inPart().u64(RamFlag.MultifdFlush).view(), 'VMSTREAM_CAPABILITY', /multifd/],
  ['RDMA', inPart().u64(RamFlag.Hook).view(), 'VMSTREAM_CAPABILITY', /rdma/],
  ['unknown flags', inPart().u64(0x400).view(), 'VMSTREAM_UNKNOWN_FLAG', /0x400 in the PART section/],
  [
    'two kinds at once',
    inPart()
      .u64(RamFlag.Page + RamFlag.Zero)
      .view(),
    'VMSTREAM_UNKNOWN_FLAG',
    /0xa/,
  ],
  [
    'a late block list',
    inPart()
      .u64(0x1000 + RamFlag.MemSize)
      .view(),
    'VMSTREAM_UNKNOWN_FLAG',
    /0x4/,
  ],
  [
    'no block yet',
    inPart()
      .u64(RamFlag.Zero + RamFlag.Continue)
      .view(),
    'VMSTREAM_UNKNOWN_BLOCK',
    /names no RAM block/,
  ],
  ['unknown blocks', record(RamFlag.Page, 'vga').view(), 'VMSTREAM_UNKNOWN_BLOCK', /"vga"/],
  ['pages outside', record(64 * 4096 + RamFlag.Page).view(), 'VMSTREAM_PAGE_RANGE', /Page 64 .*"pc.ram".*64 pages/],
  ['far pages outside', record(2 ** 52 + RamFlag.Page).view(), 'VMSTREAM_PAGE_RANGE', /outside/],
  ['fill bytes', record(RamFlag.Zero).u8(1).view(), 'VMSTREAM_UNKNOWN_FLAG', /filled with 1/],
  ['missing footers', inPart().u64(RamFlag.Eos).u8(2).u32(2).view(), 'VMSTREAM_MACHINE_TOO_OLD', /footers/],
  ['wrong footers', inPart().u64(RamFlag.Eos).u8(0x7e).u32(3).view(), 'VMSTREAM_FOOTER', /section 3/],
  ['unknown sections', new ByteWriter().bytes(prologueOf(bare)).u8(2).u32(9).view(), 'VMSTREAM_UNKNOWN_SECTION', /9/],
  [
    'post-copy',
    new ByteWriter().bytes(prologueOf(bare)).u8(8).u16(3).u16(16).view(),
    'VMSTREAM_CAPABILITY',
    /postcopy-ram/,
  ],
  ['COLO', new ByteWriter().bytes(prologueOf(bare)).u8(8).u16(8).u16(0).view(), 'VMSTREAM_CAPABILITY', /x-colo/],
  [
    'new commands',
    new ByteWriter().bytes(prologueOf(bare)).u8(8).u16(12).u16(0).view(),
    'VMSTREAM_UNKNOWN_COMMAND',
    /12/,
  ],
  ['new elements', new ByteWriter().bytes(prologueOf(bare)).u8(0x33).view(), 'VMSTREAM_UNKNOWN_ELEMENT', /0x33/],
  ['an early EOF', new ByteWriter().bytes(prologueOf(bare)).u8(0).view(), 'VMSTREAM_ORDER', /before the end/],
  ['truncation', buildStream(bare).subarray(0, -1), 'VMSTREAM_TRUNCATED', /device state/],
];

for (const [what, bytes, code, message] of refusals) {
  test(`refuses ${what}`, () => {
    for (const pieces of [[bytes], cutInto(bytes, [1])]) {
      const outcome = outcomeOf(pieces);
      assert.equal(outcome.code, code);
      assert.match(outcome.message, message);
    }
  });
}

/** A stream's beginning up to and including a configuration subsection. */
const withSubsection = (name: string): ByteWriter => {
  const writer = new ByteWriter().u32(0x5145564d).u32(3).u8(7).u32(3).latin1('q35');
  return writer.u8(5).u8(name.length).latin1(name).u32(1);
};

test('refuses capabilities and page sizes that the configuration lists', () => {
  const capability = withSubsection('configuration/capabilities').u32(1).u8(15).latin1('x-ignore-shared').view();
  assert.match(outcomeOf([capability]).message, /x-ignore-shared is on: switch it off/);
  const bits = (count: number) => withSubsection('configuration/target-page-bits').u32(count).view();
  assert.equal(outcomeOf([bits(16)]).code, 'VMSTREAM_DEVICE');
  assert.equal(outcomeOf([bits(12)]).code, 'VMSTREAM_TRUNCATED');
  assert.equal(outcomeOf([withSubsection('configuration/new').view()]).code, 'VMSTREAM_UNKNOWN_SECTION');
});

test('refuses block lists that do not add up', () => {
  const list = (total: number) => {
    const writer = new ByteWriter().u32(0x5145564d).u32(3).u8(7).u32(3).latin1('q35').u8(1).u32(2).u8(3).latin1('ram');
    return writer
      .u32(0)
      .u32(4)
      .u64(total + RamFlag.MemSize);
  };
  const codeOf = (writer: ByteWriter) => outcomeOf([writer.view()]).code;
  assert.equal(codeOf(list(0)), 'VMSTREAM_BLOCK_LIST');
  assert.equal(codeOf(list(4096).u8(1).latin1('a').u64(8192)), 'VMSTREAM_BLOCK_LIST');
  assert.equal(codeOf(list(8192).u8(1).latin1('a').u64(100)), 'VMSTREAM_BLOCK_LIST');
  assert.equal(codeOf(list(8192).u8(1).latin1('a').u64(4096).u8(1).latin1('a').u64(4096)), 'VMSTREAM_BLOCK_LIST');
  assert.equal(codeOf(list(8192).u8(0).u64(8192)), 'VMSTREAM_BLOCK_LIST');
});

test('a failed reader stays failed, and so does one whose sink threw', () => {
  const reader = new VmStreamReader(recordingSink([]));
  assert.throws(() => reader.push(new Uint8Array(9)), { code: 'VMSTREAM_NOT_A_STREAM' });
  assert.throws(() => reader.push(buildStream(smallSpec)), { code: 'VMSTREAM_NOT_A_STREAM' });
  assert.throws(() => reader.end(), { code: 'VMSTREAM_NOT_A_STREAM' });
  const full = new VmStreamReader({
    ...recordingSink([]),
    partEnd: () => {
      throw new Error('Table full');
    },
  });
  assert.throws(() => full.push(buildStream(smallSpec)), /Table full/);
  assert.throws(() => full.push(new Uint8Array(1)), /Table full/);
});

test('device state with the name of an early section is recognised', () => {
  const spec = { ...smallSpec, virtioMemBits: 128 };
  const events = eventsOf([buildStream(spec)]);
  assert.deepEqual(events, expectedEvents(spec));
});
