/**
 * Push parser of a lane connection: chunks of any size in, whole checked frames out. Layout: `lane-frame.ts`.
 *
 * Invariant: a frame reaches the sink only when its header, its run table and all its lengths agree with each other and
 * with the limits; nothing is allocated for a length that has not been checked. What depends on the guest (are these
 * pages inside a RAM block, and of this lane?) is the sink's to check.
 */
import { readU16, readU32 } from '../bytes/big-endian.ts';
import { LaneFrameError } from './lane-errors.ts';
import {
  ACCEPT_BYTES,
  ACK_BYTES,
  DELTA_RUN,
  FLAG_ZSTD,
  HELLO_BYTES,
  LANE_HEADER_BYTES,
  type LaneHeader,
  LaneFrameType,
  REFUSE_HEAD_BYTES,
  RUN_BYTES,
  RUN_COUNT_MASK,
  ZERO_RUN,
} from './lane-frame.ts';
import {
  DELTA_BYTES_MAX,
  DELTA_BYTES_MIN,
  FRAME_DATA_BYTES_MAX,
  FRAME_DATA_PAGES_MAX,
  FRAME_RUNS_MAX,
  LANE_PAGE_BYTES,
  PAGE_HASH_BYTES,
  REFUSE_TEXT_BYTES_MAX,
  RUN_PAGES_MAX,
} from './lane-limits.ts';

/** `runs` holds pairs [page, count | ZERO_RUN or DELTA_RUN]. Both arrays are valid only during the call of the sink. */
export type LaneFrame = { readonly header: LaneHeader; readonly runs: Uint32Array; readonly payload: Uint8Array };

export type LaneSender = 'source' | 'destination';

const fromSource: ReadonlySet<number> = new Set([
  LaneFrameType.hello,
  LaneFrameType.pages,
  LaneFrameType.verify,
  LaneFrameType.bye,
]);
const fromDestination: ReadonlySet<number> = new Set([
  LaneFrameType.accept,
  LaneFrameType.refuse,
  LaneFrameType.ack,
  LaneFrameType.verified,
]);

const SMALL_PAYLOAD_BYTES = 4096;

export class LaneParser {
  readonly #types: ReadonlySet<number>;
  readonly #sink: (frame: LaneFrame) => void;
  readonly #head = new Uint8Array(LANE_HEADER_BYTES + FRAME_RUNS_MAX * RUN_BYTES);
  readonly #runs = new Uint32Array(FRAME_RUNS_MAX * 2);
  #payload = new Uint8Array(SMALL_PAYLOAD_BYTES);
  #header: LaneHeader | null = null;
  /** Bytes of the current frame's header and run table that are there, and that are wanted. */
  #headHave = 0;
  #headWant = LANE_HEADER_BYTES;
  #payloadHave = 0;

  /** Parses what `sender` sends; the sink may throw, which ends the connection's use. */
  constructor(sender: LaneSender, sink: (frame: LaneFrame) => void) {
    this.#types = sender === 'source' ? fromSource : fromDestination;
    this.#sink = sink;
  }

