/**
 * Free memory that the machine really has, for a move that is measured.
 *
 * A machine that is a virtual one itself gives free memory back to its host, within seconds (free page reporting of
 * `virtio_balloon`), and the next use of it is slow: here 2.7 ms for 2 MiB instead of 0.1, up to 8 ms when the host is busy. What is
 * measured then is that host, and a mover pays for as much memory as it touches at the destination. So a process holds memory
 * that it has written, and ends right before the move: what it leaves is what the move takes first. In huge pages, because QEMU
 * asks for those, and only those are given back: small ones would come from, and go to, another part of the free memory.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { LabError } from './errors.ts';

const READY_TIMEOUT_MS = 120_000;
/** The destination's QEMU, buffers of both sides: beside the guest's memory. */
const FURTHER_BYTES = 256 * 2 ** 20;

/** Ends with its standard input, so that it does not survive the process that started it. */
const program = `
const arrays = [];
for (let left = Number(process.argv[1]); left > 0; left -= 2 ** 30) {
  arrays.push(new Uint8Array(Math.min(left, 2 ** 30)).fill(1));
}
process.stdin.on('end', () => process.exit()).resume();
process.stdout.write(String(arrays.length));
`;

export class ResidentMemory implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #isReady: Promise<boolean>;

  /** Begins to write `bytes` bytes. */
  constructor(bytes: number) {
    const env = { ...process.env, GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1' };
    this.#child = spawn(process.execPath, ['-e', program, String(bytes)], { stdio: ['pipe', 'pipe', 'ignore'], env });
    this.#ended = once(this.#child, 'close').catch(() => undefined);
    const said = once(this.#child.stdout!, 'data').then(() => true);
    this.#isReady = Promise.race([said, this.#ended.then(() => false)]).catch(() => false);
  }

  /** For the move of a guest: what its destination may take, but not more than half of what the machine has left. */
  static forGuest(memoryBytes: number): ResidentMemory {
    return new ResidentMemory(Math.min(memoryBytes * 1.25 + FURTHER_BYTES, process.availableMemory() / 2));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Fulfilled once all of it was written. Throws LabError LAB_COMMAND when that fails or takes too long. */
  async ready(signal: AbortSignal): Promise<void> {
    const late = AbortSignal.any([signal, AbortSignal.timeout(READY_TIMEOUT_MS)]);
    const stopped = Promise.withResolvers<boolean>();
    const stop = (): void => stopped.resolve(false);
    late.addEventListener('abort', stop, { once: true });
    const isReady = !late.aborted && (await Promise.race([this.#isReady, stopped.promise]));
    late.removeEventListener('abort', stop);
    signal.throwIfAborted();
    if (!isReady) throw new LabError('LAB_COMMAND', 'Memory for the move could not be made ready');
  }

  /** Gives it to whoever asks for memory next. Idempotent. */
  async release(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}
