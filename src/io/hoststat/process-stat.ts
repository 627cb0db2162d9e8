/** What the kernel counts for one process: CPU time and memory. */
import { readFileSync } from 'node:fs';

/** USER_HZ: /proc shows times in 1/100 s on every Linux that Node.js runs on. */
const MS_PER_TICK = 10;
const BYTES_PER_KIB = 1024;

/** CPU time of a process with all its threads and its waited-for children, milliseconds; null when it is gone. */
export function processCpuMs(pid: number): number | null {
  const text = readOrNull(`/proc/${pid}/stat`);
  return text === null ? null : parseCpuMs(text);
}

/** utime + stime + cutime + cstime, fields 14 to 17 of /proc/PID/stat; null when the line is not of that form. */
export function parseCpuMs(stat: string): number | null {
  // The process name may contain blanks and parentheses: count from the last one. State is field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(14 - 3, 18 - 3).reduce((sum, field) => sum + Number(field), 0);
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

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
