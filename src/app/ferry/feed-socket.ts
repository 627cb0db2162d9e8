/**
 * The source QEMU's end of its migration: a unix socket that accepts exactly one connection.
 *
 * Not reading is a lever: QEMU then blocks in its write while the guest runs on, and no dirty sync happens
 * (docs/qemu-stream.md 4.4). After the guest's stop QEMU holds its big lock while it writes, so then it is read as fast
 * as it comes.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { rmSync } from 'node:fs';

export type FeedSocketHandlers = {
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
    this.#server = createServer((socket) => this.#accept(socket));
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

  #accept(socket: Socket): void {
    if (this.#socket !== null) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    this.#server.close();
    let failure: Error | null = null;
    socket.on('data', (chunk) => this.#handlers.onChunk(chunk));
    socket.on('error', (error) => (failure = error));
    socket.on('close', () => {
      if (!this.#closed) this.#handlers.onClosed(failure);
    });
  }
}
