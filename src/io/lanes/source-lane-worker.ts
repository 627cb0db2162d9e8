/**
 * Thread of one lane at the source: reads pages, encodes them, sends them on its own connection.
 *
 *     batch ─▶ queue ─▶ free frame buffer? ─▶ read, encode ─▶ socket ─▶ (written) buffer free again
 *                                                  └▶ sent              ACK ─▶ acked
 *
 * Bounded: FRAME_BUFFERS frames exist at a time, so at most one is being written and one waits; the next batch is read,
 * as late as possible, only when the connection has taken a whole frame. How many batches are queued is the pump's choice.
 */
import tls from 'node:tls';
import { type MessagePort, parentPort } from 'node:worker_threads';
import { assert } from '../../core/base/assert.ts';
import {
  decodeAck,
  decodeRefuse,
  encodeBye,
  encodeHello,
  encodeVerify,
  LANE_VERSION,
  LaneFrameType,
  RefuseReason,
} from '../../core/wire/lane-frame.ts';
import { FRAME_RUNS_MAX } from '../../core/wire/lane-limits.ts';
import { type LaneFrame, LaneParser } from '../../core/wire/lane-parser.ts';
import { allocateFrameBuffer, BatchEncoder, type FrameBuffer } from './batch-encoder.ts';
import { LaneError, type LaneErrorCode, toLaneError } from './errors.ts';
import { GuestMemory } from './guest-memory.ts';
import {
  type FromSourceLane,
  type SourceLaneInit,
  type StopLane,
  type ToSourceLane,
  VERIFY_PAGES_MAX,
} from './lane-protocol.ts';
import { LaneMeter } from './lane-meter.ts';
import { LinkMemory } from './link-memory.ts';
import { HANDSHAKE_MS_MAX, peerError, socketError, sourceTlsOptions } from './lane-tls.ts';
import { createPageHash, type PageHash } from './page-hash.ts';
import { cutRuns, RunHasher } from './run-hasher.ts';

/** One frame in the connection's hands, one ready behind it. */
const FRAME_BUFFERS = 2;
const KEEP_ALIVE_MS = 10_000;

/** What the destination owes an answer to, by sequence. `found` are the pages that differ, so far. */
type Verification = {
  readonly id: number;
  readonly pages: number;
  readonly found: number[];
  /** Answers that are due, and whether all questions have been asked. */
  open: number;
  complete: boolean;
};
type Owed =
  | { readonly type: 'batch'; readonly id: number; readonly wireBytes: number }
  | { readonly type: 'verify'; readonly of: Verification };

const refusalCodes: Readonly<Record<number, LaneErrorCode>> = {
  [RefuseReason.place]: 'LANE_PLACE',
  [RefuseReason.protocol]: 'LANE_PROTOCOL',
};

class SourceLane {
  readonly #port: MessagePort;
  readonly #memory: GuestMemory;
  readonly #encoder: BatchEncoder;
  /** Null unless the level of compression is to be found. */
  readonly #meter: LaneMeter | null;
  readonly #hasher: RunHasher;
  readonly #socket: tls.TLSSocket;
  readonly #parser: LaneParser;
  readonly #free = Array.from({ length: FRAME_BUFFERS }, allocateFrameBuffer);
  readonly #queue: Exclude<ToSourceLane, StopLane>[] = [];
  readonly #owed = new Map<number, Owed>();
  #state: 'connecting' | 'open' | 'leaving' | 'over' = 'connecting';
  #sequence = 0;
  /** A turn of work is due; nothing can be done before a buffer is free or an answer arrives. */
  #scheduled = false;
  #paused = false;
  #verifying: { readonly of: Verification; readonly pieces: Uint32Array; next: number } | undefined;

