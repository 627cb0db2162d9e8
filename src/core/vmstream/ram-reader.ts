/**
 * The payload of one stream's RAM sections: block list in START, page records in PART and END, each up to its EOS.
 *
 *     be64 offset | flags, [u8 n, n bytes block name unless CONTINUE], then by flag: u8 fill, or one page of data
 *
 * Invariants: `#block` is the block named last on the channel, and survives sections (CONTINUE refers to it); every page
 * told to the sink lies in its block; page content is never copied unless its block is captured and a chunk edge cuts it.
 */
import { readU32, readU64 } from '../bytes/big-endian.ts';
import { FieldBuffer } from '../bytes/field-buffer.ts';
import { decodeLatin1 } from '../bytes/latin1.ts';
import { PageKind, RamFlag, TARGET_PAGE_BYTES } from './constants.ts';
import { BLOCKS_MAX } from './limits.ts';
import { fail, refuseFlags, unknownBlock } from './refusals.ts';
import type { RamBlock, VmStreamSink } from './sink.ts';

const Step = {
  Record: 0, // be64 offset and flags
  NameLength: 1, // u8
  Name: 2,
  Fill: 3, // u8 of a zero page
  Payload: 4, // one page, skipped or captured
  BlockNameLength: 5, // u8, of the block list
  Block: 6, // name and be64 length, of the block list
} as const;
type Step = (typeof Step)[keyof typeof Step];

const RECORD_BYTES = 8;
const ZERO_RECORD_BYTES = 9;
/** Pages per 2^32 bytes. */
const PAGES_PER_HIGH = 0x1_0000_0000 / TARGET_PAGE_BYTES;
const OFFSET_LOW_MASK = 0xfffff000;
const FLAGS_MASK = TARGET_PAGE_BYTES - 1;
const ZERO_AGAIN = RamFlag.Zero | RamFlag.Continue;
const PAGE_AGAIN = RamFlag.Page | RamFlag.Continue;

export class RamReader {
  readonly #sink: VmStreamSink;
  readonly #field = new FieldBuffer(TARGET_PAGE_BYTES);
  readonly #indexOf = new Map<string, number>();
  readonly #pageCounts: number[] = [];
  readonly #captured: boolean[] = [];
  #blocks: RamBlock[] = [];
  #unlistedBytes = 0;
  #section: 'START' | 'PART' | 'END' = 'START';
  #ended = false;
  #pages = 0;
  #step: Step = Step.Record;
  #need = RECORD_BYTES;
  #skipBytes = 0;
  #block = -1;
  #page = 0;
  #flags = 0;
  #offset = 0;

  constructor(sink: VmStreamSink) {
    this.#sink = sink;
  }

  /** The section's EOS has been read: its footer comes next. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Page records of the section, repeats included. */
  get pages(): number {
    return this.#pages;
  }

  get blockCount(): number {
    return this.#pageCounts.length;
  }

  setCapture(block: number, captured: boolean): void {
    this.#captured[block] = captured;
  }

  begin(section: 'START' | 'PART' | 'END'): void {
    this.#section = section;
    this.#ended = false;
    this.#pages = 0;
  }

