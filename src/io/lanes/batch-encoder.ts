/**
 * Turns a batch of page runs into one PAGES frame: reads guest memory, sorts out zero pages, pages of which only a little
 * changed, and pages of which nothing did, moves the others together, compresses all that where it pays.
 *
 *     frame buffer   ... | header | run table | data pages | deltas |     or one zstd frame of both
 *                        ^ start              ^ DATA_AT             ^ end
 *
 * The buffer is given by the caller and holds the whole frame, so that it goes out in one write; compressed bytes
 * replace the pages from which they were made. Nothing is allocated per page.
 */
import { assert } from '../../core/base/assert.ts';
import type { CompressionControl } from '../../core/compress/compression-control.ts';
import {
  DELTA_RUN,
  FLAG_ZSTD,
  laneHeadBytes,
  LaneFrameType,
  writeLaneHead,
  ZERO_RUN,
} from '../../core/wire/lane-frame.ts';
import {
  FRAME_DATA_BYTES_MAX,
  FRAME_RUNS_MAX,
  LANE_PAGE_BYTES as PAGE,
  RUN_PAGES_MAX,
} from '../../core/wire/lane-limits.ts';
import { type PageMemory, pageMemory } from '../../core/wire/page-delta.ts';
import { DeltaEncoder, PageTravel } from './delta-encoder.ts';
import { FramePacker, type PackerOptions } from './frame-packer.ts';
import type { GuestMemory } from './guest-memory.ts';
import { BATCH_PAGES_MAX, type SentCounts, type SourceLaneInit } from './lane-protocol.ts';
import { resentBytesOf, SentPages } from './sent-pages.ts';

/** Where pages begin in a frame buffer: room for the longest head before it, and aligned for the zero test. */
const DATA_AT = 8192;
const FRAME_BUFFER_BYTES = DATA_AT + FRAME_DATA_BYTES_MAX;

/** What becomes of a page: the bit of its run in the table, or no run at all. */
const UNCHANGED = -1;

const zeroPage = Buffer.alloc(PAGE);

export type FrameBuffer = { readonly buffer: Buffer<ArrayBuffer>; readonly memory: PageMemory };

export type EncodedBatch = SentCounts & { readonly start: number; readonly end: number };

/** What a lane is given to send, as in `ToSourceLane`. */
export type Batch = {
  readonly runs: Uint32Array;
  readonly zeroRuns?: Uint32Array;
  readonly heats?: Uint8Array;
};

export function allocateFrameBuffer(): FrameBuffer {
  const buffer = Buffer.allocUnsafeSlow(FRAME_BUFFER_BYTES);
  return { buffer, memory: pageMemory(buffer) };
}

export class BatchEncoder {
  readonly #memory: GuestMemory;
  readonly #deltas: DeltaEncoder;
  readonly #packer: FramePacker;
  readonly #sent: SentPages;
  readonly #table = new Uint32Array(FRAME_RUNS_MAX * 2);
  #tableLength = 0;
  #wholePages = 0;
  #resentWholePages = 0;
  #deltaPages = 0;
  #deltaRuns = 0;
  #zeroPages = 0;
  #unchangedPages = 0;

  constructor(memory: GuestMemory, options: PackerOptions & Pick<SourceLaneInit, 'deltaCacheBytes' | 'memory'>) {
    this.#memory = memory;
    const halfBytes = Math.floor(options.deltaCacheBytes / options.lanes / 2);
    this.#deltas = new DeltaEncoder({ versionBytes: halfBytes, signatureBytes: halfBytes, lanes: options.lanes });
    this.#packer = new FramePacker(options);
    this.#sent = new SentPages(options.memory);
  }

  /** What chooses the level, where it is to be chosen. */
  get control(): CompressionControl | null {
    return this.#packer.control;
  }

