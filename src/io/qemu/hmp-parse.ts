/**
 * Reads what `info ramblock`, `info mtree -f` and `gpa2hva` print. There is no QMP command for any of it.
 *
 * QEMU 7.2 prints a RAM block's name, page size, ram_addr, used and total length; 10.0 also its host virtual address
 * (HVA). A line without a name is a memory backend that no device uses: it is not migrated and left out here.
 */
export type RamBlockLine = {
  readonly name: string;
  readonly pageBytes: number;
  readonly usedBytes: number;
  readonly totalBytes: number;
  /** Host virtual address; null where this QEMU does not print it. Below 2^47, so exact as a number. */
  readonly hva: number | null;
};

/** One range of guest physical addresses backed by RAM or ROM. */
export type FlatRange = {
  readonly gpa: number;
  readonly bytes: number;
  /** The memory region's name; for PCI devices the RAM block's name has the device's path in front of it. */
  readonly region: string;
  /** Offset of `gpa` in the region. */
  readonly offset: number;
  readonly readOnly: boolean;
};

const unitBytes: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
const ramBlock =
  /^\s*(.*?)\s+(\d+) (B|KiB|MiB|GiB)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)(?:\s+0x([0-9a-f]+)\s+r[ow])?\s*$/;

export function parseRamBlocks(text: string): RamBlockLine[] {
  const blocks: RamBlockLine[] = [];
  for (const line of text.split('\n')) {
    const match = ramBlock.exec(line);
    if (match === null || match[1] === undefined || match[1] === '') continue;
    blocks.push({
      name: match[1],
      pageBytes: Number(match[2]) * (unitBytes[match[3] ?? 'B'] ?? 1),
      usedBytes: hex(match[5]),
      totalBytes: hex(match[6]),
      hva: match[7] === undefined ? null : hex(match[7]),
    });
  }
  return blocks;
}

// Under KVM QEMU appends " KVM" to the ranges that KVM has as memory slots.
const flatRange =
  /^\s+([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, (ram|rom|ramd|romd|nv-ram)\): (.*?)(?: @([0-9a-f]{16}))?(?: KVM)?\s*$/;

/** The RAM and ROM ranges of the system's address space ("memory"), ascending. */
export function parseSystemFlatView(text: string): FlatRange[] {
  const ranges: FlatRange[] = [];
  let isSystem = false;
  for (const line of text.split('\n')) {
    if (line.startsWith('FlatView')) isSystem = false;
    if (/^ AS "memory", root: system\b/.test(line)) isSystem = true;
    const match = isSystem ? flatRange.exec(line) : null;
    if (match === null) continue;
    const gpa = hex(match[1]);
    ranges.push({
      gpa,
      bytes: hex(match[2]) - gpa + 1,
      region: match[4] ?? '',
      offset: match[5] === undefined ? 0 : hex(match[5]),
      readOnly: match[3] === 'rom' || match[3] === 'romd',
    });
  }
  return ranges.sort((a, b) => a.gpa - b.gpa);
}

/** The answer of `gpa2hva`: the region at that address and its host virtual address; null when it is not RAM. */
export function parseGpa2Hva(text: string): { readonly region: string; readonly hva: number } | null {
  const match = /^Host virtual address for 0x[0-9a-f]+ \((.*)\) is 0x([0-9a-f]+)\s*$/m.exec(text);
  return match === null ? null : { region: match[1] ?? '', hva: hex(match[2]) };
}

function hex(digits: string | undefined): number {
  return Number.parseInt(digits ?? '', 16);
}
