/**
 * What follows RAM's END: device sections of unknown length, then EOF, then a description of known length.
 *
 *     04 ... 7e id , 04 ... 7e id , ... , 00 , 06 be32 L { L bytes of JSON }
 *
 * With a return path the source does not close its socket after the description, so the end has to be recognised: a
 * position i after a footer with b[i] = 00, b[i+1] = 06, exactly L bytes left, the first of them '{', the last '}', and
 * the JSON a description whose devices occur in the sections, in order. Device state holds bytes that the guest chose;
 * the last condition keeps a chance (or planted) look-alike from cutting the state short.
 *
 * Cost: each byte is scanned once. Candidates wait under the length at which they would be the end.
 */
import { readU32 } from '../bytes/big-endian.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { decodeLatin1 } from '../bytes/latin1.ts';
import { Element } from './constants.ts';
import { DEVICE_STATE_BYTES_MAX, END_CANDIDATES_MAX, VMDESC_BYTES_MAX } from './limits.ts';
import { fail } from './refusals.ts';

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const FOOTER_BYTES = 5;
/** EOF, type, be32 length, the first byte of the JSON. */
const END_BYTES = 7;

export class DeviceTail {
  readonly #writer = new ByteWriter(DEVICE_STATE_BYTES_MAX + VMDESC_BYTES_MAX, 64 * 1024);
  readonly #candidates = new Map<number, number[]>();
  readonly #offset: number;
  readonly #earlyNames: readonly string[];
  #candidateCount = 0;
  #scanned = FOOTER_BYTES;

  /**
   * `offset` is the position of the first byte in the whole stream, for messages. `earlyNames` are the FULL sections that
   * stood before guest memory: the description names them too, first.
   */
  constructor(offset: number, earlyNames: readonly string[] = []) {
    this.#offset = offset;
    this.#earlyNames = earlyNames;
  }

  get length(): number {
    return this.#writer.length;
  }

  /** Adds bytes. Returns the device state once these bytes complete the stream, else null. Throws VmStreamError. */
  append(chunk: Uint8Array): Uint8Array<ArrayBuffer> | null {
    const length = this.#writer.length + chunk.length;
    if (this.#writer.length === 0 && chunk.length > 0 && chunk[0] !== Element.SectionFull) {
      throw fail('VMSTREAM_ORDER', `Element ${chunk[0]} where device state must begin`, this.#offset);
    }
    if (length > DEVICE_STATE_BYTES_MAX + VMDESC_BYTES_MAX) {
      const text = `Device state of more than ${DEVICE_STATE_BYTES_MAX} bytes`;
      throw fail('VMSTREAM_LIMIT', text, this.#offset);
    }
    this.#writer.bytes(chunk);
    const bytes = this.#writer.view();
    this.#scan(bytes);
    if (bytes[length - 1] !== CLOSE_BRACE) return null;
    for (const at of this.#candidates.get(length) ?? []) {
      if (isDescriptionOf(bytes, at, this.#earlyNames)) return bytes.slice(0, at);
    }
    return null;
  }

  #scan(bytes: Uint8Array): void {
    const end = bytes.length - END_BYTES;
    let at = this.#scanned;
    for (; at <= end; at++) {
      if (bytes[at + 1] !== Element.VmDescription || bytes[at] !== Element.Eof) continue;
      if (bytes[at + 6] !== OPEN_BRACE || bytes[at - FOOTER_BYTES] !== Element.SectionFooter) continue;
      const length = readU32(bytes, at + 2);
      if (length <= VMDESC_BYTES_MAX) this.#addCandidate(at, at + 6 + length);
    }
    this.#scanned = at;
  }

  #addCandidate(at: number, endsAt: number): void {
    if (this.#candidateCount++ >= END_CANDIDATES_MAX) {
      throw fail('VMSTREAM_LIMIT', 'Device state with too many look-alikes of its end', this.#offset + at);
    }
    const others = this.#candidates.get(endsAt);
    if (others === undefined) this.#candidates.set(endsAt, [at]);
    else others.push(at);
  }
}

/** Whether bytes [at + 6, end) are the JSON that describes the sections in bytes [0, at). */
function isDescriptionOf(bytes: Uint8Array, at: number, earlyNames: readonly string[]): boolean {
  let description: unknown;
  try {
    description = JSON.parse(decodeLatin1(bytes, at + 6, bytes.length));
  } catch {
    return false;
  }
  const devices = (description as { devices?: unknown }).devices;
  if (!Array.isArray(devices) || devices.length === 0) return false;
  let from = 0;
  let early = 0;
  for (const device of devices as unknown[]) {
    const name = (device as { name?: unknown } | null)?.name;
    if (typeof name !== 'string') return false;
    if (name === earlyNames[early]) {
      early++;
      continue;
    }
    from = findFull(bytes, from, at, name);
    if (from < 0) return false;
  }
  return true;
}

/** The position after the name of the next FULL section called `name` in [from, to), or -1. */
function findFull(bytes: Uint8Array, from: number, to: number, name: string): number {
  const length = name.length;
  // u8 type, be32 id, u8 length, name
  for (let at = from; at + 6 + length <= to; at++) {
    if (bytes[at] !== Element.SectionFull || bytes[at + 5] !== length) continue;
    let i = 0;
    while (i < length && bytes[at + 6 + i] === name.charCodeAt(i)) i++;
    if (i === length) return at + 6 + length;
  }
  return -1;
}