  /**
   * Writes the frame to `buffer` between `start` and `end`. The batch's limits are the caller's promise (asserted).
   * Throws LaneError when guest memory cannot be read.
   */
  encode(sequence: number, batch: Batch, frame: FrameBuffer): EncodedBatch {
    const { buffer } = frame;
    this.#begin();
    this.#readRuns(batch, frame);
    if (batch.zeroRuns !== undefined) this.#addZeroRuns(batch.zeroRuns);
    const { deltaBytes } = this.#deltas;
    const rawBytes = this.#wholePages * PAGE + deltaBytes;
    if (deltaBytes > 0) buffer.set(this.#deltas.deltas, DATA_AT + this.#wholePages * PAGE);
    const packedBytes = this.#packer.pack(buffer, DATA_AT, rawBytes);
    const payloadBytes = packedBytes === 0 ? rawBytes : packedBytes;
    const runCount = this.#tableLength / 2;
    const start = DATA_AT - laneHeadBytes(runCount);
    const flags = packedBytes === 0 ? 0 : FLAG_ZSTD;
    const type = LaneFrameType.pages;
    const header = { type, flags, sequence, runCount, payloadBytes, rawBytes, deltaBytes };
    writeLaneHead(buffer, start, header, this.#table);
    return { start, end: DATA_AT + payloadBytes, ...this.#counts(payloadBytes, deltaBytes) };
  }

  #begin(): void {
    this.#tableLength = 0;
    this.#wholePages = 0;
    this.#resentWholePages = 0;
    this.#deltaPages = 0;
    this.#deltaRuns = 0;
    this.#zeroPages = 0;
    this.#unchangedPages = 0;
    this.#deltas.begin();
  }

  #counts(payloadBytes: number, deltaBytes: number): SentCounts {
    const [wholePages, resentWholePages, deltaPages] = [this.#wholePages, this.#resentWholePages, this.#deltaPages];
    const [deltaRuns, unchangedPages, runCount] = [this.#deltaRuns, this.#unchangedPages, this.#tableLength / 2];
    const kinds = { wholePages, resentWholePages, deltaPages, unchangedPages };
    const dataPages = wholePages + deltaPages;
    return {
      ...{ dataPages, deltaPages, zeroPages: this.#zeroPages, unchangedPages, rawBytes: dataPages * PAGE },
      wireBytes: laneHeadBytes(runCount) + payloadBytes,
      resentPages: resentWholePages + deltaPages,
      resentBytes: resentBytesOf({ runCount, deltaRuns, payloadBytes, deltaBytes, ...kinds }),
    };
  }

  /** Reads adjacent runs at once, behind the data pages kept so far, and sorts their pages. */
  #readRuns({ runs, heats }: Batch, frame: FrameBuffer): void {
    let pages = 0;
    for (let i = 0; i < runs.length;) {
      const page = runs[i]!;
      let count = runs[i + 1]!;
      for (i += 2; i < runs.length && runs[i] === page + count; i += 2) {
        if (this.#memory.blockOf(page, count + runs[i + 1]!) === undefined) break;
        count += runs[i + 1]!;
      }
      assert(count > 0 && pages + count <= BATCH_PAGES_MAX, 'a batch holds at most BATCH_PAGES_MAX pages');
      this.#memory.read(page, count, frame.buffer, DATA_AT + this.#wholePages * PAGE);
      this.#sortRun(page, count, frame, heats?.subarray(pages, pages + count));
      pages += count;
    }
  }

  /** The run's pages lie behind the data pages kept so far: closes the gaps that the others leave. Hot: no allocation. */
  #sortRun(page: number, count: number, frame: FrameBuffer, heats?: Uint8Array): void {
    const { buffer } = frame;
    const from = DATA_AT + this.#wholePages * PAGE;
    let to = from;
    let i = 0;
    let kind = this.#kindOf(page, heats?.[0] ?? 0, frame, from);
    while (i < count) {
      const first = i;
      const own = kind;
      for (i++; i < count; i++) {
        kind = this.#kindOf(page + i, heats?.[i] ?? 0, frame, from + i * PAGE);
        if (kind !== own) break;
      }
      this.#addRun(page + first, i - first, own);
      if (own !== 0) continue;
      const at = from + first * PAGE;
      if (to !== at) buffer.copyWithin(to, at, from + i * PAGE);
      to += (i - first) * PAGE;
    }
  }

  /** Hot: no allocation. */
  #kindOf(page: number, heat: number, { buffer, memory }: FrameBuffer, at: number): number {
    if (isZeroPage(buffer, at)) {
      this.#deltas.zeroed(page, 1);
      return ZERO_RUN;
    }
    const travel = this.#deltas.travelOf(page, heat > 0, memory, at);
    if (travel === PageTravel.whole) {
      if (this.#sent.mark(page)) this.#resentWholePages++;
      return 0;
    }
    return travel === PageTravel.delta ? DELTA_RUN : UNCHANGED;
  }

  #addRun(page: number, count: number, kind: number): void {
    if (kind === UNCHANGED) {
      this.#unchangedPages += count;
      return;
    }
    assert(this.#tableLength + 2 <= this.#table.length, 'a batch fits in one run table');
    this.#table[this.#tableLength++] = page;
    this.#table[this.#tableLength++] = count | kind;
    if (kind === ZERO_RUN) this.#zeroPages += count;
    else if (kind === DELTA_RUN) {
      this.#deltaPages += count;
      this.#deltaRuns++;
    } else this.#wholePages += count;
  }

  #addZeroRuns(runs: Uint32Array): void {
    for (let i = 0; i < runs.length; i += 2) {
      assert(runs[i + 1]! > 0 && runs[i + 1]! <= RUN_PAGES_MAX, 'a zero run has 1 to RUN_PAGES_MAX pages');
      this.#addRun(runs[i]!, runs[i + 1]!, ZERO_RUN);
      this.#deltas.zeroed(runs[i]!, runs[i + 1]!);
    }
  }
}

/** Three bytes decide for many data pages; the rest is decided by memcmp (8 GB/s). Hot: no allocation. */
function isZeroPage(bytes: Buffer, at: number): boolean {
  if (bytes[at] !== 0 || bytes[at + 2048] !== 0 || bytes[at + PAGE - 1] !== 0) return false;
  return bytes.compare(zeroPage, 0, PAGE, at, at + PAGE) === 0;
}
