/**
 * The return path: what a destination QEMU tells its source, on the same socket.
 *
 *     be16 type, be16 length, payload
 *
 * RECV_BITMAP is the exception: be64 size, bitmap and be64 end mark follow outside the framed length.
 */
import { readU16, readU32 } from '../bytes/big-endian.ts';
import { ByteReader } from '../bytes/byte-reader.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { FieldBuffer } from '../bytes/field-buffer.ts';
import { ReturnPathType } from './constants.ts';
import { VmStreamError } from './errors.ts';
import { RECEIVED_BITMAP_BYTES_MAX, RETURN_PATH_PAYLOAD_BYTES_MAX } from './limits.ts';

export type ReturnPathMessage =
  /** 0: the destination has loaded everything. Anything else: it failed. */
  | { readonly type: 'shut'; readonly value: number }
  | { readonly type: 'pong'; readonly value: number }
  /** Post-copy: pages wanted; `block` null means the block of the previous request. */
  | {
      readonly type: 'requestPages';
      readonly block: string | null;
      readonly offsetBytes: number;
      readonly lengthBytes: number;
    }
  /** Post-copy recovery: one bit per target page, lowest bit first, padded to 8 bytes. */
  | { readonly type: 'receivedBitmap'; readonly block: string; readonly bitmap: Uint8Array<ArrayBuffer> }
  | { readonly type: 'resumeAck'; readonly value: number }
  | { readonly type: 'switchoverAck' };

const HEADER_BYTES = 4;
const BITMAP_HEADER_BYTES = 8;
/** RAMBLOCK_RECV_BITMAP_ENDING, 0x0123456789abcdef */
const BITMAP_END_HIGH = 0x01234567;
const BITMAP_END_LOW = 0x89abcdef;

export function pong(value: number): Uint8Array<ArrayBuffer> {
  return message(ReturnPathType.Pong, 4).u32(value).take();
}

/** The source QEMU ends: 0 = completed, finally stopped; anything else = failed, its guest resumes. */
export function shut(value: number): Uint8Array<ArrayBuffer> {
  return message(ReturnPathType.Shut, 4).u32(value).take();
}

/** Lets a source with capability switchover-ack switch over (QEMU >= 8.1). Cannot be withdrawn. */
export function switchoverAck(): Uint8Array<ArrayBuffer> {
  return message(ReturnPathType.SwitchoverAck, 0).take();
}

function message(type: number, length: number): ByteWriter {
  return new ByteWriter().u16(type).u16(length);
}

type State =
  | { readonly name: 'header' }
  | { readonly name: 'payload'; readonly type: number }
  | { readonly name: 'bitmapSize'; readonly block: string }
  | { readonly name: 'bitmap'; readonly block: string; readonly bitmap: Uint8Array<ArrayBuffer>; filled: number }
  | { readonly name: 'bitmapEnd'; readonly block: string; readonly bitmap: Uint8Array<ArrayBuffer> };

const header: State = { name: 'header' };

/** Push parser: one call of `onMessage` per message. Throws VmStreamError; after that it stays failed. */
export class ReturnPathReader {
  readonly #onMessage: (message: ReturnPathMessage) => void;
  readonly #field = new FieldBuffer(RETURN_PATH_PAYLOAD_BYTES_MAX);
  #state: State = header;
  #need = HEADER_BYTES;
  #failure: Error | undefined = undefined;

