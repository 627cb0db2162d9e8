import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { composeEpilogue, endOfStream, openReturnPath, ping, ramPart, switchoverStart } from './stream-writer.ts';
import { deviceStateOf, eventsOf, expectedEvents, pageOf, prologueOf, smallSpec, type StreamSpec } from './testing.ts';

test('the small pieces have the bytes that QEMU expects', () => {
  assert.deepEqual(openReturnPath(), Uint8Array.of(8, 0, 1, 0, 0));
  assert.deepEqual(ping(1), Uint8Array.of(8, 0, 2, 0, 4, 0, 0, 0, 1));
  assert.deepEqual(switchoverStart(), Uint8Array.of(8, 0, 11, 0, 0));
  assert.deepEqual(endOfStream(), Uint8Array.of(0, 6, 0, 0, 0, 0));
  assert.deepEqual(ramPart(3, []), Uint8Array.of(2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, 3));
});

/** What the reader tells of prologue and epilogue; the zero-length description is replaced by a real one. */
function roundTrip(spec: StreamSpec, epilogue: Uint8Array): ReturnType<typeof eventsOf> {
  const json = JSON.stringify({ devices: spec.devices.map(({ name }) => ({ name })) });
  const description = new ByteWriter().u32(json.length).latin1(json).view();
  const events = eventsOf([prologueOf(spec), openReturnPath(), ping(1), epilogue.subarray(0, -4), description], [0, 1]);
  assert.equal(events.filter(([name]) => name === 'command').length, 2);
  return events.filter(([name]) => name !== 'command');
}

test('the epilogue is a legal stream with its side pages in one PART', () => {
  const pages = [
    { block: 1, page: 0, seed: 4 },
    { block: 1, page: 1, seed: null },
    { block: 0, page: 63, seed: 5 },
  ];
  for (const switchover of [false, true]) {
    const spec = { ...smallSpec, returnPath: false, parts: [pages], end: [], switchoverStart: switchover };
    const epilogue = composeEpilogue({
      ramSectionId: spec.ramSectionId,
      sidePages: pages.map(({ block, page, seed }) => ({
        block: spec.blocks[block]!.name,
        page,
        bytes: seed === null ? null : pageOf(seed),
      })),
      switchoverStart: switchover,
      deviceState: deviceStateOf(spec),
    });
    assert.deepEqual(roundTrip(spec, epilogue), expectedEvents(spec, [0, 1]));
  }
});

test('without side pages the epilogue begins with END', () => {
  const spec = { ...smallSpec, returnPath: false, parts: [], end: [], switchoverStart: false };
  const epilogue = composeEpilogue({ ...spec, sidePages: [], deviceState: deviceStateOf(spec) });
  assert.equal(epilogue[0], 3);
  assert.deepEqual(roundTrip(spec, epilogue), expectedEvents(spec));
});
