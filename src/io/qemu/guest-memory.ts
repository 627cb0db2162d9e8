/**
 * Where guest RAM is in the QEMU process, and reading it from outside.
 *
 * A RAM block is one contiguous host mapping. QEMU 10 prints its address; QEMU 7.2 tells it only for blocks that the
 * guest has mapped (`gpa2hva`), the rest (a few ROM pages) keeps a null address and has to travel another way. Every
 * address is checked against /proc/PID/maps before it is used, so that a misread number can never be read or written.
 */
import { closeSync, openSync, readFileSync, readSync, readdirSync, statSync } from 'node:fs';
import { GuestMemoryError } from './errors.ts';
import { gpaWindows, blockOfRegion, type GpaWindow } from './gpa-map.ts';
import { parseGpa2Hva, parseRamBlocks, parseSystemFlatView, type FlatRange } from './hmp-parse.ts';
import { deniedError } from './memory-rights.ts';
import { isMapped, parseMaps, sharedMappingOf, type MapsEntry } from './process-maps.ts';
import type { QmpClient } from './qmp-client.ts';

export type SharedFile = {
  /** A path through /proc/PID/fd, valid while the process lives. */
  readonly path: string;
  /** Where the block begins in the file. */
  readonly offset: number;
};

export type RamBlock = {
  /** Name as in the migration stream. */
  readonly name: string;
  /** Length now; what is migrated. */
  readonly usedBytes: number;
  /** Length it may grow to. */
  readonly totalBytes: number;
  /** Host page size of the block; more than 4096 with huge pages. */
  readonly pageBytes: number;
  /** Host virtual address of the block's first byte, or null when it cannot be known. */
  readonly hva: number | null;
  /** Set when the block is a shared mapping of a file, which then shows every write of the guest. */
  readonly sharedFile: SharedFile | null;
};

export type GuestMemoryLayout = {
  readonly pid: number;
  readonly blocks: readonly RamBlock[];
  readonly windows: readonly GpaWindow[];
};

/** Finds all RAM blocks. Throws QmpError, and GuestMemoryError MEMORY_DENIED, MEMORY_GONE or MEMORY_LAYOUT. */
export async function findGuestMemory(qmp: QmpClient, pid: number): Promise<GuestMemoryLayout> {
  const lines = parseRamBlocks(await qmp.humanMonitor('info ramblock'));
  if (lines.length === 0) throw new GuestMemoryError('MEMORY_LAYOUT', `QEMU ${pid} lists no RAM blocks`, { pid });
  const ranges = parseSystemFlatView(await qmp.humanMonitor('info mtree -f'));
  const names = lines.map((line) => line.name);
  const maps = parseMaps(readProcessFile(pid, 'maps'));
  const blocks: RamBlock[] = [];
  for (const line of lines) {
    const claimed = line.hva ?? (await hvaThroughGuestAddress(qmp, line.name, ranges, names));
    const hva = claimed !== null && isMapped(maps, claimed, line.totalBytes) ? claimed : null;
    const sharedFile = hva === null ? null : sharedFileOf(pid, maps, hva, line.totalBytes);
    blocks.push({ ...line, hva, sharedFile });
  }
  return { pid, blocks, windows: gpaWindows(ranges, names) };
}

/** QEMU before the HVA column: HVA(block) = gpa2hva(gpa) - offset of gpa in the block. */
async function hvaThroughGuestAddress(
  qmp: QmpClient,
  name: string,
  ranges: readonly FlatRange[],
  names: readonly string[],
): Promise<number | null> {
  const range = ranges.find(({ region }) => blockOfRegion(region, names) === name);
  if (range === undefined) return null;
  const answer = parseGpa2Hva(await qmp.humanMonitor(`gpa2hva 0x${range.gpa.toString(16)}`));
  // The guest may have moved its memory map between the two commands: only an answer for the same region counts.
  return answer !== null && answer.region === range.region ? answer.hva - range.offset : null;
}

function sharedFileOf(pid: number, maps: readonly MapsEntry[], hva: number, bytes: number): SharedFile | null {
  const mapping = sharedMappingOf(maps, hva, bytes);
  if (mapping === null) return null;
  const folder = `/proc/${pid}/fd`;
  try {
    const isSame = (path: string): boolean => {
      const found = statSync(path, { throwIfNoEntry: false });
      return (
        found !== undefined && found.isFile() && found.ino === mapping.inode && deviceText(found.dev) === mapping.device
      );
    };
    const path = readdirSync(folder)
      .map((fd) => `${folder}/${fd}`)
      .find(isSame);
    return path === undefined ? null : { path, offset: mapping.fileOffset + hva - mapping.start };
  } catch (cause) {
    throw memoryError(pid, cause, 'list the open files of');
  }
}

