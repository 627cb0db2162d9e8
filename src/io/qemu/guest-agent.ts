/**
 * One connection to the QEMU guest agent inside a guest.
 *
 * The channel is a serial line: it carries bytes of earlier, abandoned commands and says nothing when no agent listens.
 * `guest-sync-delimited` makes it usable: the agent puts the byte 0xFF, which JSON cannot contain, before its answer;
 * everything in front of it is old. The handshake is done at first and again after every time-out. The guest is not
 * trusted: each wait is bounded, and so is each line.
 */
import { createConnection, type Socket } from 'node:net';
import { GuestAgentError, QmpError } from './errors.ts';
import { LineReader } from './line-reader.ts';
import { isRecord } from './qmp-messages.ts';

const SENTINEL = 0xff;
/** A guest-file-read answer of the agent's largest count, 48 MiB, as base64. */
const LINE_BYTES_MAX = 65 * 1024 * 1024;
const SYNC_TIMEOUT_MS = 2000;
const COMMAND_TIMEOUT_MS = 5000;

export type GuestAgentOptions = {
  readonly socketPath: string;
  readonly vm: string;
  /** How long to wait for the first answer. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
};
export type GuestAgentCallOptions = { readonly timeoutMs?: number; readonly signal?: AbortSignal };

type Waiter = { readonly resolve: (line: string) => void; readonly reject: (error: Error) => void };

export class GuestAgent {
  readonly vm: string;
  readonly #socket: Socket;
  readonly #lines = new LineReader(LINE_BYTES_MAX);
  /** idle: bytes are dropped; syncing: dropped until 0xFF; answering: the next line is the answer. */
  #mode: 'idle' | 'syncing' | 'answering' = 'idle';
  #waiter: Waiter | null = null;
  #isSynced = false;
  #hasAnswered = false;
  #isClosed = false;
  #nextSyncId = 1 + Math.floor(Math.random() * 1e9);
  #last: Promise<unknown> = Promise.resolve();

  private constructor(socket: Socket, vm: string) {
    this.vm = vm;
    this.#socket = socket;
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('error', () => this.#fail());
    socket.on('close', () => this.#fail());
  }

  /** Connects and waits until the agent answers. Throws GuestAgentError QGA_ABSENT. */
  static async connect(options: GuestAgentOptions): Promise<GuestAgent> {
    const socket = createConnection(options.socketPath);
    const agent = new GuestAgent(socket, options.vm);
    try {
      await agent.#exclusively(() => agent.#sync(options.timeoutMs ?? SYNC_TIMEOUT_MS, options.signal));
      return agent;
    } catch (error) {
      agent.close();
      throw error;
    }
  }

  async ping(options: GuestAgentCallOptions = {}): Promise<void> {
    await this.execute('guest-ping', undefined, options);
  }

  /**
   * Runs one command; a second one waits for the first. `timeoutMs` bounds the answer, a needed handshake included.
   * Throws GuestAgentError QGA_COMMAND (refused by the agent), QGA_TIMEOUT, QGA_ABSENT.
   */
  async execute(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    options: GuestAgentCallOptions = {},
  ): Promise<unknown> {
    return await this.#exclusively(async () => {
      const timeoutMs = options.timeoutMs ?? COMMAND_TIMEOUT_MS;
      const deadline = performance.now() + timeoutMs;
      if (!this.#isSynced) await this.#sync(timeoutMs, options.signal);
      const message = JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }) });
      const left = Math.max(1, deadline - performance.now());
      const line = await this.#exchange(`${message}\n`, 'answering', {
        command,
        timeoutMs: left,
        signal: options.signal,
      });
      return this.#resultOf(command, line);
    });
  }

  close(): void {
    this.#socket.destroy();
    this.#fail();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #exclusively<T>(run: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(run, run);
    this.#last = mine.catch(() => undefined);
    return await mine;
  }

  async #sync(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const id = this.#nextSyncId++;
    const message = JSON.stringify({ execute: 'guest-sync-delimited', arguments: { id } });
    const bytes = Buffer.concat([Buffer.of(SENTINEL), Buffer.from(`${message}\n`)]);
    const deadline = performance.now() + timeoutMs;
    let line = await this.#exchange(bytes, 'syncing', { command: 'guest-sync-delimited', timeoutMs, signal });
    // An abandoned handshake answers in the same form: only our own number ends this one.
    while (!isOwnSync(line, id)) {
      const left = Math.max(1, deadline - performance.now());
      line = await this.#exchange('', 'syncing', { command: 'guest-sync-delimited', timeoutMs: left, signal });
    }
    this.#isSynced = true;
    this.#hasAnswered = true;
  }

  async #exchange(
    bytes: string | Buffer,
    mode: 'syncing' | 'answering',
    call: { readonly command: string; readonly timeoutMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<string> {
    if (this.#isClosed) throw this.#silence(call.command, 0);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const timer = setTimeout(() => reject(this.#silence(call.command, call.timeoutMs)), call.timeoutMs);
    const abort = (): void => {
      const text = `Waiting for the guest agent of VM "${this.vm}" was given up on request`;
      reject(new QmpError('QMP_ABORTED', text, { vm: this.vm, command: call.command }));
    };
    if (call.signal?.aborted === true) abort();
    call.signal?.addEventListener('abort', abort, { once: true });
    this.#mode = mode;
    this.#waiter = { resolve, reject };
    if (bytes.length > 0) this.#socket.write(bytes);
    try {
      return await promise;
    } catch (error) {
      this.#isSynced = false;
      throw error;
    } finally {
      this.#mode = 'idle';
      this.#waiter = null;
      clearTimeout(timer);
      call.signal?.removeEventListener('abort', abort);
    }
  }

  #receive(chunk: Buffer): void {
    if (this.#mode === 'idle') return;
    let bytes = chunk;
    if (this.#mode === 'syncing') {
      const at = bytes.lastIndexOf(SENTINEL);
      if (at === -1) return;
      this.#lines.reset();
      this.#mode = 'answering';
      bytes = bytes.subarray(at + 1);
    }
    const lines = this.#lines.push(bytes);
    if (lines === null) return this.close();
    const line = lines.find((text) => text !== '');
    if (line === undefined) return;
    this.#mode = 'idle';
    this.#lines.reset();
    this.#waiter?.resolve(line);
  }

  #resultOf(command: string, line: string): unknown {
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      message = null;
    }
    if (isRecord(message) && 'return' in message) return message['return'];
    const error = isRecord(message) && isRecord(message['error']) ? message['error'] : {};
    const { desc = 'its answer is not JSON', class: errorClass = '' } = error;
    if (error['desc'] === undefined) this.#isSynced = false;
    const text = `The guest agent of VM "${this.vm}" refused ${command}: ${textOf(desc)}`;
    throw new GuestAgentError('QGA_COMMAND', text, {
      vm: this.vm,
      command,
      class: textOf(errorClass),
      desc: textOf(desc),
    });
  }

  #fail(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#waiter?.reject(this.#silence('the connection', 0));
  }

  #silence(command: string, timeoutMs: number): GuestAgentError {
    const fields = { vm: this.vm, command, timeoutMs: Math.round(timeoutMs) };
    if (this.#isClosed) {
      return new GuestAgentError('QGA_ABSENT', `The guest agent channel of VM "${this.vm}" is closed`, fields);
    }
    return this.#hasAnswered
      ? new GuestAgentError(
          'QGA_TIMEOUT',
          `The guest agent of VM "${this.vm}" did not answer ${command} in time`,
          fields,
        )
      : new GuestAgentError('QGA_ABSENT', `No guest agent answers in VM "${this.vm}"`, fields);
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function isOwnSync(line: string, id: number): boolean {
  try {
    const message: unknown = JSON.parse(line);
    return isRecord(message) && message['return'] === id;
  } catch {
    return false;
  }
}