  /** Calls the sink once per frame that is complete now. Throws LaneFrameError; the parser is unusable afterwards. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      at += this.#headHave < this.#headWant ? this.#pushHead(chunk, at) : this.#pushPayload(chunk, at);
    }
  }

  /** To be called at the end of the stream. Throws LaneFrameError when it ends inside a frame. */
  end(): void {
    if (this.#headHave > 0) throw new LaneFrameError('LANE_FRAME_TRUNCATED', 'The connection ended inside a frame');
  }

  #pushHead(chunk: Uint8Array, from: number): number {
    const used = Math.min(this.#headWant - this.#headHave, chunk.length - from);
    this.#head.set(chunk.subarray(from, from + used), this.#headHave);
    this.#headHave += used;
    if (this.#headHave < this.#headWant) return used;
    if (this.#header === null) {
      this.#header = readHeader(this.#head, this.#types);
      this.#headWant = LANE_HEADER_BYTES + this.#header.runCount * RUN_BYTES;
      if (this.#headHave < this.#headWant) return used;
    }
    readRuns(this.#head, this.#header, this.#runs);
    if (this.#header.payloadBytes === 0) this.#emit(this.#header, this.#payload.subarray(0, 0));
    return used;
  }

  #pushPayload(chunk: Uint8Array, from: number): number {
    const header = this.#header!;
    const { payloadBytes } = header;
    const used = Math.min(payloadBytes - this.#payloadHave, chunk.length - from);
    if (used === payloadBytes) {
      this.#emit(header, chunk.subarray(from, from + used));
      return used;
    }
    if (this.#payload.length < payloadBytes) this.#payload = new Uint8Array(FRAME_DATA_BYTES_MAX);
    this.#payload.set(chunk.subarray(from, from + used), this.#payloadHave);
    this.#payloadHave += used;
    if (this.#payloadHave === payloadBytes) this.#emit(header, this.#payload.subarray(0, payloadBytes));
    return used;
  }

  #emit(header: LaneHeader, payload: Uint8Array): void {
    this.#header = null;
    this.#headHave = 0;
    this.#headWant = LANE_HEADER_BYTES;
    this.#payloadHave = 0;
    this.#sink({ header, runs: this.#runs.subarray(0, header.runCount * 2), payload });
  }
}

function readHeader(head: Uint8Array, types: ReadonlySet<number>): LaneHeader {
  const type = head[0]!;
  if (!types.has(type)) throw new LaneFrameError('LANE_FRAME_TYPE', `Frame type ${type} is not allowed here`, { type });
  const header: LaneHeader = {
    type: type as LaneFrameType,
    flags: head[1]!,
    sequence: readU32(head, 4),
    runCount: readU32(head, 8),
    payloadBytes: readU32(head, 12),
    rawBytes: readU32(head, 16),
    deltaBytes: readU32(head, 20),
  };
  const flagsMax = type === LaneFrameType.pages ? FLAG_ZSTD : 0;
  if (header.flags > flagsMax) {
    throw new LaneFrameError('LANE_FRAME_FLAGS', `Frame type ${type} has unknown flags ${header.flags}`);
  }
  if (readU16(head, 2) !== 0) {
    throw new LaneFrameError('LANE_FRAME_RESERVED', 'Reserved bytes of a frame header are not zero');
  }
  atMost('run table', header.runCount, FRAME_RUNS_MAX);
  atMost('payload', header.payloadBytes, FRAME_DATA_BYTES_MAX);
  atMost('page content', header.rawBytes, FRAME_DATA_BYTES_MAX);
  checkShape(header);
  return header;
}

function atMost(what: string, actual: number, most: number): void {
  if (actual <= most) return;
  throw new LaneFrameError('LANE_FRAME_TOO_LONG', `A frame's ${what} has length ${actual}, at most ${most} is allowed`);
}

/** The lengths of a header must be those that its type has. */
function checkShape(header: LaneHeader): void {
  const { type, runCount, payloadBytes, rawBytes } = header;
  if (shapeFits(header)) return;
  throw new LaneFrameError(
    'LANE_FRAME_LENGTH',
    `Frame type ${type} with ${runCount} runs, ${payloadBytes} bytes payload and ${rawBytes} bytes of pages cannot be`,
  );
}

function shapeFits({ type, flags, sequence, runCount, payloadBytes, rawBytes, deltaBytes }: LaneHeader): boolean {
  if (deltaBytes > 0 && (type !== LaneFrameType.pages || deltaBytes > rawBytes)) return false;
  const bare = runCount === 0 && rawBytes === 0;
  switch (type) {
    case LaneFrameType.hello:
      return bare && sequence === 0 && payloadBytes === HELLO_BYTES;
    case LaneFrameType.accept:
      return bare && sequence === 0 && payloadBytes === ACCEPT_BYTES;
    case LaneFrameType.refuse:
      return (
        bare &&
        sequence === 0 &&
        payloadBytes >= REFUSE_HEAD_BYTES &&
        payloadBytes <= REFUSE_HEAD_BYTES + REFUSE_TEXT_BYTES_MAX
      );
    case LaneFrameType.bye:
      return bare && sequence === 0 && payloadBytes === 0;
    case LaneFrameType.ack:
      return bare && sequence > 0 && payloadBytes === ACK_BYTES;
    case LaneFrameType.verified:
      return sequence > 0 && rawBytes === 0 && payloadBytes === 0;
    case LaneFrameType.verify:
      return sequence > 0 && rawBytes === 0 && runCount > 0 && payloadBytes === runCount * PAGE_HASH_BYTES;
    case LaneFrameType.pages:
      if (sequence === 0) return false;
      return flags === FLAG_ZSTD ? payloadBytes > 0 && payloadBytes < rawBytes : payloadBytes === rawBytes;
  }
}

/** Fills `runs` from the table and checks each run, and the pages against the header. Hot: no allocation. */
function readRuns(head: Uint8Array, header: LaneHeader, runs: Uint32Array): void {
  let dataPages = 0;
  let deltaPages = 0;
  for (let i = 0, at = LANE_HEADER_BYTES; i < header.runCount; i++, at += RUN_BYTES) {
    const page = readU32(head, at);
    const word = readU32(head, at + 4);
    const count = word & RUN_COUNT_MASK;
    if (count === 0 || count > RUN_PAGES_MAX || page + count > ZERO_RUN) badRun(page, count);
    if (word === count) dataPages += count;
    else if (header.type !== LaneFrameType.pages || word >= ZERO_RUN + DELTA_RUN) badRun(page, word);
    else if (word < ZERO_RUN) deltaPages += count;
    runs[i * 2] = page;
    runs[i * 2 + 1] = word;
  }
  if (header.type === LaneFrameType.pages) checkContent(header, dataPages, deltaPages);
}

function checkContent({ rawBytes, deltaBytes }: LaneHeader, dataPages: number, deltaPages: number): void {
  const fits =
    dataPages * LANE_PAGE_BYTES === rawBytes - deltaBytes &&
    dataPages + deltaPages <= FRAME_DATA_PAGES_MAX &&
    deltaBytes >= deltaPages * DELTA_BYTES_MIN &&
    deltaBytes <= deltaPages * DELTA_BYTES_MAX;
  if (fits) return;
  throw new LaneFrameError(
    'LANE_FRAME_LENGTH',
    `A frame of ${dataPages} data pages and ${deltaPages} deltas says that they have ${rawBytes} bytes, ${deltaBytes} of them in deltas`,
    { dataPages, deltaPages, rawBytes, deltaBytes },
  );
}

function badRun(page: number, count: number): never {
  throw new LaneFrameError('LANE_FRAME_RUN', `A run of ${count} pages at page ${page} is not allowed`, { page, count });
}
