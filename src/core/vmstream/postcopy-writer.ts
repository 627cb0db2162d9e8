/**
 * The post-copy part of a stream for a destination QEMU, composed by us: its source only ever did a plain pre-copy.
 *
 *     prologue , OPEN_RETURN_PATH , PING , ADVISE       before any page: empties every RAM block of the destination
 *     side pages (PART), pages written from outside     pre-copy, as ever
 *     DISCARD * , PACKAGED { LISTEN , device state , PING , RUN }
 *     PART *                                            each missing page exactly once, requested ones first
 *     END , EOF                                         what was never sent is zero; SHUT(0) follows
 *
 * Facts: docs/qemu-stream.md, "Post-copy". With `-S` RUN leaves the guest paused: `cont` is given after the commit.
 */
import { assert } from '../base/assert.ts';
import { writeU32, writeU64 } from '../bytes/big-endian.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { encodeLatin1 } from '../bytes/latin1.ts';
import { Command, Element, RamFlag, TARGET_PAGE_BYTES } from './constants.ts';
import { ping } from './stream-writer.ts';

/** Ranges of one DISCARD: QEMU sends 12, its destination takes what a 16-bit length holds. */
export const DISCARD_RANGES_MAX = 4000;
/** DISCARD's own version: postcopy_ram_discard_version. */
const DISCARD_VERSION = 0;

/** Needs capability postcopy-ram at the destination, and that every RAM block has pages of 4096 bytes. */
export function postcopyAdvise(): Uint8Array<ArrayBuffer> {
  return command(Command.PostcopyAdvise, 16).u64(TARGET_PAGE_BYTES).u64(TARGET_PAGE_BYTES).take();
}

/** DISCARD commands for pages of a block: `runs` are pairs [first page, page count]. These pages are missing from then on. */
export function postcopyDiscards(block: string, runs: Uint32Array): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter();
  for (let at = 0; at < runs.length; at += DISCARD_RANGES_MAX * 2) {
    const part = runs.subarray(at, at + DISCARD_RANGES_MAX * 2);
    writer.u8(Element.Command).u16(Command.PostcopyRamDiscard);
    writer.u16(3 + block.length + part.length * 8);
    writer.u8(DISCARD_VERSION).u8(block.length).latin1(block).u8(0);
    for (const pages of part) writer.u64(pages * TARGET_PAGE_BYTES);
  }
  return writer.take();
}

/** Everything that the guest needs to run but its memory. PONG `value` means that the device state was accepted. */
export function postcopyPackage(deviceState: Uint8Array, value: number): Uint8Array<ArrayBuffer> {
  const inner = new ByteWriter(Number.MAX_SAFE_INTEGER, deviceState.length + 64);
  inner.bytes(command(Command.PostcopyListen, 0).view()).bytes(deviceState).bytes(ping(value));
  inner.bytes(command(Command.PostcopyRun, 0).view());
  return command(Command.Packaged, 4).u32(inner.length).bytes(inner.view()).take();
}

/** A destination that has lost its stream tells which pages of the block came over streams so far. */
export function requestReceivedBitmap(block: string): Uint8Array<ArrayBuffer> {
  return command(Command.RecvBitmap, 1 + block.length)
    .u8(block.length)
    .latin1(block)
    .take();
}

/** A destination that has lost its stream goes on over this one; it answers RESUME_ACK and repeats its requests. */
export function postcopyResume(): Uint8Array<ArrayBuffer> {
  return command(Command.PostcopyResume, 0).take();
}

/** END of RAM and of the stream: no page is missing any more. No description follows in post-copy. */
export function postcopyEnd(ramSectionId: number): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter().u8(Element.SectionEnd).u32(ramSectionId).u64(RamFlag.Eos);
  return writer.u8(Element.SectionFooter).u32(ramSectionId).u8(Element.Eof).take();
}

/** Bytes of a record's head with the longest block name, and of what stands around the records of a section. */
const RECORD_BYTES_MAX = 8 + 1 + 255 + 1;
const SECTION_BYTES = 5 + 8 + 5;

const nothing = new Uint8Array(0);
/** Sections that are built and written at the same time, about. */
const SPARE_MAX = 4;

/** PARTs of RAM with missing pages. Content is copied once, into a buffer that goes out as it is. */
export class PulledPart {
  readonly #ramSectionId: number;
  #bytes: Uint8Array<ArrayBuffer> = nothing;
  /** Buffers that are free again: fresh memory costs more than the copy into it. */
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  #at = 0;
  #block: string | null = null;
  #pages = 0;

  constructor(ramSectionId: number) {
    this.#ramSectionId = ramSectionId;
  }

  get pages(): number {
    return this.#pages;
  }

  /** Room for this many pages with content and a new block each; it grows by itself where that was too little. */
  reserve(pages: number): void {
    const needed = this.#at + SECTION_BYTES + pages * (TARGET_PAGE_BYTES + RECORD_BYTES_MAX);
    if (needed <= this.#bytes.length) return;
    const found = this.#spare.findIndex((spare) => spare.length >= needed);
    const bytes = this.#spare.splice(found, found < 0 ? 0 : 1)[0] ?? new Uint8Array(needed);
    bytes.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = bytes;
  }

  /** `content` holds the page at `at`; null = a page of zeros. Hot. */
  add(block: string, page: number, content: Uint8Array | null, at = 0): void {
    if (this.#pages === 0) this.#begin();
    this.reserve(1);
    const sameBlock = block === this.#block;
    const kind = content === null ? RamFlag.Zero : RamFlag.Page;
    const bytes = this.#bytes;
    writeU64(bytes, this.#at, page * TARGET_PAGE_BYTES + kind + (sameBlock ? RamFlag.Continue : 0));
    this.#at += 8;
    if (!sameBlock) this.#name(block);
    this.#pages++;
    if (content === null) {
      bytes[this.#at++] = 0;
      return;
    }
    assert(at + TARGET_PAGE_BYTES <= content.length, 'the page lies within its bytes');
    bytes.set(content.subarray(at, at + TARGET_PAGE_BYTES), this.#at);
    this.#at += TARGET_PAGE_BYTES;
  }

  /** The section with all pages added since the last call, at least one. */
  take(): Uint8Array<ArrayBuffer> {
    assert(this.#pages > 0, 'a section has pages');
    const bytes = this.#bytes;
    writeU64(bytes, this.#at, RamFlag.Eos);
    bytes[this.#at + 8] = Element.SectionFooter;
    writeU32(bytes, this.#at + 9, this.#ramSectionId);
    const section = bytes.subarray(0, this.#at + 13);
    this.#bytes = nothing;
    this.#at = 0;
    this.#block = null;
    this.#pages = 0;
    return section;
  }

  /** A section that `take` gave has been written: its memory may be used again. */
  recycle(section: Uint8Array<ArrayBuffer>): void {
    if (this.#spare.length < SPARE_MAX) this.#spare.push(new Uint8Array(section.buffer));
  }

  #begin(): void {
    this.reserve(1);
    this.#bytes[0] = Element.SectionPart;
    writeU32(this.#bytes, 1, this.#ramSectionId);
    this.#at = 5;
  }

  #name(block: string): void {
    this.#bytes[this.#at++] = block.length;
    this.#bytes.set(encodeLatin1(block), this.#at);
    this.#at += block.length;
    this.#block = block;
  }
}

function command(number: number, length: number): ByteWriter {
  return new ByteWriter().u8(Element.Command).u16(number).u16(length);
}
