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
import { ByteWriter } from '../bytes/byte-writer.ts';
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

/** PARTs of RAM with missing pages. One writer for the whole stream: its buffer is used again. */
export class PulledPart {
  readonly #ramSectionId: number;
  #writer = new ByteWriter(Number.MAX_SAFE_INTEGER, 64 * 1024);
  #block: string | null = null;
  #pages = 0;

  constructor(ramSectionId: number) {
    this.#ramSectionId = ramSectionId;
    this.#begin();
  }

  get pages(): number {
    return this.#pages;
  }

  /** `bytes` holds the page at `at`; null = a page of zeros. Hot. */
  add(block: string, page: number, bytes: Uint8Array | null, at = 0): void {
    const sameBlock = block === this.#block;
    const kind = bytes === null ? RamFlag.Zero : RamFlag.Page;
    this.#writer.u64(page * TARGET_PAGE_BYTES + kind + (sameBlock ? RamFlag.Continue : 0));
    if (!sameBlock) this.#writer.u8(block.length).latin1(block);
    this.#block = block;
    this.#pages++;
    if (bytes === null) {
      this.#writer.u8(0);
      return;
    }
    assert(at + TARGET_PAGE_BYTES <= bytes.length, 'the page lies within its bytes');
    this.#writer.bytes(bytes.subarray(at, at + TARGET_PAGE_BYTES));
  }

  /** The section with all pages added since the last call. */
  take(): Uint8Array<ArrayBuffer> {
    const section = this.#writer.u64(RamFlag.Eos).u8(Element.SectionFooter).u32(this.#ramSectionId).take();
    this.#begin();
    return section;
  }

  #begin(): void {
    this.#writer = new ByteWriter(Number.MAX_SAFE_INTEGER, 64 * 1024).u8(Element.SectionPart).u32(this.#ramSectionId);
    this.#block = null;
    this.#pages = 0;
  }
}

function command(number: number, length: number): ByteWriter {
  return new ByteWriter().u8(Element.Command).u16(number).u16(length);
}