  constructor(init: SourceLaneInit, port: MessagePort, hash: PageHash) {
    this.#port = port;
    this.#memory = new GuestMemory(init.memory, 'read');
    const link = new LinkMemory(init.linkMemory, init.lanes);
    this.#encoder = new BatchEncoder(this.#memory, { ...init, link: link.read(Date.now()) });
    this.#meter = this.#encoder.control === null ? null : new LaneMeter(this.#encoder.control, link);
    this.#hasher = new RunHasher(this.#memory, hash);
    this.#parser = new LaneParser('destination', (frame) => this.#onFrame(frame));
    const socket = tls.connect(sourceTlsOptions(init));
    this.#socket = socket;
    socket.setTimeout(HANDSHAKE_MS_MAX);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('secureConnect', () => this.#greet(init));
    socket.on('data', (chunk) => this.#guard(() => this.#parser.push(chunk)));
    socket.on('timeout', () => this.#fail(new LaneError('LANE_CONNECT', `No answer from ${where(init)} in time`)));
    socket.on('error', (error) => {
      // Everything was acknowledged before the goodbye: how the connection ends no longer matters.
      if (this.#state === 'leaving') return this.#end();
      const code = this.#state === 'connecting' ? 'LANE_CONNECT' : 'LANE_CLOSED';
      this.#fail(socketError(error, code, where(init)));
    });
    socket.on('close', () => this.#onClose(init));
    port.on('message', (message: ToSourceLane) => this.#onMessage(message));
  }

  #greet(init: SourceLaneInit): void {
    const error = peerError(this.#socket, init.peerName);
    if (error !== undefined) return this.#fail(error);
    const token = Buffer.from(init.token, 'hex');
    this.#socket.write(encodeHello({ version: LANE_VERSION, lane: init.lane, lanes: init.lanes, token }));
  }

  #onMessage(message: ToSourceLane): void {
    if (message.type === 'stop') return this.#finish();
    if (message.type === 'close' && this.#state === 'connecting') return this.#end();
    this.#queue.push(message);
    this.#meter?.called();
    this.#work();
  }

  /** One message per turn of the event loop: acknowledgements and writes get their turn between two batches. */
  #work = (): void => {
    if (this.#scheduled || this.#paused || this.#state !== 'open' || this.#queue.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#guard(() => this.#step());
      this.#work();
    });
  };

  #step(): void {
    const message = this.#queue[0];
    if (this.#state !== 'open' || message === undefined) return;
    switch (message.type) {
      case 'batch': {
        const frame = this.#free.pop();
        if (frame === undefined) {
          this.#meter?.blocked();
          return void (this.#paused = true);
        }
        this.#sendBatch(message, frame);
        break;
      }
      case 'verify':
        if (!this.#advanceVerify(message)) return;
        break;
      case 'close':
        if (this.#owed.size > 0) return void (this.#paused = true);
        this.#state = 'leaving';
        this.#socket.end(encodeBye());
        break;
    }
    this.#queue.shift();
  }

  #resume(): void {
    this.#paused = false;
    this.#work();
  }

  #sendBatch(batch: ToSourceLane & { type: 'batch' }, frame: FrameBuffer): void {
    const { id } = batch;
    const startMs = performance.now();
    const sequence = ++this.#sequence;
    const { start, end, ...counts } = this.#encoder.encode(sequence, batch, frame);
    this.#owed.set(sequence, { type: 'batch', id, wireBytes: counts.wireBytes });
    this.#socket.write(frame.buffer.subarray(start, end), () => {
      this.#free.push(frame);
      this.#meter?.unblocked();
      this.#resume();
    });
    this.#meter?.sent(counts.wireBytes, startMs);
    this.#post({ type: 'sent', id, ...counts });
  }

  /** Sends the next frame of the verify at the head of the queue; returns whether it was the last one. */
  #advanceVerify({ id, runs }: ToSourceLane & { type: 'verify' }): boolean {
    const verifying = (this.#verifying ??= startVerify(id, runs));
    const { of, pieces } = verifying;
    const from = verifying.next;
    let to = from;
    for (let pages = 0; to < pieces.length && pages < VERIFY_PAGES_MAX && to - from < FRAME_RUNS_MAX * 2; to += 2)
      pages += pieces[to + 1]!;
    verifying.next = to;
    of.complete = to === pieces.length;
    this.#sendVerify(of, pieces.subarray(from, to));
    if (of.complete) this.#verifying = undefined;
    return of.complete;
  }

  #sendVerify(of: Verification, pieces: Uint32Array): void {
    assert(pieces.length > 0, 'a verify has pages');
    const sequence = ++this.#sequence;
    of.open++;
    this.#owed.set(sequence, { type: 'verify', of });
    this.#socket.write(encodeVerify(sequence, pieces, this.#hasher.hashes(pieces)));
  }

  #onFrame({ header, runs, payload }: LaneFrame): void {
    const { type } = header;
    if (type === LaneFrameType.refuse) {
      const { reason, text } = decodeRefuse(payload);
      throw new LaneError(refusalCodes[reason] ?? 'LANE_REFUSED', `The destination refused: ${text}`, { reason });
    }
    if ((type === LaneFrameType.accept) !== (this.#state === 'connecting')) {
      throw new LaneError('LANE_PROTOCOL', `The destination sent frame type ${type} while the lane was ${this.#state}`);
    }
    if (type === LaneFrameType.accept) {
      this.#state = 'open';
      this.#socket.setTimeout(0);
      this.#post({ type: 'connected' });
    } else if (type === LaneFrameType.ack) {
      const wireBytes = this.#onAck(header.sequence);
      this.#meter?.acked(decodeAck(payload), wireBytes, this.#owed.size === 0 && this.#queue.length === 0);
    } else {
      this.#onVerified(header.sequence, runs);
    }
    this.#resume();
  }

  /** Everything up to `sequence` is placed; only the newest is reported, because acknowledgements are cumulative. Returns its bytes. */
  #onAck(sequence: number): number {
    if (!this.#owed.has(sequence)) throw unexpected('acknowledged', sequence);
    let newest = -1;
    let wireBytes = 0;
    for (const [each, owed] of this.#owed) {
      if (each > sequence) break;
      if (owed.type !== 'batch') throw unexpected('acknowledged over a verify', sequence);
      newest = owed.id;
      wireBytes += owed.wireBytes;
      this.#owed.delete(each);
    }
    this.#post({ type: 'acked', id: newest });
    return wireBytes;
  }

  /** Chunks that differ are asked for again page by page. */
  #onVerified(sequence: number, runs: Uint32Array): void {
    const owed = this.#owed.get(sequence);
    if (owed?.type !== 'verify') throw unexpected('verified', sequence);
    this.#owed.delete(sequence);
    const { of } = owed;
    of.open--;
    for (let i = 0; i < runs.length; i += 2) {
      const [page, count] = [runs[i]!, runs[i + 1]!];
      if (count === 1) of.found.push(page);
      else
        this.#sendVerify(
          of,
          Uint32Array.from({ length: count * 2 }, (_, k) => (k % 2 === 0 ? page + k / 2 : 1)),
        );
    }
    if (of.found.length > of.pages) throw unexpected('verified more pages than asked in', sequence);
    if (of.open > 0 || !of.complete) return;
    this.#post({ type: 'verified', id: of.id, pages: of.pages, mismatches: Uint32Array.from(of.found).sort() });
  }