  /** Reads up to the section's EOS or the chunk's end; returns the position reached. `base` is the chunk's offset. */
  consume(chunk: Uint8Array, from: number, base: number): number {
    let at = from;
    while (at < chunk.length && !this.#ended) {
      if (this.#skipBytes > 0) {
        const count = Math.min(this.#skipBytes, chunk.length - at);
        this.#skipBytes -= count;
        at += count;
        continue;
      }
      if (this.#step === Step.Record && this.#block >= 0 && this.#field.held === 0 && this.#section !== 'START') {
        at = this.#consumeRun(chunk, at);
        if (at >= chunk.length || this.#skipBytes > 0) continue;
      }
      this.#offset = base + at - this.#field.held;
      at = this.#field.take(chunk, at, this.#need);
      if (at < 0) return chunk.length;
      this.#take(this.#field.bytes, this.#field.at);
    }
    return at;
  }

  /**
   * Consecutive whole records of the current block: the stream but for a few bytes in a million. Stops at the first
   * record that is anything else, and leaves it unread. Hot: no allocation, no copy.
   */
  #consumeRun(chunk: Uint8Array, from: number): number {
    const sink = this.#sink;
    const block = this.#block;
    const pageCount = this.#pageCounts[block]!;
    const skipped = this.#captured[block] !== true;
    const end = chunk.length - ZERO_RECORD_BYTES;
    let pages = 0;
    let at = from;
    while (at <= end) {
      const low = readU32(chunk, at + 4);
      const flags = low & FLAGS_MASK;
      const page = readU32(chunk, at) * PAGES_PER_HIGH + (low >>> 12);
      if (page >= pageCount) break;
      if (flags === PAGE_AGAIN && skipped) {
        sink.page(block, page, PageKind.Data);
        at += RECORD_BYTES + TARGET_PAGE_BYTES;
      } else if (flags === ZERO_AGAIN && chunk[at + 8] === 0) {
        sink.page(block, page, PageKind.Zero);
        at += ZERO_RECORD_BYTES;
      } else break;
      pages++;
    }
    this.#pages += pages;
    if (at <= chunk.length) return at;
    this.#skipBytes = at - chunk.length;
    return chunk.length;
  }

  #take(bytes: Uint8Array, at: number): void {
    switch (this.#step) {
      case Step.Record:
        return this.#takeRecord(readU32(bytes, at), readU32(bytes, at + 4));
      case Step.NameLength:
        if (bytes[at] === 0) throw unknownBlock('', this.#offset);
        return this.#expect(Step.Name, bytes[at]!);
      case Step.Name: {
        const name = decodeLatin1(bytes, at, at + this.#need);
        const block = this.#indexOf.get(name);
        if (block === undefined) throw unknownBlock(name, this.#offset);
        this.#block = block;
        return this.#takePage();
      }
      case Step.Fill:
        if (bytes[at] !== 0) {
          const text = `Page ${this.#page} of ${this.#blockName()} is filled with ${bytes[at]}, and only zero is known`;
          throw fail('VMSTREAM_UNKNOWN_FLAG', text, this.#offset);
        }
        this.#expect(Step.Record, RECORD_BYTES);
        return this.#sink.page(this.#block, this.#page, PageKind.Zero);
      case Step.Payload:
        this.#expect(Step.Record, RECORD_BYTES);
        return this.#sink.payload(this.#block, this.#page, bytes.subarray(at, at + TARGET_PAGE_BYTES));
      case Step.BlockNameLength:
        return this.#expect(Step.Block, bytes[at]! + 8);
      case Step.Block:
        return this.#takeBlock(bytes, at);
    }
  }

  #takeRecord(high: number, low: number): void {
    const flags = low & FLAGS_MASK;
    if (flags === RamFlag.Eos && high === 0 && low === RamFlag.Eos) return this.#takeEos();
    if (flags === RamFlag.MemSize && this.#section === 'START') {
      return this.#takeMemSize(high * 0x1_0000_0000 + ((low & OFFSET_LOW_MASK) >>> 0));
    }
    const kind = flags & ~RamFlag.Continue;
    if ((kind !== RamFlag.Page && kind !== RamFlag.Zero) || this.#section === 'START') {
      throw refuseFlags(flags, this.#place(), this.#offset);
    }
    this.#flags = flags;
    this.#page = high * PAGES_PER_HIGH + (low >>> 12);
    if ((flags & RamFlag.Continue) === 0) return this.#expect(Step.NameLength, 1);
    if (this.#block < 0) throw fail('VMSTREAM_UNKNOWN_BLOCK', 'The first page record names no RAM block', this.#offset);
    return this.#takePage();
  }

  /** A page record whose block is known; its fill byte or its content follows. */
  #takePage(): void {
    const pageCount = this.#pageCounts[this.#block]!;
    if (this.#page >= pageCount) {
      const text = `Page ${this.#page} is outside ${this.#blockName()}, which has ${pageCount} pages`;
      throw fail('VMSTREAM_PAGE_RANGE', text, this.#offset);
    }
    this.#pages++;
    if ((this.#flags & RamFlag.Zero) !== 0) return this.#expect(Step.Fill, 1);
    if (this.#captured[this.#block] === true) this.#expect(Step.Payload, TARGET_PAGE_BYTES);
    else {
      this.#skipBytes = TARGET_PAGE_BYTES;
      this.#expect(Step.Record, RECORD_BYTES);
    }
    this.#sink.page(this.#block, this.#page, PageKind.Data);
  }

  #takeEos(): void {
    if (this.#section === 'START' && this.blockCount === 0) {
      throw fail('VMSTREAM_BLOCK_LIST', 'The RAM section starts without a list of blocks', this.#offset);
    }
    this.#ended = true;
  }

  #takeMemSize(totalBytes: number): void {
    if (this.#blocks.length > 0) throw fail('VMSTREAM_BLOCK_LIST', 'Two lists of RAM blocks', this.#offset);
    if (totalBytes === 0 || totalBytes > Number.MAX_SAFE_INTEGER) {
      throw fail('VMSTREAM_BLOCK_LIST', `RAM of ${totalBytes} bytes`, this.#offset);
    }
    this.#unlistedBytes = totalBytes;
    this.#expect(Step.BlockNameLength, 1);
  }

  #takeBlock(bytes: Uint8Array, at: number): void {
    const nameBytes = this.#need - 8;
    const name = decodeLatin1(bytes, at, at + nameBytes);
    const usedBytes = readU64(bytes, at + nameBytes);
    if (this.#indexOf.has(name) || nameBytes === 0) {
      throw fail('VMSTREAM_BLOCK_LIST', `RAM block name "${name}" twice or empty`, this.#offset);
    }
    if (usedBytes > this.#unlistedBytes || usedBytes % TARGET_PAGE_BYTES !== 0) {
      const text = `RAM block "${name}" of ${usedBytes} bytes, with ${this.#unlistedBytes} bytes of RAM not yet listed`;
      throw fail('VMSTREAM_BLOCK_LIST', `${text}, or not whole pages`, this.#offset);
    }
    if (this.#blocks.length >= BLOCKS_MAX) {
      throw fail('VMSTREAM_LIMIT', `More than ${BLOCKS_MAX} RAM blocks`, this.#offset);
    }
    this.#indexOf.set(name, this.#blocks.length);
    this.#pageCounts.push(usedBytes / TARGET_PAGE_BYTES);
    this.#blocks.push({ name, usedBytes });
    this.#unlistedBytes -= usedBytes;
    if (this.#unlistedBytes > 0) return this.#expect(Step.BlockNameLength, 1);
    this.#expect(Step.Record, RECORD_BYTES);
    this.#sink.blocks(this.#blocks);
  }

  #expect(step: Step, need: number): void {
    this.#step = step;
    this.#need = need;
  }

  #blockName(): string {
    return `RAM block "${this.#blocks[this.#block]!.name}"`;
  }

  #place(): string {
    const block = this.#block < 0 ? '' : `, ${this.#blockName()}`;
    return `the ${this.#section} section of ram${block}`;
  }
}
