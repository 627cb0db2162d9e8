/** What a host has: memory and processors. */
import { readFileSync } from 'node:fs';
import { availableParallelism, freemem, totalmem } from 'node:os';

const BYTES_PER_KIB = 1024;

export type HostMemory = {
  readonly totalBytes: number;
  /** What could be given to a new process without swapping, the kernel's estimate. */
  readonly availableBytes: number;
};

export function hostMemory(): HostMemory {
  try {
    return parseMemInfo(readFileSync('/proc/meminfo', 'utf8'));
  } catch {
    return { totalBytes: totalmem(), availableBytes: freemem() };
  }
}

export function parseMemInfo(text: string): HostMemory {
  const bytesOf = (name: string): number =>
    Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(text)?.[1] ?? NaN) * BYTES_PER_KIB;
  const totalBytes = bytesOf('MemTotal');
  const availableBytes = bytesOf('MemAvailable');
  return {
    totalBytes: Number.isFinite(totalBytes) ? totalBytes : totalmem(),
    availableBytes: Number.isFinite(availableBytes) ? availableBytes : freemem(),
  };
}

/** Processors that this process may use. */
export function cpuCount(): number {
  return availableParallelism();
}
