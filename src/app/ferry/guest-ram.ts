/**
 * Which RAM blocks lanes carry ("direct") and which travel inside the device stream ("side"), and where lanes find them.
 *
 * A block goes by lanes when it is backed by a memory backend (that is guest memory proper, which is zero in a fresh QEMU:
 * rule R6) and both sides know its host address. A backend that
 * is a named file may hold old bytes: its zero pages are sent and written like any other. Firmware, ROM blobs, flash and video memory may hold something at the
 * destination before the guest arrives, so every page of them is sent, zero or not, inside the stream.
 */
import { layOutBlocks, type PageBlock } from '../../core/pages/block-layout.ts';
import type { Problem } from '../../core/model/vm.ts';
import type { MemoryMap } from '../../io/lanes/lane-protocol.ts';
import { findGuestMemory, type RamBlock } from '../../io/qemu/guest-memory.ts';
import type { GpaWindow } from '../../io/qemu/gpa-map.ts';
import { QmpError } from '../../io/qemu/errors.ts';
import type { QmpClient } from '../../io/qemu/qmp-client.ts';
import { FerryError } from './errors.ts';
import { SIDE_BYTES_MAX } from './side-pages.ts';

const PAGE_BYTES = 4096;

export type GuestRam = {
  readonly pid: number;
  /** All blocks in QEMU's order, which is the order of its stream. */
  readonly blocks: readonly RamBlock[];
  /** Names of memory backends' blocks whose bytes this process can reach. */
  readonly reachable: ReadonlySet<string>;
  /** Of those, the ones backed by a file with a name, which may hold something before the guest comes. */
  readonly preloaded: ReadonlySet<string>;
  /** At which addresses the guest sees the blocks. */
  readonly windows: readonly GpaWindow[];
};

/** Throws QmpError, GuestMemoryError. */
export async function inspectGuestRam(qmp: QmpClient, pid: number): Promise<GuestRam> {
  const { blocks, windows } = await findGuestMemory(qmp, pid);
  const backends = new Set((await qmp.execute('query-memdev')).map((backend) => backend.id));
  const reachable = blocks.filter((block) => block.hva !== null && backends.has(block.name)).map((block) => block.name);
  const preloaded: string[] = [];
  for (const name of reachable) if ((await backendType(qmp, name)) === 'memory-backend-file') preloaded.push(name);
  return { pid, blocks, reachable: new Set(reachable), preloaded: new Set(preloaded), windows };
}

/** Blocks as the page table wants them; `direct` names those that lanes carry. */
export function pageBlocks(
  blocks: readonly { name: string; usedBytes: number }[],
  direct: ReadonlySet<string>,
): PageBlock[] {
  return blocks.map(({ name, usedBytes }) => ({ name, pageCount: usedBytes / PAGE_BYTES, side: !direct.has(name) }));
}

/** Where lanes find the direct blocks: the shared memory file where there is one, else /proc/PID/mem. */
export function memoryMap(
  ram: GuestRam,
  order: readonly { name: string; usedBytes: number }[],
  direct: ReadonlySet<string>,
): MemoryMap {
  const local = new Map(ram.blocks.map((block) => [block.name, block]));
  return layOutBlocks(pageBlocks(order, direct)).flatMap((laid) => {
    const block = local.get(laid.name);
    if (laid.side || block === undefined || block.hva === null) return [];
    const at =
      block.sharedFile === null
        ? { path: `/proc/${ram.pid}/mem`, offsetBytes: block.hva }
        : { path: block.sharedFile.path, offsetBytes: block.sharedFile.offset };
    const preloaded = ram.preloaded.has(laid.name);
    return [{ name: laid.name, firstPage: laid.firstPage, pageCount: laid.pageCount, preloaded, ...at }];
  });
}

/** What speaks against moving this RAM, for preflight. */
export function ramProblems(vm: string, ram: GuestRam): Problem[] {
  const side = ram.blocks.filter((block) => !ram.reachable.has(block.name));
  const sideBytes = side.reduce((sum, block) => sum + block.usedBytes, 0);
  const problems: Problem[] = [];
  if (sideBytes > SIDE_BYTES_MAX) {
    const names = side.filter((block) => block.usedBytes > PAGE_BYTES * 256).map((block) => block.name);
    problems.push({
      code: 'RAM_UNREACHABLE',
      message: `RAM blocks ${names.join(', ')} of VM "${vm}" cannot be read from outside and are too large for the device stream`,
    });
  }
  if (ram.reachable.size === 0) {
    problems.push({ code: 'RAM_UNREACHABLE', message: `The host address of the RAM of VM "${vm}" is unknown` });
  }
  return problems;
}

/** What keeps this RAM from being pulled page by page: QEMU takes such memory in other units, or not at all. */
export function pullProblems(vm: string, ram: GuestRam): Problem[] {
  const huge = ram.blocks.filter((block) => block.pageBytes !== PAGE_BYTES).map((block) => block.name);
  const problems: Problem[] = [];
  if (huge.length > 0) {
    const message = `RAM of VM "${vm}" lies in huge pages (${huge.join(', ')}), which cannot be pulled one by one: leave the pull phase out with --no-pull`;
    problems.push({ code: 'PULL_HUGE_PAGES', message });
  }
  if (ram.preloaded.size > 0) {
    const message = `RAM of VM "${vm}" lies in a file (${[...ram.preloaded].join(', ')}), which cannot be pulled: leave the pull phase out with --no-pull`;
    problems.push({ code: 'PULL_FILE_MEMORY', message });
  }
  return problems;
}

/** Throws FerryError FERRY_BLOCKED. */
export function assertPullable(vm: string, ram: GuestRam): void {
  const [problem] = pullProblems(vm, ram);
  if (problem !== undefined) throw new FerryError('FERRY_BLOCKED', problem.message, { vm });
}

async function backendType(qmp: QmpClient, id: string): Promise<unknown> {
  try {
    return await qmp.execute('qom-get', { path: `/objects/${id}`, property: 'type' });
  } catch (error) {
    if (error instanceof QmpError && error.code === 'QMP_COMMAND') return null;
    throw error;
  }
}
