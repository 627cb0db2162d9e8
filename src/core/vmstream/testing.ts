/** For tests: legal streams from a description, ways to cut them, and a sink that writes down what it is told. */
import { ByteWriter } from '../bytes/byte-writer.ts';
import { Element, FILE_MAGIC, FILE_VERSION, PageKind, RamFlag, TARGET_PAGE_BYTES } from './constants.ts';
import type { RamBlock, VmStreamSink } from './sink.ts';
import { VmStreamReader } from './stream-reader.ts';

/** A page record; `seed` null is a zero page, else `pageOf(seed)` is its content. */
export type PageSpec = { readonly block: number; readonly page: number; readonly seed: number | null };

export type DeviceSpec = { readonly name: string; readonly payload: Uint8Array };

export type StreamSpec = {
  readonly machineType: string;
  readonly uuid: boolean;
  readonly returnPath: boolean;
  readonly ramSectionId: number;
  readonly blocks: readonly RamBlock[];
  /** Bits in the bitmap of an early virtio-mem section; null = no such section. */
  readonly virtioMemBits: number | null;
  readonly parts: readonly (readonly PageSpec[])[];
  readonly switchoverStart: boolean;
  readonly end: readonly PageSpec[];
  /** Name blocks anew at each section even if CONTINUE would do. */
  readonly renames: boolean;
  readonly devices: readonly DeviceSpec[];
};

export const virtioMemName = '0000:00:01.0/virtio-mem-device-early';

export const smallSpec: StreamSpec = {
  machineType: 'pc-q35-7.2',
  uuid: false,
  returnPath: true,
  ramSectionId: 2,
  blocks: [
    { name: 'pc.ram', usedBytes: 64 * TARGET_PAGE_BYTES },
    { name: 'rom', usedBytes: 2 * TARGET_PAGE_BYTES },
  ],
  virtioMemBits: 70,
  parts: [
    [
      { block: 0, page: 0, seed: null },
      { block: 0, page: 63, seed: 7 },
      { block: 1, page: 1, seed: 8 },
    ],
    [],
    [{ block: 1, page: 0, seed: null }],
  ],
  switchoverStart: true,
  end: [
    { block: 1, page: 1, seed: null },
    { block: 0, page: 63, seed: 9 },
  ],
  renames: false,
  devices: [
    { name: 'timer', payload: new Uint8Array([1, 2, 3]) },
    { name: 'cpu', payload: new Uint8Array([0x7e, 0, 0, 0, 0, 0, 6, 0, 0, 0, 2, 0x7b, 0x7d]) },
  ],
};

/** One page of content, distinct for each seed. */
export function pageOf(seed: number): Uint8Array {
  const bytes = new Uint8Array(TARGET_PAGE_BYTES);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (Math.imul(seed + 1, i + 17) >>> 3) & 0xff;
  return bytes;
}

/** What stands before guest memory, without commands. */
export function prologueOf(spec: StreamSpec): Uint8Array<ArrayBuffer> {
  return buildPrologue({ ...spec, returnPath: false }).take();
}

function buildPrologue(spec: StreamSpec): ByteWriter {
  const writer = new ByteWriter().u32(FILE_MAGIC).u32(FILE_VERSION).u8(Element.Configuration);
  writer.u32(spec.machineType.length).latin1(spec.machineType);
  const uuidName = 'configuration/uuid';
  if (spec.uuid) writer.u8(Element.Subsection).u8(uuidName.length).latin1(uuidName).u32(1).zeros(16);
  if (spec.returnPath) writer.u8(8).u16(1).u16(0).u8(8).u16(2).u16(4).u32(1);
  writeRamStart(writer, spec);
  if (spec.virtioMemBits !== null) writeVirtioMem(writer, spec.virtioMemBits);
  return writer;
}

/** The stream that a source would send. */
export function buildStream(spec: StreamSpec): Uint8Array<ArrayBuffer> {
  const writer = buildPrologue(spec);
  let block = -1;
  for (const [index, pages] of [...spec.parts, spec.end].entries()) {
    const ends = index === spec.parts.length;
    if (ends && spec.switchoverStart) writer.u8(8).u16(11).u16(0);
    writer.u8(ends ? Element.SectionEnd : Element.SectionPart).u32(spec.ramSectionId);
    if (spec.renames) block = -1;
    for (const page of pages) {
      writePage(writer, spec, page, block);
      block = page.block;
    }
    writer.u64(RamFlag.Eos).u8(Element.SectionFooter).u32(spec.ramSectionId);
  }
  writer.bytes(deviceStateOf(spec));
  const names = [...(spec.virtioMemBits === null ? [] : [virtioMemName]), ...spec.devices.map(({ name }) => name)];
  const description = JSON.stringify({ page_size: 4096, devices: names.map((name) => ({ name, version: 1 })) });
  return writer.u8(Element.Eof).u8(Element.VmDescription).u32(description.length).latin1(description).take();
}

export function deviceStateOf(spec: StreamSpec): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter();
  for (const [index, { name, payload }] of spec.devices.entries()) {
    const id = 40 + index;
    writer.u8(Element.SectionFull).u32(id).u8(name.length).latin1(name).u32(0).u32(1).bytes(payload);
    writer.u8(Element.SectionFooter).u32(id);
  }
  return writer.take();
}

