/**
 * One control connection: messages over an established TLS connection, whichever side opened it.
 *
 * Every message that arrives goes to exactly one place: `ping`, `pong` and `probe` stay here; else the first `expect` that waits
 * for its type; else the `onMessage` handler; else the inbox, where a later `expect` or handler finds it. `failed` from
 * the peer rejects every waiting `expect`. The connection ends once, with one reason, which every pending and every
 * later call gets.
 */
import type { TLSSocket } from 'node:tls';
import { assert } from '../../core/base/assert.ts';
import { ControlParser, encodeControl, type ReceivedMessage } from '../../core/wire/control-codec.ts';
import type { ControlMessage, ControlMessageType, Hello, MessageOf } from '../../core/wire/control-messages.ts';
import { ControlWireError } from '../../core/wire/errors.ts';
import { LinkError } from './errors.ts';
import { KeepAlive } from './keep-alive.ts';
import { ProbeMeter } from './link-probe.ts';
import { MessageQueue } from './message-queue.ts';
import { connectionErrorOf } from './tls-errors.ts';

/** How long a closing connection waits for the peer to read what was sent and to close as well. */
const LINGER_MS = 1000;
/** No pings while more than this waits to be sent. */
const PING_QUEUE_BYTES_MAX = 4096;

export type Received<Type extends ControlMessageType> = {
  readonly message: MessageOf<Type>;
  readonly attachment: Uint8Array | null;
};

export type MessageHandler = (message: ControlMessage, attachment: Uint8Array | null) => void;

export type ExpectOptions = { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined };

type Pending = { readonly resolve: () => void; readonly reject: (error: Error) => void };

export class ControlConnection {
  /** Host name in the peer's certificate. */
  readonly peerName: string;
  /** Fulfilled, never rejected, when the connection has ended: why. LINK_CLOSED when this side closed it. */
  readonly closed: Promise<LinkError>;

  readonly #socket: TLSSocket;
  readonly #parser = new ControlParser();
  readonly #queue: MessageQueue;
  readonly #keepAlive: KeepAlive;
  readonly #probeMeter = new ProbeMeter();
  readonly #drains = new Set<Pending>();
  #peerHello: Hello | null = null;
  #reason: LinkError | null = null;
  #settleClosed: (reason: LinkError) => void = () => undefined;
  #closing: Promise<void> | null = null;
  #receivedBytes = 0;
  #sentBytes = 0;

