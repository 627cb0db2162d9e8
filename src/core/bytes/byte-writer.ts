/** A growing byte buffer with big-endian writers. Invariant: #length <= #bytes.length <= max(#maxBytes, first size). */
import { writeU16, writeU32, writeU64 } from './big-endian.ts';
import { BytesError } from './errors.ts';
import { encodeLatin1 } from './latin1.ts';

const FIRST_BYTES = 256;

export class ByteWriter {
  readonly #maxBytes: number;
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  /** Throws BytesError when more than `maxBytes` are written. */
  constructor(maxBytes = Number.MAX_SAFE_INTEGER, firstBytes = FIRST_BYTES) {
    this.#maxBytes = maxBytes;
    this.#bytes = new Uint8Array(Math.min(firstBytes, maxBytes));
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const at = this.#advance(1); // may replace #bytes
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#advance(2);
    writeU16(this.#bytes, at, value);
    return this;
  }

  u32(value: number): this {
    const at = this.#advance(4);
    writeU32(this.#bytes, at, value);
    return this;
  }

  /** A whole number from 0 to 2^53 - 1. */
  u64(value: number): this {
    const at = this.#advance(8);
    writeU64(this.#bytes, at, value);
    return this;
  }

  bytes(source: Uint8Array): this {
    const at = this.#advance(source.length);
    this.#bytes.set(source, at);
    return this;
  }

  latin1(text: string): this {
    return this.bytes(encodeLatin1(text));
  }

  zeros(count: number): this {
    const at = this.#advance(count);
    this.#bytes.fill(0, at, at + count);
    return this;
  }

  /** What was written so far: a view that the next write may leave behind. */
  view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  /** A copy of what was written so far. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  #advance(count: number): number {
    const at = this.#length;
    const length = at + count;
    if (length > this.#bytes.length) this.#grow(length);
    this.#length = length;
    return at;
  }

  #grow(length: number): void {
    if (length > this.#maxBytes) {
      throw new BytesError('BYTES_OVERRUN', `${length} bytes exceed the limit of ${this.#maxBytes}`);
    }
    const bytes = new Uint8Array(Math.min(this.#maxBytes, Math.max(length, this.#bytes.length * 2)));
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
  }
}
