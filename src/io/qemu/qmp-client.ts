/**
 * One QMP connection to one QEMU.
 *
 * - Out of band is switched on where QEMU offers it. QEMU then queues up to eight in-band commands and stops reading
 *   when the queue is full (QMP_REQ_QUEUE_LEN_MAX), which would shut `yank` out just when it is needed. So at most
 *   IN_BAND_MAX commands are on the wire; the rest wait here, and one that times out here was never sent.
 * - A QMP socket serves one client at a time: a second one connects, but gets no greeting.
 * - A command that timed out may still run. Its late answer is dropped.
 */
import { createConnection } from 'node:net';
import type { Duplex } from 'node:stream';
import { assert } from '../../core/base/assert.ts';
import { QmpError } from './errors.ts';
import { LineReader } from './line-reader.ts';
import type { OobCommandName, QmpCommandName, QmpCommands, QmpEvent, QmpEventName, RunState } from './qmp-types.ts';
import type { QemuVersion } from './version.ts';
import { isRecord, parseEvent, parseGreeting, type QmpGreeting } from './qmp-messages.ts';

const IN_BAND_MAX = 4;
/** `query-machines` and `info mtree` answer with some hundred KiB. */
const LINE_BYTES_MAX = 64 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;
const COMMAND_TIMEOUT_MS = 10_000;
const CONNECT_RETRY_MS = 20;

export type QmpOptions = {
  /** The VM's name, for messages. */
  readonly vm: string;
  /** How long to wait for the socket to appear and the greeting to come. */
  readonly timeoutMs?: number;
  /** How long a command may take unless the call says otherwise. */
  readonly commandTimeoutMs?: number;
  readonly signal?: AbortSignal;
};
export type QmpConnectOptions = QmpOptions & { readonly socketPath: string };
export type QmpAttachOptions = QmpOptions & { readonly stream: Duplex };
export type QmpCallOptions = { readonly timeoutMs?: number; readonly signal?: AbortSignal };

/** answers; busy: QEMU lives, but its main loop is stuck (big lock); dead: nothing answers; closed: no connection. */
export type MonitorState = 'answers' | 'busy' | 'dead' | 'closed';

type Call = {
  readonly id: number;
  readonly command: string;
  readonly oob: boolean;
  readonly line: string;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: QmpError) => void;
  sent: boolean;
  settled: boolean;
};

type Listener = (event: QmpEvent) => void;

export class QmpClient {
  readonly vm: string;
  readonly whenClosed: Promise<QmpError>;
  readonly #stream: Duplex;
  readonly #lines = new LineReader(LINE_BYTES_MAX);
  readonly #commandTimeoutMs: number;
  readonly #calls = new Map<number, Call>();
  readonly #waiting: Call[] = [];
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #greeting = Promise.withResolvers<QmpGreeting>();
  readonly #closing = Promise.withResolvers<QmpError>();
  #inBand = 0;
  #nextId = 1;
  #version: QemuVersion = { major: 0, minor: 0, micro: 0 };
  #oob = false;
  #closedBy: QmpError | null = null;

