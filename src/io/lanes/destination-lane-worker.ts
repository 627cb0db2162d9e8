/**
 * Thread of one lane at the destination: listens on its own port (Node cannot hand sockets to threads), accepts the one
 * connection that has the right certificate and the right token, and places what arrives.
 *
 *     listening ──(trusted name, token, lane)──▶ open ──BYE──▶ over        everybody else is refused; the lane listens on
 *                                                  └── anything wrong ──▶ REFUSE, failed
 *
 * Bounded: CANDIDATES_MAX connections that have not proved themselves, each for at most HANDSHAKE_MS_MAX. Placing is
 * synchronous, so a slow memory pushes back through TCP. An ACK means placed; frames that arrive together share one.
 */
import { timingSafeEqual } from 'node:crypto';
import tls from 'node:tls';
import { type MessagePort, parentPort } from 'node:worker_threads';
import { assert } from '../../core/base/assert.ts';
import {
  decodeHello,
  encodeAccept,
  encodeAck,
  encodeRefuse,
  encodeVerified,
  LANE_VERSION,
  laneHeadBytes,
  LaneFrameType,
  RefuseReason,
} from '../../core/wire/lane-frame.ts';
import { LANE_PAGE_BYTES } from '../../core/wire/lane-limits.ts';
import { type LaneFrame, LaneParser } from '../../core/wire/lane-parser.ts';
import { LaneError, toLaneError } from './errors.ts';
import { GuestMemory } from './guest-memory.ts';
import type { DestinationLaneInit, FromDestinationLane, ToDestinationLane } from './lane-protocol.ts';
import { destinationTlsOptions, HANDSHAKE_MS_MAX, peerError, socketError } from './lane-tls.ts';
import { createPageHash, type PageHash } from './page-hash.ts';
import { PagePlacer } from './page-placer.ts';

const CANDIDATES_MAX = 8;
/** Refusals that are reported; a flood of strangers must not become a flood of messages. */
const REFUSALS_REPORTED_MAX = 32;
const PROGRESS_MS = 250;
/** How long a source that is given up may take to read why. */
const FAREWELL_MS = 1000;
const KEEP_ALIVE_MS = 10_000;

class DestinationLane {
  readonly #init: DestinationLaneInit;
  readonly #port: MessagePort;
  readonly #memory: GuestMemory;
  readonly #placer: PagePlacer;
  readonly #token: Buffer;
  readonly #server: tls.Server;
  readonly #candidates = new Set<tls.TLSSocket>();
  readonly #timer: NodeJS.Timeout;
  #state: 'listening' | 'open' | 'leaving' | 'over' = 'listening';
  #active: tls.TLSSocket | undefined;
  #refusals = 0;
  #received = 0;
  #acknowledged = 0;
  #wireBytes = 0;
  #reportedBytes = 0;

  constructor(init: DestinationLaneInit, port: MessagePort, hash: PageHash) {
    this.#init = init;
    this.#port = port;
    this.#memory = new GuestMemory(init.memory, 'place');
    this.#placer = new PagePlacer(this.#memory, hash, init);
    this.#token = Buffer.from(init.token, 'hex');
    this.#server = tls.createServer(destinationTlsOptions(init.tls), (socket) => this.#onCandidate(socket));
    this.#server.maxConnections = CANDIDATES_MAX;
    this.#server.on('tlsClientError', (error) => this.#reportRefusal(toLaneError(error, 'LANE_CONNECT').message));
    this.#timer = setInterval(() => this.#reportProgress(), PROGRESS_MS).unref();
    port.on('message', ({ type }: ToDestinationLane) => {
      assert(type === 'stop', 'stop is the only message to a destination lane');
      this.#end();
    });
    this.#listen(init.ports.first);
  }

