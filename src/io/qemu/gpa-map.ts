/**
 * Guest physical addresses to RAM blocks.
 *
 * One block can have several windows: main memory is cut by the hole below 4 GiB and by the firmware's overlays below
 * 1 MiB, and DIMMs lie above it. What no window covers (device memory, the hole) has no page in the migration stream.
 */
import type { FlatRange } from './hmp-parse.ts';

export type GpaWindow = {
  readonly gpa: number;
  readonly bytes: number;
  /** Name of the RAM block, as in the migration stream. */
  readonly block: string;
  /** Offset of `gpa` in the block. */
  readonly offset: number;
  readonly readOnly: boolean;
};

/**
 * The block that a memory region belongs to: the one of the same name, or the only one whose name ends in "/name".
 * Null when there is none, or more than one (two network cards have equally named ROMs).
 */
export function blockOfRegion(region: string, blockNames: readonly string[]): string | null {
  if (blockNames.includes(region)) return region;
  const candidates = blockNames.filter((name) => name.endsWith(`/${region}`));
  return candidates.length === 1 ? (candidates[0] ?? null) : null;
}

export function gpaWindows(ranges: readonly FlatRange[], blockNames: readonly string[]): GpaWindow[] {
  return ranges.flatMap(({ gpa, bytes, region, offset, readOnly }) => {
    const block = blockOfRegion(region, blockNames);
    return block === null ? [] : [{ gpa, bytes, block, offset, readOnly }];
  });
}

export class GpaMap {
  readonly windows: readonly GpaWindow[];

  constructor(windows: readonly GpaWindow[]) {
    this.windows = [...windows].sort((a, b) => a.gpa - b.gpa);
  }

  /** The window that contains the address, or null. The offset in the block is `offset + (gpa - window.gpa)`. */
  locate(gpa: number): GpaWindow | null {
    let low = 0;
    let high = this.windows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.windows[middle]?.gpa ?? Infinity) <= gpa) low = middle + 1;
      else high = middle;
    }
    const window = this.windows[low - 1];
    return window !== undefined && gpa < window.gpa + window.bytes ? window : null;
  }
}