/** A device number as /proc/PID/maps prints it; Linux packs major and minor in two parts each. */
function deviceText(device: number): string {
  const value = BigInt(device);
  const major = ((value >> 8n) & 0xfffn) | ((value >> 32n) & ~0xfffn);
  const minor = (value & 0xffn) | ((value >> 12n) & 0xfff_ff00n);
  return `${major.toString(16).padStart(2, '0')}:${minor.toString(16).padStart(2, '0')}`;
}

/**
 * Checks that this process may read (and write) that QEMU's memory, by opening /proc/PID/mem as a lane will.
 * Throws GuestMemoryError MEMORY_DENIED, naming the right that is missing, or MEMORY_GONE.
 */
export function assertMemoryAccess(pid: number, access: 'read' | 'write'): void {
  try {
    closeSync(openSync(`/proc/${pid}/mem`, access === 'read' ? 'r' : 'r+'));
  } catch (cause) {
    throw memoryError(pid, cause, `${access} the memory of`);
  }
}

/** Reads runs of guest RAM into buffers of the caller, through the shared file where there is one. */
export class GuestMemoryReader {
  readonly #pid: number;
  /** Or why there is none: shared memory can do without. */
  readonly #memory: number | GuestMemoryError;
  readonly #files = new Map<string, number>();

  private constructor(pid: number, memory: number | GuestMemoryError) {
    this.#pid = pid;
    this.#memory = memory;
  }

  /** Opens /proc/PID/mem. Throws GuestMemoryError MEMORY_GONE; a missing right shows when private memory is read. */
  static open(pid: number): GuestMemoryReader {
    try {
      return new GuestMemoryReader(pid, openSync(`/proc/${pid}/mem`, 'r'));
    } catch (cause) {
      const error = memoryError(pid, cause, 'read the memory of');
      if (error.code === 'MEMORY_DENIED') return new GuestMemoryReader(pid, error);
      throw error;
    }
  }

  /**
   * Fills `target` with the block's bytes from `offset` on. The block needs an address.
   * Throws GuestMemoryError MEMORY_READ (no address, out of range, unreadable), MEMORY_DENIED or MEMORY_GONE (it ended).
   */
  read(block: RamBlock, offset: number, target: Uint8Array): void {
    if (block.hva === null || offset < 0 || offset + target.length > block.totalBytes) {
      const text = `Cannot read ${target.length} bytes at ${offset} of RAM block "${block.name}" of ${block.totalBytes} bytes`;
      throw new GuestMemoryError('MEMORY_READ', text, { pid: this.#pid, block: block.name, offset });
    }
    if (block.sharedFile !== null) {
      return this.#readFully(this.#fileOf(block.sharedFile.path), block.sharedFile.offset + offset, target);
    }
    if (typeof this.#memory !== 'number') throw this.#memory;
    this.#readFully(this.#memory, block.hva + offset, target);
  }

  close(): void {
    if (typeof this.#memory === 'number') closeSync(this.#memory);
    for (const fd of this.#files.values()) closeSync(fd);
    this.#files.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #fileOf(path: string): number {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    try {
      const fd = openSync(path, 'r');
      this.#files.set(path, fd);
      return fd;
    } catch (cause) {
      throw memoryError(this.#pid, cause, 'open the shared memory of');
    }
  }

  #readFully(fd: number, position: number, target: Uint8Array): void {
    for (let done = 0; done < target.length;) {
      let count = 0;
      try {
        count = readSync(fd, target, done, target.length - done, position + done);
      } catch (cause) {
        throw memoryError(this.#pid, cause, `read address 0x${(position + done).toString(16)} of`);
      }
      // The kernel answers 0 once the process has given up its memory.
      if (count === 0) throw new GuestMemoryError('MEMORY_GONE', `QEMU ${this.#pid} has ended`, { pid: this.#pid });
      done += count;
    }
  }
}

function readProcessFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch (cause) {
    throw memoryError(pid, cause, 'read the memory map of');
  }
}

function memoryError(pid: number, cause: unknown, what: string): GuestMemoryError {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === 'EACCES' || code === 'EPERM') return deniedError(pid, what, cause);
  if (code === 'ENOENT' || code === 'ESRCH') {
    return new GuestMemoryError('MEMORY_GONE', `QEMU ${pid} has ended`, { pid }, { cause });
  }
  return new GuestMemoryError('MEMORY_READ', `Cannot ${what} QEMU ${pid}`, { pid }, { cause });
}