  #onClose(init: SourceLaneInit): void {
    if (this.#state === 'leaving') return this.#end();
    if (this.#state === 'over') return;
    const refused = this.#state === 'connecting';
    const text = refused ? 'before it accepted the lane (does it trust this host?)' : 'unexpectedly';
    const code = refused ? 'LANE_REFUSED' : 'LANE_CLOSED';
    this.#fail(new LaneError(code, `${where(init)} closed the connection ${text}`));
  }

  #guard(action: () => void): void {
    if (this.#state === 'over') return;
    try {
      action();
    } catch (error) {
      this.#fail(toLaneError(error, error instanceof Error && 'code' in error ? 'LANE_PROTOCOL' : 'LANE_WORKER'));
    }
  }

  #fail(error: LaneError): void {
    if (this.#state === 'over') return;
    this.#post({ type: 'failed', code: error.code, message: error.message });
    this.#finish();
  }

  #end(): void {
    this.#post({ type: 'closed' });
    this.#finish();
  }

  #finish(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#socket.destroy();
    this.#memory.close();
    this.#meter?.close();
    this.#port.close();
  }

  #post(message: FromSourceLane): void {
    this.#port.postMessage(message);
  }
}

function startVerify(id: number, runs: Uint32Array) {
  const pieces = cutRuns(runs);
  let pages = 0;
  for (let i = 1; i < pieces.length; i += 2) pages += pieces[i]!;
  return { of: { id, pages, found: [], open: 0, complete: false }, pieces, next: 0 };
}

function where({ peerName, host, port }: SourceLaneInit): string {
  return `host "${peerName}" (${host} port ${port})`;
}

function unexpected(what: string, sequence: number): LaneError {
  return new LaneError('LANE_PROTOCOL', `The destination ${what} frame ${sequence}, which is not due`, { sequence });
}

function begin(init: SourceLaneInit, port: MessagePort, hash: PageHash): void {
  try {
    const lane = new SourceLane(init, port, hash);
    assert(lane instanceof SourceLane, 'the lane runs until its port is closed');
  } catch (error) {
    const { code, message } = toLaneError(error, 'LANE_WORKER');
    port.postMessage({ type: 'failed', code, message } satisfies FromSourceLane);
    port.close();
  }
}

// Loading the modules takes longer than all the rest: a thread is started ahead of time and told later what it is for.
const port = parentPort;
if (port !== null) {
  const hash = await createPageHash();
  port.once('message', (init: SourceLaneInit) => begin(init, port, hash));
}
