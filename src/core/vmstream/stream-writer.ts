/**
 * Pieces of a legal stream for a destination QEMU whose RAM was filled from outside.
 *
 *     prologue (recorded) , OPEN_RETURN_PATH , ... , composeEpilogue(...)
 *
 * The destination does not care about missing pages, section chunking or order of blocks (docs/qemu-stream.md, 2.3), but
 * insists on footers with the section id of the START.
 */

import { assert } from '../base/assert.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { Command, Element, RamFlag, TARGET_PAGE_BYTES } from './constants.ts';

/** A page that travels inside the stream: `bytes` is one target page, or null for zeros. */
export type SidePage = { readonly block: string; readonly page: number; readonly bytes: Uint8Array | null };

export type Epilogue = {
  /** Id that RAM's START gave, see `VmStreamReader.ramSectionId`. */
  readonly ramSectionId: number;
  readonly sidePages: readonly SidePage[];
  /** Whether the source sent SWITCHOVER_START: exactly then the destination expects it. */
  readonly switchoverStart: boolean;
  /** As `VmStreamSink.deviceState` gave it. */
  readonly deviceState: Uint8Array;
};

/** Makes the destination open its return path; twice is harmless. May stand between any two sections. */
export function openReturnPath(): Uint8Array<ArrayBuffer> {
  return command(Command.OpenReturnPath, 0).take();
}

/** The destination answers PONG with the same value once it has loaded what came before. Needs an open return path. */
export function ping(value: number): Uint8Array<ArrayBuffer> {
  return command(Command.Ping, 4).u32(value).take();
}

/** Stands directly before END where the source sent it (machine types >= 10.0), nowhere else. */
export function switchoverStart(): Uint8Array<ArrayBuffer> {
  return command(Command.SwitchoverStart, 0).take();
}

/** A PART of RAM with these pages. */
export function ramPart(ramSectionId: number, pages: readonly SidePage[]): Uint8Array<ArrayBuffer> {
  return ramSection(Element.SectionPart, ramSectionId, pages);
}

/** The END of RAM with these pages, usually none. */
export function ramEnd(ramSectionId: number, pages: readonly SidePage[] = []): Uint8Array<ArrayBuffer> {
  return ramSection(Element.SectionEnd, ramSectionId, pages);
}

/** EOF and a description of length zero: without the latter the destination waits for more. */
export function endOfStream(): Uint8Array<ArrayBuffer> {
  return new ByteWriter().u8(Element.Eof).u8(Element.VmDescription).u32(0).take();
}

/** Everything that follows the prologue: side pages, END, device state, end of stream. */
export function composeEpilogue(epilogue: Epilogue): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter();
  if (epilogue.sidePages.length > 0) writer.bytes(ramPart(epilogue.ramSectionId, epilogue.sidePages));
  if (epilogue.switchoverStart) writer.bytes(switchoverStart());
  writer.bytes(ramEnd(epilogue.ramSectionId)).bytes(epilogue.deviceState).bytes(endOfStream());
  return writer.take();
}

function command(number: number, length: number): ByteWriter {
  return new ByteWriter().u8(Element.Command).u16(number).u16(length);
}

function ramSection(type: number, id: number, pages: readonly SidePage[]): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter().u8(type).u32(id);
  // The source's last CONTINUE does not reach the destination, so each section names its blocks anew.
  let block: string | null = null;
  for (const page of pages) {
    writePage(writer, page, page.block === block);
    block = page.block;
  }
  return writer.u64(RamFlag.Eos).u8(Element.SectionFooter).u32(id).take();
}

function writePage(writer: ByteWriter, page: SidePage, sameBlock: boolean): void {
  const kind = page.bytes === null ? RamFlag.Zero : RamFlag.Page;
  writer.u64(page.page * TARGET_PAGE_BYTES + kind + (sameBlock ? RamFlag.Continue : 0));
  if (!sameBlock) writer.u8(page.block.length).latin1(page.block);
  if (page.bytes === null) {
    writer.u8(0);
    return;
  }
  assert(page.bytes.length === TARGET_PAGE_BYTES, 'a side page is one target page');
  writer.bytes(page.bytes);
}
