/**
 * The guest's RAM as open files: `/proc/PID/mem` of its QEMU, or the file behind shared memory. Pages are numbered over
 * all RAM blocks; a run never leaves its block.
 */
import fs from 'node:fs';
import { LaneError, type LaneErrorCode } from './errors.ts';
import type { MemoryBlock, MemoryMap } from './lane-protocol.ts';

const PAGE_BYTES = 4096;

type OpenBlock = MemoryBlock & { readonly fd: number };

export class GuestMemory {
  readonly #blocks: readonly OpenBlock[];
  readonly #code: LaneErrorCode;
  #last: OpenBlock | undefined;

  /** Opens the files. Throws LaneError: LANE_READ at the source ('read'), LANE_PLACE at the destination ('place'). */
  constructor(map: MemoryMap, use: 'read' | 'place') {
    this.#code = use === 'read' ? 'LANE_READ' : 'LANE_PLACE';
    const files = new Map<string, number>();
    this.#blocks = map.map((block) => {
      const fd = files.get(block.path) ?? this.#open(block.path, use === 'read' ? 'r' : 'r+');
      files.set(block.path, fd);
      return { ...block, fd };
    });
  }

  /** The block that holds all pages of the run, or undefined. */
  blockOf(page: number, count: number): MemoryBlock | undefined {
    const last = this.#last;
    if (last !== undefined && holds(last, page, count)) return last;
    const found = this.#blocks.find((block) => holds(block, page, count));
    if (found !== undefined) this.#last = found;
    return found;
  }

  /** Reads the run to `into` at `at`. Throws LaneError. Hot: no allocation. */
  read(page: number, count: number, into: Uint8Array, at: number): void {
    const block = this.#mustHold(page, count);
    const position = block.offsetBytes + (page - block.firstPage) * PAGE_BYTES;
    const length = count * PAGE_BYTES;
    for (let done = 0; done < length;) {
      let got: number;
      try {
        got = fs.readSync(block.fd, into, at + done, length - done, position + done);
      } catch (error) {
        throw this.#explain(error, block, 'read');
      }
      if (got === 0) throw this.#explain(undefined, block, 'read');
      done += got;
    }
  }

  /** Writes the run from `from` at `at`. Throws LaneError. Hot: no allocation. */
  write(page: number, count: number, from: Uint8Array, at: number): void {
    const block = this.#mustHold(page, count);
    const position = block.offsetBytes + (page - block.firstPage) * PAGE_BYTES;
    const length = count * PAGE_BYTES;
    for (let done = 0; done < length;) {
      let put: number;
      try {
        put = fs.writeSync(block.fd, from, at + done, length - done, position + done);
      } catch (error) {
        throw this.#explain(error, block, 'write');
      }
      if (put === 0) throw this.#explain(undefined, block, 'write');
      done += put;
    }
  }

  close(): void {
    for (const fd of new Set(this.#blocks.map((block) => block.fd))) fs.closeSync(fd);
  }

  #open(path: string, flags: string): number {
    try {
      return fs.openSync(path, flags);
    } catch (error) {
      throw this.#explain(error, { name: 'RAM', path }, 'open');
    }
  }

  #mustHold(page: number, count: number): OpenBlock {
    const block = this.blockOf(page, count);
    if (block !== undefined) return block as OpenBlock;
    throw new LaneError('LANE_PROTOCOL', `Pages ${page} to ${page + count - 1} are not in one RAM block`, {
      page,
      count,
    });
  }

  #explain(error: unknown, block: Pick<MemoryBlock, 'name' | 'path'>, verb: string): LaneError {
    const errno = (error as NodeJS.ErrnoException | undefined)?.code ?? 'no bytes';
    const what = `Cannot ${verb} the guest's memory (${block.name} in ${block.path}): ${errno}. ${hintOf(errno)}`;
    return new LaneError(this.#code, what.trim(), { block: block.name, errno }, { cause: error });
  }
}

function holds(block: MemoryBlock, page: number, count: number): boolean {
  return page >= block.firstPage && page + count <= block.firstPage + block.pageCount;
}

function hintOf(errno: string): string {
  switch (errno) {
    case 'EACCES':
    case 'EPERM':
      return (
        'The agent needs ptrace rights over QEMU: run it as the same user with kernel.yama.ptrace_scope=0, ' +
        'as root, or with CAP_SYS_PTRACE'
      );
    case 'EIO':
    case 'ESRCH':
    case 'ENOENT':
    case 'no bytes':
      return 'QEMU is gone, or has unmapped this memory';
    case 'ENOSPC':
      return 'The file system behind the guest memory is full';
    default:
      return '';
  }
}
