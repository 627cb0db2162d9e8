/**
 * The source QEMU's end of its migration: a unix socket that accepts exactly one connection.
 *
 * Not reading is a lever: QEMU then blocks in its write while the guest runs on, and no dirty sync happens
 * (docs/qemu-stream.md 4.4). After the guest's stop QEMU holds its big lock while it writes, so then it is read as fast
 * as it comes.
 */
import { createServer, type Server, Socket, type SocketConstructorOpts } from 'node:net';
import { rmSync } from 'node:fs';

/** As much as the kernel holds of a unix socket's stream. */
const READ_BYTES = 256 * 1024;

export type FeedSocketHandlers = {
  /** The bytes are overwritten when it returns. */
  readonly onChunk: (chunk: Uint8Array) => void;
  /** `error` is null when QEMU closed in an orderly way. */
  readonly onClosed: (error: Error | null) => void;
};

export class FeedSocket {
  readonly #handlers: FeedSocketHandlers;
  readonly #server: Server;
  readonly #path: string;
  #socket: Socket | null = null;
  #held = false;
  #closed = false;

  constructor(path: string, handlers: FeedSocketHandlers) {
    this.#path = path;
    this.#handlers = handlers;
    rmSync(path, { force: true });
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket));
    this.#server.maxConnections = 1;
  }

  /** Resolves when QEMU may be told to connect. */
  async listen(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    this.#server.listen(this.#path, () => resolve());
    await promise;
  }

  hold(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    if (held) this.#socket?.pause();
    else this.#socket?.resume();
  }

  /** Writes to QEMU's return path; resolves when the kernel has it. */
  async write(bytes: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.#socket === null) throw new Error('QEMU is not connected');
    this.#socket.write(bytes, (error) => (error ? reject(error) : resolve()));
    await promise;
  }

  close(): void {
    this.#closed = true;
    this.#server.close();
    this.#socket?.destroy();
    rmSync(this.#path, { force: true });
  }

  #accept(accepted: Socket): void {
    if (this.#socket !== null) {
      accepted.destroy();
      return;
    }
    const socket = readInto(accepted, new Uint8Array(READ_BYTES), (bytes) => this.#handlers.onChunk(bytes));
    this.#socket = socket;
    this.#server.close();
    let failure: Error | null = null;
    socket.on('error', (error) => (failure = error));
    socket.on('close', () => {
      if (!this.#closed) this.#handlers.onClosed(failure);
    });
  }
}

/**
 * The same connection, read into one buffer again and again. A stream that allocates each of its chunks needs three times the
 * processor time for the 1 GiB of a sweep (0.43 instead of 0.13 s), a third of it for collecting them. Node has this for
 * connections that it opens (`onread`), not for those that it accepts, hence the handle is passed on; should a
 * future Node not have it there, chunks are allocated.
 */
function readInto(accepted: Socket, buffer: Uint8Array, onBytes: (bytes: Uint8Array) => void): Socket {
  const owner = accepted as unknown as { _handle: unknown };
  const handle = owner._handle;
  if (handle === null || handle === undefined) {
    accepted.on('data', onBytes);
    return accepted.resume();
  }
  owner._handle = null;
  const callback = (count: number): boolean => {
    onBytes(buffer.subarray(0, count));
    return true;
  };
  const options = { handle, readable: true, writable: true, onread: { buffer, callback } };
  return new Socket(options as unknown as SocketConstructorOpts).resume();
}
