/** Reads /proc/PID/maps: which host virtual addresses are mapped, how, and from which file. */
export type MapsEntry = {
  readonly start: number;
  readonly end: number;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly shared: boolean;
  readonly fileOffset: number;
  readonly device: string;
  readonly inode: number;
  readonly path: string;
};

const entry = /^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])[x-]([sp]) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)\s*(.*)$/;

/** The mappings in ascending order; lines that look different (vsyscall tails of other systems) are left out. */
export function parseMaps(text: string): MapsEntry[] {
  return text.split('\n').flatMap((line) => {
    const match = entry.exec(line);
    if (match === null) return [];
    return [
      {
        start: Number.parseInt(match[1] ?? '', 16),
        end: Number.parseInt(match[2] ?? '', 16),
        readable: match[3] === 'r',
        writable: match[4] === 'w',
        shared: match[5] === 's',
        fileOffset: Number.parseInt(match[6] ?? '', 16),
        device: match[7] ?? '',
        inode: Number(match[8]),
        path: match[9] ?? '',
      },
    ];
  });
}

/** Whether [address, address + bytes) is mapped readable and writable without a gap. */
export function isMapped(maps: readonly MapsEntry[], address: number, bytes: number): boolean {
  let at = address;
  for (const { start, end, readable, writable } of maps) {
    if (end <= at) continue;
    if (start > at || !readable || !writable) return false;
    at = end;
    if (at >= address + bytes) return true;
  }
  return false;
}

/** The one mapping of a shared file that covers the whole range, or null. */
export function sharedMappingOf(maps: readonly MapsEntry[], address: number, bytes: number): MapsEntry | null {
  const found = maps.find(({ start, end }) => start <= address && address + bytes <= end);
  return found !== undefined && found.shared && found.inode !== 0 ? found : null;
}
