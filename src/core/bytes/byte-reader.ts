/** A cursor over bytes that are all there: big endian, bounds-checked, throws BytesError past the end. */
import { readU16, readU32, readU64 } from './big-endian.ts';
import { BytesError } from './errors.ts';
import { decodeLatin1 } from './latin1.ts';

export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get position(): number {
    return this.#at;
  }

  get remainingBytes(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#bytes[this.#advance(1)]!;
  }

  u16(): number {
    return readU16(this.#bytes, this.#advance(2));
  }

  u32(): number {
    return readU32(this.#bytes, this.#advance(4));
  }

  /** Throws BytesError for a number above 2^53 - 1. */
  u64(): number {
    const value = readU64(this.#bytes, this.#advance(8));
    if (value > Number.MAX_SAFE_INTEGER) throw new BytesError('BYTES_NUMBER', `Number ${value} is above 2^53 - 1`);
    return value;
  }

  /** A view, not a copy. */
  bytes(length: number): Uint8Array {
    const from = this.#advance(length);
    return this.#bytes.subarray(from, from + length);
  }

  latin1(length: number): string {
    const from = this.#advance(length);
    return decodeLatin1(this.#bytes, from, from + length);
  }

  #advance(length: number): number {
    const from = this.#at;
    if (length > this.#bytes.length - from) {
      throw new BytesError('BYTES_OVERRUN', `${length} bytes needed at ${from}, ${this.#bytes.length - from} left`);
    }
    this.#at = from + length;
    return from;
  }
}
