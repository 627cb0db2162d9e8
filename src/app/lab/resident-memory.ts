/**
 * Free memory that the machine really has, for a move that is measured.
 *
 * A machine that is a virtual one itself gives free memory back to its host, two seconds after it became free (free page
 * reporting of `virtio_balloon`), and the next use of it is slow: here 1 to 3 ms for 2 MiB instead of 0.3, up to 8 ms when the host is
 * busy. What is measured then is that host, and a mover pays for as much memory as it touches at the destination, above all
 * for what it touches late. So a process holds memory that it has written; when the move begins it gives away as much as the guest
 * has, and then a slice every half second, which the move takes first. In huge pages, because QEMU asks for those, and only
 * those are given back: small ones would come from, and go to, another part of the free memory.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { LabError } from './errors.ts';

const READY_TIMEOUT_MS = 120_000;
/** The destination's QEMU, buffers of both sides: beside the guest's memory. */
const FURTHER_BYTES = 256 * 2 ** 20;
/** What a move of a guest uses in half a second, as a share of the guest's memory: the fastest are through before the second slice. */
const SLICE_SHARE = 1 / 8;
/** Ten seconds of slices. */
const SLICES = 20;

/** How memory is held: so much for the beginning, then so many slices. */
export type ResidentShares = { readonly firstBytes: number; readonly sliceBytes: number; readonly slices: number };

/** Ends with its standard input, so that it does not survive the process that started it; a line there begins the release. */
const program = `
const [first, slice, slices] = process.argv.slice(1).map(Number);
const held = [];
const hold = (bytes) => {
  const arrays = [];
  for (let left = bytes; left > 0; left -= 2 ** 28) arrays.push(new Uint8Array(Math.min(left, 2 ** 28)).fill(1));
  held.push(arrays);
};
hold(first);
for (let i = 0; i < slices; i++) hold(slice);
const letGo = () => held.shift()?.forEach((array) => array.buffer.transfer(0));
process.stdin.once('data', () => {
  letGo();
  process.stdout.write('released');
  setInterval(letGo, 500);
});
process.stdin.on('end', () => process.exit()).resume();
process.stdout.write('ready');
`;

export class ResidentMemory implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #isReady: Promise<boolean>;

  /** Begins to write it. */
  constructor({ firstBytes, sliceBytes, slices }: ResidentShares) {
    const env = { ...process.env, GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1' };
    const bytes = [firstBytes, sliceBytes, slices].map(String);
    this.#child = spawn(process.execPath, ['-e', program, ...bytes], { stdio: ['pipe', 'pipe', 'ignore'], env });
    this.#child.stdin!.on('error', () => undefined);
    this.#ended = once(this.#child, 'close').catch(() => undefined);
    this.#isReady = this.#said();
  }

  /** For the move of a guest: what its destination may take, but not more than half of what the machine has left. */
  static forGuest(memoryBytes: number): ResidentMemory {
    const mostBytes = process.availableMemory() / 2;
    const firstBytes = Math.min(memoryBytes * 1.25 + FURTHER_BYTES, mostBytes);
    const sliceBytes = Math.min(memoryBytes * SLICE_SHARE, (mostBytes - firstBytes) / SLICES);
    return new ResidentMemory({ firstBytes, sliceBytes, slices: SLICES });
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

  /** Once it is ready: gives the first share to whoever asks for memory next, and from then on the slices, one by one. */
  async release(): Promise<void> {
    const released = this.#said();
    this.#child.stdin!.write('\n');
    await released;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** Whether it says something, and does not end before. */
  async #said(): Promise<boolean> {
    const said = once(this.#child.stdout!, 'data').then(() => true);
    return await Promise.race([said, this.#ended.then(() => false)]).catch(() => false);
  }
}