  constructor(onMessage: (message: ReturnPathMessage) => void) {
    this.#onMessage = onMessage;
  }

  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      this.#run(chunk);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  /** The destination closed. Throws VmStreamError if it did so within a message. */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#state === header && this.#field.held === 0) return;
    throw new VmStreamError('VMSTREAM_TRUNCATED', 'The destination QEMU closed its return path within a message');
  }

  #run(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      const state = this.#state;
      if (state.name === 'bitmap') {
        const count = Math.min(state.bitmap.length - state.filled, chunk.length - at);
        state.bitmap.set(chunk.subarray(at, at + count), state.filled);
        state.filled += count;
        at += count;
        if (state.filled === state.bitmap.length) this.#expect({ ...state, name: 'bitmapEnd' }, 8);
        continue;
      }
      at = this.#field.take(chunk, at, this.#need);
      if (at < 0) return;
      this.#take(state, this.#field.bytes.subarray(this.#field.at, this.#field.at + this.#need));
    }
  }

  #take(state: Exclude<State, { name: 'bitmap' }>, bytes: Uint8Array): void {
    switch (state.name) {
      case 'header':
        return this.#takeHeader(readU16(bytes, 0), readU16(bytes, 2));
      case 'payload':
        this.#expect(header, HEADER_BYTES);
        return this.#takePayload(state.type, bytes);
      case 'bitmapSize':
        return this.#takeBitmapSize(state.block, bytes);
      case 'bitmapEnd': {
        if (readU32(bytes, 0) !== BITMAP_END_HIGH || readU32(bytes, 4) !== BITMAP_END_LOW) {
          throw broken(`a received bitmap of block "${state.block}" without its end mark`, {});
        }
        this.#expect(header, HEADER_BYTES);
        this.#onMessage({ type: 'receivedBitmap', block: state.block, bitmap: state.bitmap });
      }
    }
  }

  #takeHeader(type: number, length: number): void {
    if (!lengthFits(type, length)) {
      throw broken(`message type ${type} with ${length} bytes, which is unknown`, { type, length });
    }
    if (length === 0) this.#onMessage({ type: 'switchoverAck' });
    else this.#expect({ name: 'payload', type }, length);
  }

  #takePayload(type: number, bytes: Uint8Array): void {
    const reader = new ByteReader(bytes);
    if (type === ReturnPathType.Shut) return this.#onMessage({ type: 'shut', value: reader.u32() });
    if (type === ReturnPathType.Pong) return this.#onMessage({ type: 'pong', value: reader.u32() });
    if (type === ReturnPathType.ResumeAck) return this.#onMessage({ type: 'resumeAck', value: reader.u32() });
    if (type === ReturnPathType.ReceivedBitmap) {
      return this.#expect({ name: 'bitmapSize', block: takeName(reader, type) }, BITMAP_HEADER_BYTES);
    }
    const offsetBytes = reader.u32() * 0x1_0000_0000 + reader.u32();
    if (offsetBytes > Number.MAX_SAFE_INTEGER) throw broken('a page request beyond 2^53 bytes', { type });
    const lengthBytes = reader.u32();
    const block = type === ReturnPathType.RequestPagesId ? takeName(reader, type) : null;
    this.#onMessage({ type: 'requestPages', block, offsetBytes, lengthBytes });
  }

  #takeBitmapSize(block: string, bytes: Uint8Array): void {
    const size = readU32(bytes, 0) * 0x1_0000_0000 + readU32(bytes, 4);
    if (size === 0 || size > RECEIVED_BITMAP_BYTES_MAX) {
      const text = `A received bitmap of block "${block}" of ${size} bytes; 1 to ${RECEIVED_BITMAP_BYTES_MAX} fit`;
      throw new VmStreamError('VMSTREAM_LIMIT', text, { block, size });
    }
    this.#state = { name: 'bitmap', block, bitmap: new Uint8Array(size), filled: 0 };
  }

  #expect(state: State, need: number): void {
    this.#state = state;
    this.#need = need;
  }
}

function lengthFits(type: number, length: number): boolean {
  switch (type) {
    case ReturnPathType.Shut:
    case ReturnPathType.Pong:
    case ReturnPathType.ResumeAck:
      return length === 4;
    case ReturnPathType.RequestPages:
      return length === 12;
    case ReturnPathType.RequestPagesId:
      return length >= 14 && length <= RETURN_PATH_PAYLOAD_BYTES_MAX;
    case ReturnPathType.ReceivedBitmap:
      return length >= 2 && length <= RETURN_PATH_PAYLOAD_BYTES_MAX;
    case ReturnPathType.SwitchoverAck:
      return length === 0;
    default:
      return false;
  }
}

/** `u8 length, name`, exactly to the end of the payload. */
function takeName(reader: ByteReader, type: number): string {
  const length = reader.u8();
  if (length === 0 || length !== reader.remainingBytes) throw broken('a block name of the wrong length', { type });
  return reader.latin1(length);
}

function broken(what: string, fields: Readonly<Record<string, number>>): VmStreamError {
  return new VmStreamError('VMSTREAM_RETURN_PATH', `The destination QEMU sent ${what}`, fields);
}
