/**
 * Bytes through the network devices of this network namespace, from /proc/net/dev. (/sys/class/net shows the namespace in
 * which it was mounted, which need not be ours.)
 */
import { existsSync, readdirSync } from 'node:fs';
import { readOrNull } from './proc-file.ts';

export type DeviceBytes = { readonly received: number; readonly sent: number };

/** By name of the device; empty where it cannot be read. */
export function networkDevices(): ReadonlyMap<string, DeviceBytes> {
  return parseNetworkDevices(readOrNull('/proc/self/net/dev') ?? '');
}

/** Lines "  name: bytes packets errs drop fifo frame compressed multicast bytes ...": 8 numbers received, 8 sent. */
export function parseNetworkDevices(text: string): ReadonlyMap<string, DeviceBytes> {
  const devices = new Map<string, DeviceBytes>();
  for (const [, name = '', numbers = ''] of text.matchAll(/^ *([^\s:]+):([ \d]+)$/gm)) {
    const fields = numbers.trim().split(/ +/).map(Number);
    if (fields.length >= 9) devices.set(name, { received: fields[0]!, sent: fields[8]! });
  }
  return devices;
}

/**
 * Whether traffic through this device is traffic of the host with others. Not: the loopback, guests' taps, and devices that
 * stand upon others (bridges, bonds, VLANs), whose bytes are counted below them already.
 */
export function leavesHost(name: string, folder = '/sys/class/net'): boolean {
  if (name === 'lo' || existsSync(`${folder}/${name}/tun_flags`) || existsSync(`${folder}/${name}/bridge`))
    return false;
  try {
    return !readdirSync(`${folder}/${name}`).some((entry) => entry.startsWith('lower_'));
  } catch {
    return true;
  }
}