  /** Takes the first port that is free; the lanes of a migration race for them. */
  #listen(port: number): void {
    const server = this.#server;
    const onError = (error: NodeJS.ErrnoException): void => {
      server.off('listening', onListening);
      const { first, last } = this.#init.ports;
      if (error.code === 'EADDRINUSE' && port < last) return this.#listen(port + 1);
      const text = `No port of ${first} to ${last} on ${this.#init.address} can be listened on`;
      this.#fail(new LaneError('LANE_CONNECT', `${text}: ${error.message}`, { first, last }, { cause: error }));
    };
    const onListening = (): void => {
      server.off('error', onError);
      server.on('error', (error) => this.#fail(toLaneError(error, 'LANE_CONNECT')));
      const address = server.address();
      assert(address !== null && typeof address === 'object', 'a TCP server has an address');
      this.#post({ type: 'listening', port: address.port });
    };
    server.once('error', onError).once('listening', onListening).listen(port, this.#init.address);
  }

  #onCandidate(socket: tls.TLSSocket): void {
    const parser = new LaneParser('source', (frame) => this.#onFrame(socket, frame));
    this.#candidates.add(socket);
    socket.setTimeout(HANDSHAKE_MS_MAX, () => this.#drop(socket, RefuseReason.protocol, 'No hello in time'));
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('error', (error) => this.#onLost(socket, socketError(error, 'LANE_CLOSED', 'the source')));
    socket.on('close', () => this.#onLost(socket, new LaneError('LANE_CLOSED', 'The source closed the connection')));
    const error = peerError(socket, this.#init.peerName);
    if (error !== undefined) return this.#drop(socket, RefuseReason.name, error.message);
    socket.on('data', (chunk: Buffer) => this.#onData(socket, parser, chunk));
  }

  #onData(socket: tls.TLSSocket, parser: LaneParser, chunk: Buffer): void {
    if (this.#state === 'over' || (socket !== this.#active && !this.#candidates.has(socket))) return;
    try {
      parser.push(chunk);
      if (socket === this.#active) this.#acknowledge(socket);
    } catch (thrown) {
      const error = toLaneError(thrown, thrown instanceof Error && 'code' in thrown ? 'LANE_PROTOCOL' : 'LANE_WORKER');
      const reason = error.code === 'LANE_PLACE' ? RefuseReason.place : RefuseReason.protocol;
      const isActive = socket === this.#active;
      if (isActive) this.#active = undefined;
      this.#drop(socket, reason, error.message);
      if (isActive) this.#fail(error);
    }
  }

  #onFrame(socket: tls.TLSSocket, frame: LaneFrame): void {
    const { header } = frame;
    if (socket !== this.#active) return this.#onHello(socket, frame);
    if (this.#state !== 'open') throw new LaneError('LANE_PROTOCOL', 'The source sent a frame after its goodbye');
    this.#wireBytes += laneHeadBytes(header.runCount) + header.payloadBytes;
    switch (header.type) {
      case LaneFrameType.pages:
        this.#expect(header.sequence);
        this.#placer.place(frame);
        break;
      case LaneFrameType.verify: {
        this.#acknowledge(socket);
        this.#expect(header.sequence);
        this.#acknowledged = header.sequence;
        socket.write(encodeVerified(header.sequence, this.#placer.verify(frame)));
        break;
      }
      case LaneFrameType.bye:
        this.#state = 'leaving';
        this.#acknowledge(socket);
        socket.end();
        break;
      case LaneFrameType.hello:
      case LaneFrameType.accept:
      case LaneFrameType.refuse:
      case LaneFrameType.ack:
      case LaneFrameType.verified:
        throw new LaneError('LANE_PROTOCOL', `The source sent frame type ${header.type} after its hello`);
    }
  }

  #onHello(socket: tls.TLSSocket, { header, payload }: LaneFrame): void {
    // A candidate that has been refused is no longer one, but its bytes may still come in the same chunk.
    if (!this.#candidates.has(socket)) return;
    if (header.type !== LaneFrameType.hello) throw new LaneError('LANE_PROTOCOL', 'The first frame must be a hello');
    const { version, lane, lanes, token } = decodeHello(payload);
    if (version !== LANE_VERSION) {
      const text = `Lane protocol version ${version}, expected ${LANE_VERSION}`;
      return this.#drop(socket, RefuseReason.version, text);
    }
    if (token.length !== this.#token.length || !timingSafeEqual(token, this.#token)) {
      return this.#drop(socket, RefuseReason.token, 'The token is not that of this reservation');
    }
    if (lane !== this.#init.lane || lanes !== this.#init.lanes) {
      const text = `Lane ${lane} of ${lanes}, expected lane ${this.#init.lane} of ${this.#init.lanes}`;
      return this.#drop(socket, RefuseReason.lane, text);
    }
    this.#candidates.delete(socket);
    this.#active = socket;
    this.#state = 'open';
    this.#server.close();
    for (const other of this.#candidates) this.#drop(other, RefuseReason.taken, 'The lane is taken');
    socket.setTimeout(0);
    socket.write(encodeAccept(LANE_VERSION));
    this.#post({ type: 'connected' });
  }

  #expect(sequence: number): void {
    const expected = ++this.#received;
    if (sequence === expected) return;
    throw new LaneError('LANE_PROTOCOL', `Frame ${sequence} arrived instead of frame ${expected}`, {
      sequence,
      expected,
    });
  }

  #acknowledge(socket: tls.TLSSocket): void {
    if (this.#received === this.#acknowledged) return;
    this.#acknowledged = this.#received;
    const { user, system } = process.threadCpuUsage();
    socket.write(encodeAck(this.#acknowledged, Math.round((user + system) / 1000)));
  }

  /** Says why and lets go; what still arrives is read and thrown away, or the reason would be lost to a reset. */
  #drop(socket: tls.TLSSocket, reason: RefuseReason, text: string): void {
    if (this.#candidates.delete(socket)) this.#reportRefusal(`${socket.remoteAddress ?? 'Somebody'}: ${text}`);
    socket.setTimeout(FAREWELL_MS, () => socket.destroy());
    setTimeout(() => socket.destroy(), FAREWELL_MS).unref();
    socket.end(encodeRefuse(reason, text));
    socket.resume();
  }

  #onLost(socket: tls.TLSSocket, error: LaneError): void {
    if (this.#candidates.delete(socket)) return this.#reportRefusal(error.message);
    if (socket !== this.#active || this.#state === 'over') return;
    if (this.#state === 'leaving') return this.#end();
    this.#fail(error);
  }

  #reportRefusal(message: string): void {
    if (this.#state === 'over' || this.#refusals++ >= REFUSALS_REPORTED_MAX) return;
    this.#post({ type: 'refused', message });
  }

  #reportProgress(): void {
    if (this.#wireBytes === this.#reportedBytes) return;
    this.#reportedBytes = this.#wireBytes;
    const { dataPages, deltaPages, zeroPages } = this.#placer;
    const counts = { dataPages, deltaPages, zeroPages, unchangedPages: 0, rawBytes: dataPages * LANE_PAGE_BYTES };
    this.#post({ type: 'progress', ...counts, wireBytes: this.#wireBytes });
  }

  #fail(error: LaneError): void {
    if (this.#state === 'over') return;
    this.#post({ type: 'failed', code: error.code, message: error.message });
    this.#finish();
  }

  #end(): void {
    if (this.#state === 'over') return;
    this.#reportProgress();
    this.#post({ type: 'closed' });
    this.#finish();
  }

  /** The thread ends by itself when the last connection is gone. */
  #finish(): void {
    this.#state = 'over';
    clearInterval(this.#timer);
    for (const socket of [...this.#candidates, this.#active]) socket?.destroy();
    this.#candidates.clear();
    this.#server.close();
    this.#memory.close();
    this.#port.close();
  }

  #post(message: FromDestinationLane): void {
    this.#port.postMessage(message);
  }
}

function begin(init: DestinationLaneInit, port: MessagePort, hash: PageHash): void {
  try {
    const lane = new DestinationLane(init, port, hash);
    assert(lane instanceof DestinationLane, 'the lane runs until its port is closed');
  } catch (error) {
    const { code, message } = toLaneError(error, 'LANE_WORKER');
    port.postMessage({ type: 'failed', code, message } satisfies FromDestinationLane);
    port.close();
  }
}

// Loading the modules takes longer than all the rest: a thread is started ahead of time and told later what it is for.
const port = parentPort;
if (port !== null) {
  const hash = await createPageHash();
  port.once('message', (init: DestinationLaneInit) => begin(init, port, hash));
}
