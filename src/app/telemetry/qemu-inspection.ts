/** What only the monitor of a QEMU, or the agent in its guest, can tell; each asked in one short conversation. */
import type { MemoryMap } from '../../io/lanes/lane-protocol.ts';
import { GuestAgent } from '../../io/qemu/guest-agent.ts';
import { readGuestText } from '../../io/qemu/guest-files.ts';
import { QmpClient } from '../../io/qemu/qmp-client.ts';
import { inspectGuestRam, memoryMap } from '../ferry/guest-ram.ts';
import { TALK_MS_MAX } from './limits.ts';
import type { SampledProcess } from './sampled-vm.ts';

export type QemuInside = {
  /** Thread ids, as the host counts them. */
  readonly vcpuThreads: readonly number[];
  /** Empty when the memory cannot be read from outside. */
  readonly memory: MemoryMap;
  /** Files behind shared memory, by paths that are valid while the process lives. */
  readonly sharedFiles: readonly string[];
};

/** Throws QmpError. */
export async function inspectQemu(vm: string, process: SampledProcess, signal: AbortSignal): Promise<QemuInside> {
  const place = { socketPath: process.qmpPath, vm, timeoutMs: TALK_MS_MAX, signal };
  using qmp = await QmpClient.connect(place);
  const cut = (): void => qmp.close();
  signal.addEventListener('abort', cut, { once: true });
  try {
    const ram = await inspectGuestRam(qmp, process.pid);
    const memory = memoryMap(ram, ram.blocks, ram.reachable);
    return {
      vcpuThreads: await qmp.vcpuThreads(),
      memory,
      sharedFiles: [...new Set(ram.blocks.flatMap(({ sharedFile }) => sharedFile?.path ?? []))],
    };
  } finally {
    signal.removeEventListener('abort', cut);
  }
}

/** What the guest uses by its own account, without cache, bytes. Throws GuestAgentError, and an Error for nonsense. */
export async function guestUsedBytes(vm: string, qgaPath: string, signal: AbortSignal): Promise<number> {
  using agent = await GuestAgent.connect({ socketPath: qgaPath, vm, timeoutMs: TALK_MS_MAX, signal });
  const used = parseGuestUsed(await readGuestText(agent, '/proc/meminfo', { timeoutMs: TALK_MS_MAX, signal }));
  if (used === null) throw new Error(`What VM "${vm}" says of its memory is not understood`);
  return used;
}

/** MemTotal less MemAvailable: what `free` calls used. Null when that is not there, or makes no sense. */
export function parseGuestUsed(meminfo: string): number | null {
  const [total, available] = ['MemTotal', 'MemAvailable'].map((field) => {
    const found = new RegExp(`^${field}: +([0-9]{1,12}) kB$`, 'm').exec(meminfo);
    return found === null ? NaN : Number(found[1]) * 1024;
  });
  const used = (total ?? NaN) - (available ?? NaN);
  return used >= 0 ? used : null;
}
