/**
 * A second monitor of QEMU that outlives its agent: a pair of FIFOs on which out of band has been negotiated once, when QEMU
 * was started.
 *
 *     agent ── NAME.in ──▶ QEMU's monitor thread ── NAME.out ──▶ agent, or the next agent
 *
 * Why: a guest's CPU that waits for a page may hold QEMU's big lock, for ever if the stream of pages is gone. QEMU then
 * finishes no new monitor connection, because `qmp_capabilities` runs in its main loop. Commands out of band run in the
 * monitor's own thread, but only on a monitor where they were switched on before. QEMU opens both FIFOs for reading and
 * writing (`-chardev pipe`), so that an agent which dies is no end of file, and nothing has to be negotiated again.
 *
 * - Only commands out of band are given here. Each is a single write of less than PIPE_BUF bytes: whole, or not at all.
 * - What QEMU wrote to a former agent may be cut in the middle of a line: lines that are no answer to one of our own
 *   commands, whose ids nobody used before, are dropped.
 * - Events come here, too, and would gather in QEMU while nobody reads. So every agent reads, as long as QEMU lives; there is
 *   one reader of a FIFO in a process (`standingMonitorOf`).
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { constants, existsSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { promisify } from 'node:util';
import { assert } from '../../core/base/assert.ts';
import { QmpError } from './errors.ts';
import { LineReader } from './line-reader.ts';
import { isRecord } from './qmp-messages.ts';
import type { OobCommandName, QmpCommands } from './qmp-types.ts';
import { runPaths } from './run-paths.ts';

const run = promisify(execFile);
const COMMAND_TIMEOUT_MS = 5_000;
const LINE_BYTES_MAX = 1024 * 1024;
/** What a FIFO takes as a whole: PIPE_BUF of Linux. */
const COMMAND_BYTES_MAX = 4096;

const readers = new Map<string, StandingMonitor>();

type Answer = Readonly<Record<string, unknown>>;

/** Makes the FIFOs; before QEMU is started. */
export async function makeStandingMonitor(runFolder: string): Promise<void> {
  // Of a machine that had the same name, and has only just ended.
  readers.get(runFolder)?.close();
  readers.delete(runFolder);
  const { in: input, out: output } = fifosOf(runFolder);
  await run('mkfifo', ['-m', '600', input, output]);
}

/** The monitor of the QEMU that was started in this folder. Throws QmpError QMP_CONNECT when it has none, or is gone. */
export function standingMonitorOf(vm: string, runFolder: string): StandingMonitor {
  const known = readers.get(runFolder);
  if (known !== undefined && !known.closed) return known;
  const opened = StandingMonitor.open(vm, runFolder);
  readers.set(runFolder, opened);
  void opened.whenClosed.then(() => {
    if (readers.get(runFolder) === opened) readers.delete(runFolder);
  });
  return opened;
}

/** Whether a QEMU in this folder was started with one. */
export function hasStandingMonitor(runFolder: string): boolean {
  return existsSync(fifosOf(runFolder).out);
}

export class StandingMonitor {
  readonly vm: string;
  readonly whenClosed: Promise<void>;
  readonly #input: Socket;
  readonly #output: Socket;
  readonly #lines = new LineReader(LINE_BYTES_MAX);
  readonly #idPrefix = randomUUID();
  readonly #waiting = new Map<string, (answer: Answer) => void>();
  readonly #closing = Promise.withResolvers<void>();
  #nextId = 1;
  #closed = false;

  private constructor(vm: string, input: Socket, output: Socket) {
    this.vm = vm;
    this.#input = input;
    this.#output = output;
    this.whenClosed = this.#closing.promise;
    for (const stream of [input, output]) {
      stream.on('error', () => this.close());
      stream.on('close', () => this.close());
      // A machine is watched as long as the agent lives; watching it keeps no agent alive.
      stream.unref();
    }
    output.on('data', (chunk: Buffer) => this.#receive(chunk));
  }

  /** Throws QmpError QMP_CONNECT when there are no FIFOs, or no QEMU behind them. */
  static open(vm: string, runFolder: string): StandingMonitor {
    const paths = fifosOf(runFolder);
    try {
      // Without a QEMU the input cannot be opened, and the output ends: each is opened in one direction for that.
      const output = openSync(paths.out, constants.O_RDONLY | constants.O_NONBLOCK);
      const read = new Socket({ fd: output, readable: true, writable: false });
      try {
        const input = openSync(paths.in, constants.O_WRONLY | constants.O_NONBLOCK);
        return new StandingMonitor(vm, new Socket({ fd: input, readable: false, writable: true }), read);
      } catch (error) {
        read.destroy();
        throw error;
      }
    } catch (cause) {
      throw new QmpError('QMP_CONNECT', `VM "${vm}" has no standing monitor`, { vm, runFolder }, { cause });
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Switches out of band on: once in the life of a QEMU, when it has just been started. Throws QmpError. */
  async negotiate(): Promise<void> {
    await this.#call({ execute: 'qmp_capabilities', arguments: { enable: ['oob'] } });
  }

  /** Runs a command without QEMU's big lock. Throws QmpError QMP_COMMAND (refused), QMP_TIMEOUT, QMP_CLOSED. */
  async executeOob<C extends OobCommandName>(command: C, args: QmpCommands[C]['args']): Promise<void> {
    await this.#call({ 'exec-oob': command, ...(args === undefined ? {} : { arguments: args }) });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#input.destroy();
    this.#output.destroy();
    this.#closing.resolve();
  }

  async #call(command: Answer): Promise<void> {
    const { vm } = this;
    if (this.#closed) throw new QmpError('QMP_CLOSED', `The standing monitor of VM "${vm}" is closed`, { vm });
    const id = `${this.#idPrefix}/${this.#nextId++}`;
    const line = `${JSON.stringify({ ...command, id })}\n`;
    assert(Buffer.byteLength(line) <= COMMAND_BYTES_MAX, 'a command is written as a whole');
    const answered = Promise.withResolvers<Answer>();
    this.#waiting.set(id, answered.resolve);
    const timer = setTimeout(() => {
      const text = `The standing monitor of VM "${vm}" does not answer within ${COMMAND_TIMEOUT_MS} ms`;
      answered.reject(new QmpError('QMP_TIMEOUT', text, { vm }));
    }, COMMAND_TIMEOUT_MS);
    try {
      this.#input.write(line);
      const answer = await Promise.race([answered.promise, this.whenClosed]);
      if (answer === undefined) throw new QmpError('QMP_CLOSED', `QEMU of VM "${vm}" ended`, { vm });
      if (!('return' in answer)) throw refusal(vm, answer['error']);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  #receive(chunk: Buffer): void {
    const lines = this.#lines.push(chunk);
    if (lines === null) return this.close();
    // Nearly all of it is events, which nobody wants here.
    if (this.#waiting.size === 0) return;
    for (const line of lines) {
      const answer = parsed(line);
      const id = answer?.['id'];
      if (answer !== null && typeof id === 'string') this.#waiting.get(id)?.(answer);
    }
  }
}

function fifosOf(runFolder: string): { in: string; out: string } {
  const path = runPaths(runFolder).standingMonitor;
  return { in: `${path}.in`, out: `${path}.out` };
}

/** Null for what is not a JSON object, such as the end of a line that a former agent began to read. */
function parsed(line: string): Answer | null {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}

function refusal(vm: string, error: unknown): QmpError {
  const desc = isRecord(error) ? String(error['desc']) : 'no description';
  return new QmpError('QMP_COMMAND', `QEMU of VM "${vm}" refused: ${desc}`, { vm, desc });
}
