/**
 * Frames of a lane connection (TLS 1.3, ALPN `vmferry-lane/1`): layout and writers. The reader is `lane-parser.ts`.
 *
 *     source                                   destination
 *       HELLO(version, lane, lanes, token) ──▶
 *                          ◀── ACCEPT(version)  or  REFUSE(reason, text), then the end
 *       PAGES(1) PAGES(2) VERIFY(3) ... ─────▶   in order; page content of the lane's own chunks only
 *                          ◀── ACK(2, busy) VERIFIED(3) ...  ACK is cumulative: placed up to this sequence
 *       BYE ─────────────────────────────────▶   nothing more will follow; an end without it is a failure
 *                          ◀── REFUSE at any time: the destination gives up, with the reason
 *
 * All integers are big-endian. Every frame begins with the same header, then a table of runs, then a payload:
 *
 *     offset size field
 *          0    1 type           LaneFrameType, never 0
 *          1    1 flags          PAGES: bit 0 = the payload is one zstd frame; else zero
 *          2    2 reserved       zero
 *          4    4 sequence       PAGES, VERIFY: 1, 2, 3 ... per lane; ACK, VERIFIED: the frame that is answered; else zero
 *          8    4 run_count      entries of the run table, at most FRAME_RUNS_MAX
 *         12    4 payload_size   bytes after the run table
 *         16    4 raw_size       PAGES: bytes of data pages and deltas, at most FRAME_DATA_BYTES_MAX; else zero
 *         20    4 delta_size     PAGES: of these, the bytes of deltas; else zero
 *         24  8*n run table
 *
 *     offset size run
 *          0    4 page           first page, numbered over all RAM blocks
 *          4    4 count          bits 0-29: pages, 1 to RUN_PAGES_MAX; PAGES only: bit 31: a run of zero pages,
 *                                bit 30: a run of pages that travel as deltas (page-delta.ts)
 *
 *     type       runs                     payload
 *     HELLO      none                     u16 version, u16 lane, u16 lanes, u16 zero, 32 bytes token
 *     ACCEPT     none                     u16 version, u16 zero
 *     REFUSE     none                     u16 reason, u16 zero, text in ASCII
 *     PAGES      any, none if nothing     the data pages in the order of the table, then the deltas in that order; raw,
 *                changed                  or zstd (then shorter than raw)
 *     VERIFY     at most 2 MiB each       8 bytes hash per run
 *     BYE        none                     none
 *     ACK        none                     u32 busy: milliseconds that the lane has been at work, modulo 2^32
 *     VERIFIED   runs that differ         none
 */
import { readU16, readU32, writeU16, writeU32 } from '../bytes/big-endian.ts';
import { decodeLatin1 } from '../bytes/latin1.ts';
import { LANE_TOKEN_BYTES, PAGE_HASH_BYTES, REFUSE_TEXT_BYTES_MAX } from './lane-limits.ts';

export const LANE_ALPN = 'vmferry-lane/1';
/** 2: deltas, and the busy time of acknowledgements. */
export const LANE_VERSION = 2;

export const LANE_HEADER_BYTES = 24;
export const RUN_BYTES = 8;
export const HELLO_BYTES = 8 + LANE_TOKEN_BYTES;
export const ACCEPT_BYTES = 4;
export const REFUSE_HEAD_BYTES = 4;
export const ACK_BYTES = 4;

/** Bit of a run's count, on the wire and in memory: the pages of the run are zero and have no payload. */
export const ZERO_RUN = 0x8000_0000;
/** Bit of a run's count: the pages of the run travel as deltas to the version that the lane brought last. */
export const DELTA_RUN = 0x4000_0000;
export const RUN_COUNT_MASK = 0x3fff_ffff;
export const FLAG_ZSTD = 1;

export const LaneFrameType = {
  hello: 1,
  accept: 2,
  refuse: 3,
  pages: 4,
  verify: 5,
  bye: 6,
  ack: 7,
  verified: 8,
} as const;
export type LaneFrameType = (typeof LaneFrameType)[keyof typeof LaneFrameType];

/** Why a destination does not accept a lane, or gives it up. */
export const RefuseReason = { token: 1, version: 2, lane: 3, name: 4, taken: 5, protocol: 6, place: 7 } as const;
export type RefuseReason = (typeof RefuseReason)[keyof typeof RefuseReason];

export type LaneHello = {
  readonly version: number;
  readonly lane: number;
  readonly lanes: number;
  readonly token: Uint8Array;
};

export type LaneHeader = {
  readonly type: LaneFrameType;
  readonly flags: number;
  readonly sequence: number;
  readonly runCount: number;
  readonly payloadBytes: number;
  readonly rawBytes: number;
  /** Of `rawBytes`. */
  readonly deltaBytes: number;
};