  private constructor(stream: Duplex, options: QmpOptions) {
    this.vm = options.vm;
    this.#stream = stream;
    this.#commandTimeoutMs = options.commandTimeoutMs ?? COMMAND_TIMEOUT_MS;
    this.whenClosed = this.#closing.promise;
    this.#greeting.promise.catch(() => undefined);
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', (cause) => this.#fail(this.#closedError('failed', cause)));
    stream.on('end', () => this.#fail(this.#closedError('was closed by QEMU')));
    stream.on('close', () => this.#fail(this.#closedError('was closed')));
  }

  /** Connects to QEMU's QMP socket, waiting for it to appear. Throws QmpError QMP_CONNECT, QMP_TIMEOUT, QMP_ABORTED. */
  static async connect(options: QmpConnectOptions): Promise<QmpClient> {
    const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS;
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (options.signal?.aborted === true) throw abortError(options.vm, 'the monitor');
      try {
        const stream = await openSocket(options.socketPath);
        return await QmpClient.attach({ ...options, stream, timeoutMs: Math.max(1, deadline - performance.now()) });
      } catch (cause) {
        if (cause instanceof QmpError) throw cause;
        if (performance.now() + CONNECT_RETRY_MS > deadline) {
          throw new QmpError(
            'QMP_CONNECT',
            `Cannot reach the monitor of VM "${options.vm}" at ${options.socketPath}`,
            { vm: options.vm, socketPath: options.socketPath },
            { cause },
          );
        }
        await new Promise((resolve) => setTimeout(resolve, CONNECT_RETRY_MS));
      }
    }
  }

  /** Takes over a stream that speaks QMP from the greeting on, and owns it. Throws as `connect`. */
  static async attach(options: QmpAttachOptions): Promise<QmpClient> {
    const client = new QmpClient(options.stream, options);
    const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS;
    const timer = setTimeout(() => client.#fail(client.#timeoutError('greeting', timeoutMs, false)), timeoutMs);
    const abort = (): void => client.#fail(client.#abortError('greeting'));
    options.signal?.addEventListener('abort', abort, { once: true });
    try {
      const greeting = await client.#greeting.promise;
      client.#version = greeting.version;
      client.#oob = greeting.oob;
      await client.#call('qmp_capabilities', greeting.oob ? { enable: ['oob'] } : undefined, false, { timeoutMs });
      return client;
    } catch (error) {
      client.close();
      throw error;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
    }
  }

  get version(): QemuVersion {
    return this.#version;
  }

  get oob(): boolean {
    return this.#oob;
  }

  get closed(): boolean {
    return this.#closedBy !== null;
  }

  /** Runs a command. Throws QmpError: QMP_COMMAND (refused), QMP_TIMEOUT, QMP_CLOSED, QMP_ABORTED. */
  async execute<C extends QmpCommandName>(
    command: C,
    args?: QmpCommands[C]['args'],
    options: QmpCallOptions = {},
  ): Promise<QmpCommands[C]['result']> {
    return (await this.#call(command, args, false, options)) as QmpCommands[C]['result'];
  }

  /** Runs a command without QEMU's big lock: answered even while a stopped guest's QEMU is stuck in a write. */
  async executeOob<C extends OobCommandName>(
    command: C,
    args?: QmpCommands[C]['args'],
    options: QmpCallOptions = {},
  ): Promise<QmpCommands[C]['result']> {
    return (await this.#call(command, args, this.#oob, options)) as QmpCommands[C]['result'];
  }

  /** The text that a human monitor command prints, line ends as `\n`. */
  async humanMonitor(line: string, options: QmpCallOptions = {}): Promise<string> {
    const text = await this.execute('human-monitor-command', { 'command-line': line }, options);
    return text.replaceAll('\r\n', '\n');
  }

  /** Ids of the threads that run the guest's processors, in their order. Throws QmpError. */
  async vcpuThreads(): Promise<number[]> {
    return (await this.execute('query-cpus-fast')).map((cpu) => cpu['thread-id']);
  }

  async runState(options: QmpCallOptions = {}): Promise<RunState> {
    return (await this.execute('query-status', undefined, options)).status;
  }

  /** Calls `listener` for each event of that name, or for all ("*"). Returns what ends it. */
  on<Name extends QmpEventName>(name: Name, listener: (event: QmpEvent<Name>) => void): () => void;
  on(name: '*', listener: (event: QmpEvent) => void): () => void;
  on(name: string, listener: (event: never) => void): () => void {
    const set = this.#listeners.get(name) ?? new Set<Listener>();
    this.#listeners.set(name, set);
    set.add(listener as Listener);
    return () => void set.delete(listener as Listener);
  }

  /** The next event of that name which satisfies the predicate. Register before causing it. Throws as `execute`. */
  async waitForEvent<Name extends QmpEventName>(
    name: Name,
    predicate: ((event: QmpEvent<Name>) => boolean) | null,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<QmpEvent<Name>> {
    if (this.#closedBy !== null) throw this.#closedBy;
    const { promise, resolve, reject } = Promise.withResolvers<QmpEvent<Name>>();
    const off = this.on(name, (event) => {
      if (predicate === null || predicate(event)) resolve(event);
    });
    const timer = setTimeout(() => {
      const text = `VM "${this.vm}" did not report ${name} within ${options.timeoutMs} ms`;
      reject(new QmpError('QMP_TIMEOUT', text, { vm: this.vm, event: name, sent: true }));
    }, options.timeoutMs);
    const abort = (): void => reject(this.#abortError(name));
    if (options.signal?.aborted === true) abort();
    options.signal?.addEventListener('abort', abort, { once: true });
    try {
      return await Promise.race([promise, this.whenClosed.then((error) => Promise.reject(error))]);
    } finally {
      off();
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
    }
  }

  /** Tells a QEMU whose main loop is stuck from one that does not answer at all. Never throws. */
  async checkMonitor(timeoutMs: number): Promise<MonitorState> {
    if (this.closed) return 'closed';
    const answered = (call: Promise<unknown>): Promise<boolean> =>
      call.then(
        () => true,
        (error: unknown) => error instanceof QmpError && error.code === 'QMP_COMMAND',
      );
    const inBand = answered(this.execute('query-status', undefined, { timeoutMs }));
    const oob = this.#oob ? answered(this.executeOob('query-yank', undefined, { timeoutMs })) : Promise.resolve(false);
    if (await inBand) return 'answers';
    if (this.closed) return 'closed';
    return (await oob) ? 'busy' : 'dead';
  }

  close(): void {
    this.#fail(
      new QmpError('QMP_CLOSED', `The monitor connection of VM "${this.vm}" was closed by us`, { vm: this.vm }),
    );
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #call(command: string, args: unknown, oob: boolean, options: QmpCallOptions): Promise<unknown> {
    if (this.#closedBy !== null) throw this.#closedBy;
    if (options.signal?.aborted === true) throw this.#abortError(command);
    const timeoutMs = options.timeoutMs ?? this.#commandTimeoutMs;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = this.#nextId++;
    const message = { [oob ? 'exec-oob' : 'execute']: command, ...(args === undefined ? {} : { arguments: args }), id };
    const line = `${JSON.stringify(message)}\n`;
    const call: Call = { id, command, oob, line, resolve, reject, sent: false, settled: false };
    const timer = setTimeout(() => this.#abandon(call, this.#timeoutError(command, timeoutMs, call.sent)), timeoutMs);
    const abort = (): void => this.#abandon(call, this.#abortError(command));
    options.signal?.addEventListener('abort', abort, { once: true });
    this.#calls.set(id, call);
    if (oob) this.#send(call);
    else this.#waiting.push(call);
    this.#sendWaiting();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
    }
  }

  /** Gives up on a call. One that was sent keeps its place on the wire until QEMU answers it. */
  #abandon(call: Call, error: QmpError): void {
    if (call.settled) return;
    call.settled = true;
    if (!call.sent) {
      this.#calls.delete(call.id);
      this.#waiting.splice(this.#waiting.indexOf(call), 1);
    }
    call.reject(error);
  }

  #sendWaiting(): void {
    while (this.#inBand < IN_BAND_MAX && this.#closedBy === null) {
      const call = this.#waiting.shift();
      if (call === undefined) return;
      this.#inBand++;
      this.#send(call);
    }
  }

  #send(call: Call): void {
    call.sent = true;
    this.#stream.write(call.line);
  }

  #receive(chunk: Buffer): void {
    const lines = this.#lines.push(chunk);
    if (lines === null) return this.#fail(this.#protocolError(`a line exceeds ${LINE_BYTES_MAX} bytes`));
    for (const line of lines) if (line !== '' && this.#closedBy === null) this.#receiveLine(line);
  }

  #receiveLine(line: string): void {
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      return this.#fail(this.#protocolError('a line is not JSON'));
    }
    if (!isRecord(message)) return this.#fail(this.#protocolError('a message is not an object'));
    if (typeof message['event'] === 'string') return this.#emit(parseEvent(message, performance.now()));
    if (isRecord(message['QMP'])) {
      const greeting = parseGreeting(message['QMP']);
      if (greeting === null) return this.#fail(this.#protocolError('the greeting names no version'));
      return this.#greeting.resolve(greeting);
    }
    this.#settle(message);
  }

  #settle(message: Readonly<Record<string, unknown>>): void {
    const call = typeof message['id'] === 'number' ? this.#calls.get(message['id']) : undefined;
    if (call === undefined) return;
    this.#calls.delete(call.id);
    if (!call.oob) this.#inBand--;
    assert(this.#inBand >= 0, 'every in-band answer belongs to one command on the wire');
    if (!call.settled) {
      call.settled = true;
      if ('return' in message) call.resolve(message['return']);
      else call.reject(this.#commandError(call.command, message['error']));
    }
    this.#sendWaiting();
  }

  #emit(event: QmpEvent): void {
    for (const name of [event.event, '*']) {
      for (const listener of Array.from(this.#listeners.get(name) ?? [])) listener(event);
    }
  }

  #fail(error: QmpError): void {
    if (this.#closedBy !== null) return;
    this.#closedBy = error;
    this.#stream.destroy();
    this.#greeting.reject(error);
    for (const call of this.#calls.values()) if (!call.settled) call.reject(error);
    this.#calls.clear();
    this.#waiting.length = 0;
    this.#closing.resolve(error);
  }

  #commandError(command: string, error: unknown): QmpError {
    const errorClass = isRecord(error) ? String(error['class']) : 'GenericError';
    const desc = isRecord(error) ? String(error['desc']) : 'no description';
    const text = `QEMU of VM "${this.vm}" refused ${command}: ${desc}`;
    return new QmpError('QMP_COMMAND', text, { vm: this.vm, command, class: errorClass, desc });
  }

  #timeoutError(command: string, timeoutMs: number, sent: boolean): QmpError {
    const hint = command === 'greeting' ? '; another program may hold its only connection' : '';
    const text = `The monitor of VM "${this.vm}" does not answer: no reply to ${command} within ${Math.round(timeoutMs)} ms${hint}`;
    return new QmpError('QMP_TIMEOUT', text, { vm: this.vm, command, timeoutMs, sent });
  }

  #abortError(command: string): QmpError {
    return abortError(this.vm, command);
  }

  #protocolError(what: string): QmpError {
    return new QmpError('QMP_PROTOCOL', `The monitor of VM "${this.vm}" does not speak QMP: ${what}`, { vm: this.vm });
  }

  #closedError(how: string, cause?: Error): QmpError {
    const text = `The monitor connection of VM "${this.vm}" ${how}`;
    return new QmpError('QMP_CLOSED', text, { vm: this.vm }, cause === undefined ? {} : { cause });
  }
}

function abortError(vm: string, what: string): QmpError {
  return new QmpError('QMP_ABORTED', `Waiting for ${what} of VM "${vm}" was given up on request`, { vm });
}

async function openSocket(path: string): Promise<Duplex> {
  const socket = createConnection(path);
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  socket.once('connect', () => resolve(socket));
  socket.once('error', reject);
  try {
    return await promise;
  } finally {
    socket.off('error', reject);
  }
}
