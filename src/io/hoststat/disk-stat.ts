/** Bytes from and to the disks of this host, from /proc/diskstats. */
import { existsSync } from 'node:fs';
import { readOrNull } from './proc-file.ts';

/** The unit of /proc/diskstats, whatever the disk's own sectors are (Documentation/admin-guide/iostats.rst). */
const SECTOR_BYTES = 512;

export type DiskBytes = { readonly read: number; readonly written: number };

/** By name of the block device; empty where it cannot be read. */
export function diskDevices(): ReadonlyMap<string, DiskBytes> {
  return parseDiskDevices(readOrNull('/proc/diskstats') ?? '');
}

/** "major minor name reads merged sectorsRead ms writes merged sectorsWritten ..." */
export function parseDiskDevices(text: string): ReadonlyMap<string, DiskBytes> {
  const devices = new Map<string, DiskBytes>();
  for (const line of text.split('\n')) {
    const [, , name, , , sectorsRead, , , , sectorsWritten] = line.trim().split(/ +/);
    if (name === undefined || sectorsWritten === undefined) continue;
    devices.set(name, { read: Number(sectorsRead) * SECTOR_BYTES, written: Number(sectorsWritten) * SECTOR_BYTES });
  }
  return devices;
}

/** Whether it is a whole disk of hardware: no partition, nothing that stands upon other disks, no file behind it. */
export function isDisk(name: string, folder = '/sys/block'): boolean {
  return existsSync(`${folder}/${name}/device`);
}