/** Bytes of header and run table. */
export function laneHeadBytes(runCount: number): number {
  return LANE_HEADER_BYTES + runCount * RUN_BYTES;
}

/** Writes header and run table at `at`; `runs` holds `header.runCount` pairs. Hot: no allocation. */
export function writeLaneHead(out: Uint8Array, at: number, header: LaneHeader, runs: Uint32Array): void {
  out[at] = header.type;
  out[at + 1] = header.flags;
  writeU16(out, at + 2, 0);
  writeU32(out, at + 4, header.sequence);
  writeU32(out, at + 8, header.runCount);
  writeU32(out, at + 12, header.payloadBytes);
  writeU32(out, at + 16, header.rawBytes);
  writeU32(out, at + 20, header.deltaBytes);
  for (let i = 0, to = at + LANE_HEADER_BYTES; i < header.runCount * 2; i++, to += 4) writeU32(out, to, runs[i]!);
}

export function encodeHello(hello: LaneHello): Uint8Array<ArrayBuffer> {
  const { out, at } = small(LaneFrameType.hello, 0, HELLO_BYTES);
  writeU16(out, at, hello.version);
  writeU16(out, at + 2, hello.lane);
  writeU16(out, at + 4, hello.lanes);
  out.set(hello.token.subarray(0, LANE_TOKEN_BYTES), at + 8);
  return out;
}

export function decodeHello(payload: Uint8Array): LaneHello {
  return {
    version: readU16(payload, 0),
    lane: readU16(payload, 2),
    lanes: readU16(payload, 4),
    token: payload.slice(8, HELLO_BYTES),
  };
}

export function encodeAccept(version: number): Uint8Array<ArrayBuffer> {
  const { out, at } = small(LaneFrameType.accept, 0, ACCEPT_BYTES);
  writeU16(out, at, version);
  return out;
}

/** Characters outside printable ASCII become `?`; what is too long is cut. */
export function encodeRefuse(reason: RefuseReason, text: string): Uint8Array<ArrayBuffer> {
  const ascii = text.replace(/[^\x20-\x7e]/g, '?').slice(0, REFUSE_TEXT_BYTES_MAX);
  const { out, at } = small(LaneFrameType.refuse, 0, REFUSE_HEAD_BYTES + ascii.length);
  writeU16(out, at, reason);
  for (let i = 0; i < ascii.length; i++) out[at + REFUSE_HEAD_BYTES + i] = ascii.charCodeAt(i);
  return out;
}

/** The reason is a number that this version may not know; the text has printable ASCII only. */
export function decodeRefuse(payload: Uint8Array): { readonly reason: number; readonly text: string } {
  const text = decodeLatin1(payload, REFUSE_HEAD_BYTES, payload.length).replace(/[^\x20-\x7e]/g, '?');
  return { reason: readU16(payload, 0), text };
}

export function encodeBye(): Uint8Array<ArrayBuffer> {
  return small(LaneFrameType.bye, 0, 0).out;
}

/** `busyMs`: how long the destination's lane has been at work since its beginning. */
export function encodeAck(sequence: number, busyMs: number): Uint8Array<ArrayBuffer> {
  const { out, at } = small(LaneFrameType.ack, sequence, ACK_BYTES);
  writeU32(out, at, busyMs);
  return out;
}

/** Milliseconds, modulo 2^32. */
export function decodeAck(payload: Uint8Array): number {
  return readU32(payload, 0);
}

/** `runs` holds pairs [page, count]; `hashes` holds two words per run, high word first. */
export function encodeVerify(sequence: number, runs: Uint32Array, hashes: Uint32Array): Uint8Array<ArrayBuffer> {
  const runCount = runs.length / 2;
  const { out, at } = small(LaneFrameType.verify, sequence, runCount * PAGE_HASH_BYTES, runs);
  for (let i = 0; i < runCount * 2; i++) writeU32(out, at + i * 4, hashes[i]!);
  return out;
}

/** Whether hash number `index` of a VERIFY payload is this one. */
export function sameHash(payload: Uint8Array, index: number, high: number, low: number): boolean {
  const at = index * PAGE_HASH_BYTES;
  return readU32(payload, at) === high && readU32(payload, at + 4) === low;
}

export function encodeVerified(sequence: number, runs: Uint32Array): Uint8Array<ArrayBuffer> {
  return small(LaneFrameType.verified, sequence, 0, runs).out;
}

const noRuns = new Uint32Array(0);

/** A frame without page content, and where its payload begins. */
function small(type: LaneFrameType, sequence: number, payloadBytes: number, runs: Uint32Array = noRuns) {
  const runCount = runs.length / 2;
  const at = laneHeadBytes(runCount);
  const out = new Uint8Array(at + payloadBytes);
  writeLaneHead(out, 0, { type, flags: 0, sequence, runCount, payloadBytes, rawBytes: 0, deltaBytes: 0 }, runs);
  return { out, at };
}