  /** The TLS handshake is over and the peer's name has been checked; the hello has not been exchanged yet. */
  constructor(socket: TLSSocket, peerName: string) {
    this.peerName = peerName;
    this.#socket = socket;
    this.closed = new Promise((resolve) => (this.#settleClosed = resolve));
    this.#queue = new MessageQueue(peerName, (full) => void (full ? socket.pause() : socket.resume()));
    this.#keepAlive = new KeepAlive({
      ping: (id) => {
        // Data under way is a sign of life by itself, and a ping behind it would measure the queue.
        if (this.#reason === null && socket.writableLength < PING_QUEUE_BYTES_MAX) this.#write({ type: 'ping', id });
      },
      isPaused: () => socket.isPaused(),
    });
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('drain', () => this.#settleDrains(null));
    socket.on('end', () => this.#peerEnded());
    socket.on('error', (error) => this.#finish(connectionErrorOf(error, peerName)));
    socket.on('close', () => this.#finish(connectionErrorOf(null, peerName)));
  }

  /** What the peer said about itself. There for every connection that `dialControl` or the listener gives out. */
  get peerHello(): Hello {
    assert(this.#peerHello !== null, 'the hello has been exchanged');
    return this.#peerHello;
  }

  /** Why the connection ended, or null while it is open. */
  get closedReason(): LinkError | null {
    return this.#reason;
  }

  /** Smoothed round-trip time of pings, or null before the first answer. Includes what the peer's event loop adds. */
  get rttMs(): number | null {
    return this.#keepAlive.rttMs;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  get remoteAddress(): string | null {
    return this.#socket.remoteAddress ?? null;
  }

  get localAddress(): string | null {
    return this.#socket.localAddress ?? null;
  }

  get localPort(): number | null {
    return this.#socket.localPort ?? null;
  }

  /**
   * Sends a message. Await it: it is fulfilled at once while the peer keeps up, and only after the queue has drained
   * when more than the socket's high-water mark waits. Rejects with the reason when the connection has ended.
   */
  async send(message: ControlMessage, attachment: Uint8Array | null = null): Promise<void> {
    if (this.#reason !== null) throw this.#reason;
    if (this.#write(message, attachment)) return;
    await new Promise<void>((resolve, reject) => this.#drains.add({ resolve, reject }));
  }

  /** Sends a message if that is still possible, without waiting: for notices whose loss `closed` reports anyway. */
  post(message: ControlMessage): void {
    if (this.#reason === null) this.#write(message);
  }

  /** Takes every message that no `expect` waits for, those that have arrived already first. Replaces the last handler. */
  onMessage(handler: MessageHandler): void {
    this.#queue.setHandler(({ message, attachment }) => this.#handle(handler, message, attachment));
  }

  /**
   * The next message of these types. Without an `onMessage` handler any other message is consumed and becomes a
   * LINK_PROTOCOL error. Rejects with LINK_PEER_FAILED when the peer sends `failed` (unless that is among the types), LINK_TIMEOUT, LINK_CANCELLED,
   * or the reason why the connection ended. The connection stays open after LINK_TIMEOUT and LINK_CANCELLED.
   */
  async expect<Type extends ControlMessageType>(
    types: readonly Type[],
    options: ExpectOptions,
  ): Promise<Received<Type>> {
    const received = await this.#queue.take(types, options);
    return received as Received<Type>;
  }

  /** Calls `handler` with the silence in ms, once per silence, when nothing at all was heard for `stallTimeoutMs`. */
  onStalled(stallTimeoutMs: number, handler: (silentMs: number) => void): void {
    this.#keepAlive.onStalled(stallTimeoutMs, handler);
  }

  /** After a burst of data: the round-trip time is null until the next pong. */
  renewRtt(): void {
    if (this.#reason === null) this.#keepAlive.renewRtt();
  }

  /** The hello has been exchanged: from here on there are pings. Called by `exchangeHello` only. */
  begin(hello: Hello): void {
    this.#peerHello = hello;
    if (this.#reason === null) this.#keepAlive.start();
  }

  /** Sends what is queued, then ends the connection. Fulfilled when it is gone, after a second at the latest. */
  async close(): Promise<void> {
    this.#finish(new LinkError('LINK_CLOSED', `This side closed the connection to ${this.peerName}`));
    await this.#closing;
  }

  /** Tells the peer what went wrong, then closes. */
  async fail(code: string, message: string): Promise<void> {
    this.post({ type: 'failed', code, message, guest: null });
    await this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #write(message: ControlMessage, attachment: Uint8Array | null = null): boolean {
    const parts = encodeControl(message, attachment);
    this.#socket.cork();
    let below = true;
    for (const part of parts) {
      below = this.#socket.write(part);
      this.#sentBytes += part.length;
    }
    this.#socket.uncork();
    return below;
  }

  #receive(chunk: Buffer): void {
    this.#receivedBytes += chunk.length;
    this.#keepAlive.heard();
    if (this.#reason !== null) return;
    let messages: ReceivedMessage[];
    try {
      messages = this.#parser.push(chunk);
    } catch (error) {
      this.#violated(error);
      return;
    }
    for (const received of messages) {
      if (received.message.type === 'ping') this.post({ type: 'pong', id: received.message.id });
      else if (received.message.type === 'pong') this.#keepAlive.pong(received.message.id);
      else if (received.message.type === 'probe') this.#probed(received.message.last, received.attachment?.length ?? 0);
      else this.#queue.deliver(received);
    }
  }

  #probed(last: boolean, bytes: number): void {
    const answer = this.#probeMeter.received(last, bytes, performance.now());
    if (answer !== null) this.post(answer);
  }

  #handle(handler: MessageHandler, message: ControlMessage, attachment: Uint8Array | null): void {
    try {
      handler(message, attachment);
    } catch (cause) {
      // Our own mistake: it ends this migration, not the agent with all the others.
      const text = `The handler of message ${message.type} from ${this.peerName} failed`;
      this.post({ type: 'failed', code: 'INTERNAL', message: text, guest: null });
      this.#finish(new LinkError('LINK_CLOSED', text, { peer: this.peerName }, { cause }));
    }
  }

  #peerEnded(): void {
    try {
      this.#parser.finish();
    } catch (error) {
      if (this.#reason === null) this.#violated(error);
    }
    this.#finish(connectionErrorOf(null, this.peerName));
  }

  #violated(error: unknown): void {
    if (!(error instanceof ControlWireError)) throw error;
    const message = `${this.peerName} sent what the protocol does not allow`;
    this.post({ type: 'failed', code: 'PROTOCOL', message: error.message, guest: null });
    this.#finish(new LinkError('LINK_PROTOCOL', message, { peer: this.peerName }, { cause: error }));
  }

  /** The one way out: idempotent, the first reason counts. */
  #finish(reason: LinkError): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    this.#keepAlive.stop();
    this.#closing = this.#linger();
    this.#queue.close(reason);
    this.#settleDrains(reason);
    this.#settleClosed(reason);
  }

  /** Ends, and keeps reading until the peer has ended too: a close with unread bytes would reset what we sent last. */
  #linger(): Promise<void> {
    const socket = this.#socket;
    if (socket.closed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => socket.destroy(), LINGER_MS);
      socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      socket.end();
      socket.resume();
    });
  }

  #settleDrains(error: LinkError | null): void {
    for (const { resolve, reject } of this.#drains) {
      if (error === null) resolve();
      else reject(error);
    }
    this.#drains.clear();
  }
}
