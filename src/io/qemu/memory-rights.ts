/**
 * Says why the kernel does not let us at a QEMU's memory. Linux asks for ptrace rights: the same user as the process and
 * a process that may be dumped, with Yama's ptrace_scope at 0; or the capability CAP_SYS_PTRACE.
 */
import { readFileSync, statSync } from 'node:fs';
import { GuestMemoryError } from './errors.ts';

const CAP_SYS_PTRACE_BIT = 19n;

export type MemoryRights = {
  readonly ownUid: number;
  /** Owner of /proc/PID; root as well when the process may not be dumped. Null when it is gone. */
  readonly processUid: number | null;
  readonly hasPtraceCapability: boolean;
  /** Yama: 0 = same user suffices, 1 to 2 = the capability is needed, 3 = never; null without Yama. */
  readonly ptraceScope: number | null;
};

export function readMemoryRights(pid: number): MemoryRights {
  const capabilities = /^CapEff:\s*([0-9a-f]+)/m.exec(readOrEmpty('/proc/self/status'))?.[1] ?? '0';
  const scope = readOrEmpty('/proc/sys/kernel/yama/ptrace_scope').trim();
  return {
    ownUid: process.geteuid?.() ?? -1,
    processUid: statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid ?? null,
    hasPtraceCapability: ((BigInt(`0x${capabilities}`) >> CAP_SYS_PTRACE_BIT) & 1n) === 1n,
    ptraceScope: scope === '' ? null : Number(scope),
  };
}

/** What is missing, and what to do about it, as one sentence. */
export function explainMissingRights(rights: MemoryRights): string {
  if (rights.hasPtraceCapability) {
    return rights.ptraceScope === 3
      ? 'Yama forbids it to everyone (kernel.yama.ptrace_scope=3): set it to 2 or less and reboot'
      : 'this process has CAP_SYS_PTRACE, so a security module or a container limit forbids it';
  }
  const needs: string[] = [];
  if (rights.processUid !== null && rights.processUid !== rights.ownUid) {
    needs.push(`QEMU belongs to user ${rights.processUid} and this process runs as user ${rights.ownUid}`);
  }
  if (rights.ptraceScope !== null && rights.ptraceScope > 0) {
    needs.push(`kernel.yama.ptrace_scope is ${rights.ptraceScope}`);
  }
  const why = needs.length === 0 ? 'QEMU may not be traced' : needs.join(' and ');
  // Yama guards /proc/PID/mem, but not the shared file behind /proc/PID/fd; another user's processes are closed to both.
  const shared = rights.processUid === rights.ownUid ? ', or set sharedMemory for the VM' : '';
  return `${why}: give this process the capability CAP_SYS_PTRACE, or the same user with ptrace_scope 0${shared}`;
}

export function deniedError(pid: number, what: string, cause: unknown): GuestMemoryError {
  const rights = readMemoryRights(pid);
  const text = `Not allowed to ${what} QEMU ${pid}, because ${explainMissingRights(rights)}`;
  return new GuestMemoryError('MEMORY_DENIED', text, { pid, ...rights }, { cause });
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
