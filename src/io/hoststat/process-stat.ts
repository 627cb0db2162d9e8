/** What the kernel counts for one process: CPU time, memory, what it read and wrote. */
import { readOrNull } from './proc-file.ts';

/** USER_HZ: /proc shows times in 1/100 s on every Linux that Node.js runs on. */
const MS_PER_TICK = 10;
const BYTES_PER_KIB = 1024;

/** CPU time of a process with all its threads and its waited-for children, milliseconds; null when it is gone. */
export function processCpuMs(pid: number): number | null {
  const text = readOrNull(`/proc/${pid}/stat`);
  return text === null ? null : parseCpuMs(text);
}

/**
 * utime + stime, and with children cutime + cstime: fields 14 to 17 of /proc/PID/stat; null when the line is not of that form.
 */
export function parseCpuMs(stat: string, whose: 'with children' | 'alone' = 'with children'): number | null {
  // The process name may contain blanks and parentheses: count from the last one. State is field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(14 - 3, (whose === 'alone' ? 16 : 18) - 3).reduce((sum, field) => sum + Number(field), 0);
  return fields.length > 14 && Number.isFinite(ticks) ? ticks * MS_PER_TICK : null;
}

/** CPU time of this process, its worker threads included, milliseconds. */
export function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Resident memory of a process, bytes; null when it is gone. */
export function residentBytes(pid: number): number | null {
  const text = readOrNull(`/proc/${pid}/status`);
  return text === null ? null : parseResidentBytes(text);
}

export function parseResidentBytes(status: string): number | null {
  const match = /^VmRSS:\s*(\d+) kB$/m.exec(status);
  return match === null ? null : Number(match[1]) * BYTES_PER_KIB;
}

/** Where its resident memory comes from, bytes. `shared`: shared memory files (memfd, tmpfs), as far as it has touched them. */
export type ResidentParts = { readonly anonBytes: number; readonly fileBytes: number; readonly sharedBytes: number };

/** Null when the process is gone. */
export function residentParts(pid: number): ResidentParts | null {
  const text = readOrNull(`/proc/${pid}/status`);
  return text === null ? null : parseResidentParts(text);
}

/** RssAnon, RssFile and RssShmem, which add up to VmRSS; null for a process without memory. */
export function parseResidentParts(status: string): ResidentParts | null {
  const [, anon, file, shared] = /^RssAnon:\s*(\d+) kB\nRssFile:\s*(\d+) kB\nRssShmem:\s*(\d+) kB$/m.exec(status) ?? [];
  if (anon === undefined) return null;
  const bytes = (kib: string | undefined): number => Number(kib) * BYTES_PER_KIB;
  return { anonBytes: bytes(anon), fileBytes: bytes(file), sharedBytes: bytes(shared) };
}

/** CPU time of one thread, milliseconds; null when it, or its process, is gone. */
export function threadCpuMs(pid: number, threadId: number): number | null {
  const folder = `/proc/${pid}/task/${threadId}`;
  const exact = readOrNull(`${folder}/schedstat`);
  if (exact !== null) return parseThreadCpuMs(exact);
  // Kernels may be built without it (CONFIG_SCHED_INFO).
  const ticks = readOrNull(`${folder}/stat`);
  return ticks === null ? null : parseCpuMs(ticks, 'alone');
}

/** The first field of schedstat: nanoseconds on a processor, exact where stat counts in ticks of 10 ms. */
export function parseThreadCpuMs(schedstat: string): number | null {
  const nanos = /^(\d+) /.exec(schedstat)?.[1];
  return nanos === undefined ? null : Number(nanos) / 1e6;
}

/** Bytes that went to and from disks, as far as the kernel sees it; null when the process is gone, or not ours to look at. */
export function processDiskBytes(pid: number): { readonly read: number; readonly written: number } | null {
  const text = readOrNull(`/proc/${pid}/io`);
  return text === null ? null : parseDiskBytes(text);
}

export function parseDiskBytes(io: string): { readonly read: number; readonly written: number } | null {
  const read = /^read_bytes: (\d+)$/m.exec(io)?.[1];
  const written = /^write_bytes: (\d+)$/m.exec(io)?.[1];
  return read === undefined || written === undefined ? null : { read: Number(read), written: Number(written) };
}
