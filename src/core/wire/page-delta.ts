/**
 * What changed in a page since the version before it, as bytes: the payload of delta runs (`lane-frame.ts`).
 *
 *     delta   u8 changes, 1 to 255, then for each of them:
 *               skip    bytes that stay as they are, since the change before      1 or 2 bytes
 *               length  of the change, minus 1                                    1 or 2 bytes
 *               the new bytes
 *
 * A number below 128 is one byte; a larger one is its low 7 bits plus 128, then the rest. New bytes and not their
 * difference: what was wrong before cannot spread, and text stays text for the compressor behind this.
 *
 * The idea is XBZRLE's (Svärd et al., "Evaluation of Delta Compression Techniques for Efficient Live Migration of Large
 * Virtual Machines", VEE 2011), which QEMU has; the format is not QEMU's.
 */
import { assert } from '../base/assert.ts';
import { LaneFrameError } from './lane-errors.ts';
import { DELTA_BYTES_MAX, LANE_PAGE_BYTES as PAGE } from './lane-limits.ts';

/** The same memory as bytes and as words of 32 and 64 bits; pages in it begin at multiples of 8 bytes. */
export type PageMemory = { readonly bytes: Uint8Array; readonly words: Int32Array; readonly longs: BigInt64Array };

/** A change costs two or three bytes besides its content: unchanged gaps up to this are sent along. */
const GAP_BYTES_MAX = 3;
const CHANGES_MAX = 255;
const LONGS = PAGE / 8;

assert(new Uint8Array(Uint32Array.of(1).buffer)[0] === 1, 'the lowest byte of a word comes first');

export function pageMemory({ buffer, byteOffset, byteLength }: Uint8Array): PageMemory {
  return {
    bytes: new Uint8Array(buffer, byteOffset, byteLength),
    words: new Int32Array(buffer, byteOffset, byteLength >>> 2),
    longs: new BigInt64Array(buffer, byteOffset, byteLength >>> 3),
  };
}

/**
 * Writes what leads from the page at `beforeAt` to the page at `afterAt` to `out` at `at`, where DELTA_BYTES_MAX bytes are
 * free. Returns the position behind it; `at` when the pages are equal; -1 when it would not fit. Hot: no allocation.
 */
export function encodeDelta(
  before: PageMemory,
  beforeAt: number,
  after: PageMemory,
  afterAt: number,
  out: Uint8Array,
  at: number,
): number {
  const limit = at + DELTA_BYTES_MAX;
  let to = at + 1;
  let changes = 0;
  let covered = 0;
  let from = -1;
  let end = 0;
  for (let long = nextDifference(before, beforeAt, after, afterAt, 0); long < LONGS;) {
    for (let byte = long * 8; byte < long * 8 + 8; byte += 4) {
      const difference = before.words[(beforeAt + byte) >>> 2]! ^ after.words[(afterAt + byte) >>> 2]!;
      if (difference === 0) continue;
      const first = byte + ((31 - Math.clz32(difference & -difference)) >>> 3);
      if (from < 0) from = first;
      else if (first - end > GAP_BYTES_MAX) {
        if (++changes > CHANGES_MAX || to + 4 + end - from > limit) return -1;
        to = writeChange(out, to, from - covered, after.bytes, afterAt + from, end - from);
        covered = end;
        from = first;
      }
      end = byte + 4 - (Math.clz32(difference) >>> 3);
    }
    if (end - from > DELTA_BYTES_MAX) return -1;
    long = nextDifference(before, beforeAt, after, afterAt, long + 1);
  }
  if (from < 0) return at;
  if (++changes > CHANGES_MAX || to + 4 + end - from > limit) return -1;
  out[at] = changes;
  return writeChange(out, to, from - covered, after.bytes, afterAt + from, end - from);
}

/**
 * The first 64-bit word from `long` on that differs; LONGS when none does. Compiled code compares without making BigInts:
 * 0.31 us for a page, against 0.62 with 32-bit words and 0.15 of memcmp, which does not say where. Hot: no allocation.
 */
function nextDifference(before: PageMemory, beforeAt: number, after: PageMemory, afterAt: number, long: number) {
  const a = before.longs;
  const b = after.longs;
  const ai = beforeAt >>> 3;
  const bi = afterAt >>> 3;
  while (long < LONGS && a[ai + long] === b[bi + long]) long++;
  return long;
}

/** One change, 4 bytes and `length`; returns the position behind it. Hot: no allocation. */
export function writeChange(
  out: Uint8Array,
  at: number,
  skip: number,
  from: Uint8Array,
  fromAt: number,
  length: number,
) {
  at = writeNumber(out, writeNumber(out, at, skip), length - 1);
  for (let i = 0; i < length; i++) out[at + i] = from[fromAt + i]!;
  return at + length;
}

function writeNumber(out: Uint8Array, at: number, value: number): number {
  if (value < 128) {
    out[at] = value;
    return at + 1;
  }
  out[at] = value | 128;
  out[at + 1] = value >>> 7;
  return at + 2;
}

/**
 * Changes the page at `pageAt` by the delta at `at`, which may come from anybody: nothing outside the page is written.
 * Returns the position behind the delta. Throws LaneFrameError, the page then half changed. Hot: no allocation.
 */
export function applyDelta(delta: Uint8Array, at: number, page: Uint8Array, pageAt: number): number {
  const changes = at < delta.length ? delta[at++]! : 0;
  if (changes === 0) bad('has no changes');
  let position = 0;
  for (let i = 0; i < changes; i++) {
    if (at + 4 > delta.length && !numbersFit(delta, at)) bad('ends inside a change');
    let value = delta[at++]!;
    position += value < 128 ? value : (value & 127) | (delta[at++]! << 7);
    value = delta[at++]!;
    const length = 1 + (value < 128 ? value : (value & 127) | (delta[at++]! << 7));
    if (position + length > PAGE) bad(`changes ${length} bytes at ${position} of a page`);
    if (at + length > delta.length) bad('ends inside the new bytes');
    for (const end = position + length; position < end; position++) page[pageAt + position] = delta[at++]!;
  }
  return at;
}

/** Whether both numbers of a change are there; only asked near the end. */
function numbersFit(delta: Uint8Array, at: number): boolean {
  for (let numbers = 0; numbers < 2; numbers++) {
    if (at >= delta.length) return false;
    at += delta[at]! < 128 ? 1 : 2;
  }
  return at <= delta.length;
}

function bad(what: string): never {
  throw new LaneFrameError('LANE_FRAME_DELTA', `A delta ${what}`);
}