function writeRamStart(writer: ByteWriter, spec: StreamSpec): void {
  writer.u8(Element.SectionStart).u32(spec.ramSectionId).u8(3).latin1('ram').u32(0).u32(4);
  const totalBytes = spec.blocks.reduce((sum, block) => sum + block.usedBytes, 0);
  writer.u64(totalBytes + RamFlag.MemSize);
  for (const { name, usedBytes } of spec.blocks) writer.u8(name.length).latin1(name).u64(usedBytes);
  writer.u64(RamFlag.Eos).u8(Element.SectionFooter).u32(spec.ramSectionId);
}

function writeVirtioMem(writer: ByteWriter, bits: number): void {
  writer.u8(Element.SectionFull).u32(9).u8(virtioMemName.length).latin1(virtioMemName).u32(0).u32(1);
  writer
    .u64(0x1_0000_0000)
    .u64(bits * 0x20_0000)
    .u64(0x20_0000)
    .u32(0)
    .u64(0);
  for (let word = 0; word < bits; word += 64) writer.u64(word + 5);
  writer.u8(Element.SectionFooter).u32(9);
}

function writePage(writer: ByteWriter, spec: StreamSpec, page: PageSpec, block: number): void {
  const same = page.block === block;
  const kind = page.seed === null ? RamFlag.Zero : RamFlag.Page;
  writer.u64(page.page * TARGET_PAGE_BYTES + kind + (same ? RamFlag.Continue : 0));
  const name = spec.blocks[page.block]!.name;
  if (!same) writer.u8(name.length).latin1(name);
  if (page.seed === null) writer.u8(0);
  else writer.bytes(pageOf(page.seed));
}

/** Whole, cut at every offset, and byte by byte. */
export function* everySplit(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  for (let cut = 1; cut < bytes.length; cut++) yield [bytes.subarray(0, cut), bytes.subarray(cut)];
  yield Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
}

/** Pieces of the given lengths, repeated, until nothing is left. */
export function cutInto(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = Math.max(1, lengths[i % lengths.length] ?? bytes.length);
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

export type StreamEvent = readonly [name: keyof VmStreamSink, ...facts: (number | string)[]];

/** Bytes as hexadecimal; long ones as their length and a hash. */
function textOf(bytes: Uint8Array): string {
  if (bytes.length <= 16) return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return `${bytes.length} bytes ${hash >>> 0}`;
}

/** Writes down every call. */
export function recordingSink(events: StreamEvent[]): VmStreamSink {
  return {
    configuration: (machineType) => events.push(['configuration', machineType]),
    blocks: (list) => events.push(['blocks', ...list.flatMap(({ name, usedBytes }) => [name, usedBytes])]),
    prologue: (bytes) => events.push(['prologue', textOf(bytes)]),
    command: (number, payload) => events.push(['command', number, textOf(payload)]),
    page: (block, page, kind) => events.push(['page', block, page, kind]),
    payload: (block, page, bytes) => events.push(['payload', block, page, textOf(bytes)]),
    partEnd: (pages) => events.push(['partEnd', pages]),
    switchoverStart: () => events.push(['switchoverStart']),
    ramEndStarted: () => events.push(['ramEndStarted']),
    ramEnded: () => events.push(['ramEnded']),
    deviceState: (bytes) => events.push(['deviceState', textOf(bytes)]),
  };
}

/** What a sink is told of these pieces, with `end` after them; blocks in `captured` are captured. */
export function eventsOf(pieces: Iterable<Uint8Array>, captured: readonly number[] = []): StreamEvent[] {
  const events: StreamEvent[] = [];
  const sink = recordingSink(events);
  const reader: VmStreamReader = new VmStreamReader({
    ...sink,
    blocks: (list) => {
      sink.blocks(list);
      for (const block of captured) if (block < list.length) reader.setCapture(block, true);
    },
  });
  for (const piece of pieces) {
    // Whoever pushes may read the next bytes into the same buffer.
    const chunk = new Uint8Array(piece);
    reader.push(chunk);
    chunk.fill(0xa5);
  }
  reader.end();
  return events;
}

/** What a reader must tell of `buildStream(spec)`, derived from the description alone. */
export function expectedEvents(spec: StreamSpec, captured: readonly number[] = []): StreamEvent[] {
  const pageEvents = (pages: readonly PageSpec[]): StreamEvent[] =>
    pages.flatMap(({ block, page, seed }): StreamEvent[] => {
      if (seed === null) return [['page', block, page, PageKind.Zero]];
      const named: StreamEvent = ['page', block, page, PageKind.Data];
      return captured.includes(block) ? [named, ['payload', block, page, textOf(pageOf(seed))]] : [named];
    });
  const events: StreamEvent[] = [['configuration', spec.machineType]];
  if (spec.returnPath) events.push(['command', 1, ''], ['command', 2, '00000001']);
  events.push(['blocks', ...spec.blocks.flatMap(({ name, usedBytes }) => [name, usedBytes])]);
  const prologue: StreamEvent = ['prologue', textOf(prologueOf(spec))];
  if (spec.parts.length > 0) events.push(prologue);
  for (const pages of spec.parts) events.push(...pageEvents(pages), ['partEnd', pages.length]);
  if (spec.switchoverStart) events.push(['switchoverStart']);
  if (spec.parts.length === 0) events.push(prologue);
  events.push(['ramEndStarted'], ...pageEvents(spec.end), ['ramEnded'], ['deviceState', textOf(deviceStateOf(spec))]);
  return events;
}
