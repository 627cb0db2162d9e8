/** What differs between machine types for our command line: the PCI bus's name and the main RAM block's. */
export type Board = {
  /** Name of the root PCI bus; null when the machine has none and virtio devices sit on virtio-mmio. */
  readonly pciBus: string | null;
  /** Name of the main RAM block, so that shared and private memory look the same in the stream. */
  readonly ramId: string;
};

export function boardOf(machine: string): Board {
  if (machine.startsWith('microvm')) return { pciBus: null, ramId: 'microvm.ram' };
  if (/^virt(-|$)/.test(machine)) return { pciBus: 'pcie.0', ramId: 'mach-virt.ram' };
  if (machine.includes('q35')) return { pciBus: 'pcie.0', ramId: 'pc.ram' };
  return { pciBus: 'pci.0', ramId: 'pc.ram' };
}

/**
 * Fixed PCI places, the same on both hosts: 02.0 serial, 03.0 to 03.7 networks, 04 to 1b disks. 00, 01 and 1d to 1f
 * belong to the boards themselves.
 */
const SERIAL_SLOT = 2;
const NETWORK_SLOT = 3;
const FIRST_DISK_SLOT = 4;
export const DISKS_MAX = 24;
export const NETWORKS_MAX = 8;

/** The `-device` name of a virtio device and the properties that fix its place. */
export function virtioDevice(board: Board, kind: 'blk' | 'net' | 'serial', index: number): string {
  if (board.pciBus === null) return `virtio-${kind}-device`;
  const place = kind === 'serial' ? `${SERIAL_SLOT}.0` : kind === 'net' ? `${NETWORK_SLOT}.${index}` : null;
  const address = place ?? `${(FIRST_DISK_SLOT + index).toString(16)}.0`;
  const isShared = kind === 'net' && index === 0 ? ',multifunction=on' : '';
  return `virtio-${kind}-pci,bus=${board.pciBus},addr=${address}${isShared}`;
}
