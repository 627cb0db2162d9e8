/** What the text files of a Linux guest's /proc say about leaving its free pages out. Pure. */

export type MemoryUse = {
  /** What the kernel counts as memory at all. */
  readonly totalBytes: number;
  /** What cannot be left out even after the cache is dropped. */
  readonly neededBytes: number;
  /** Clean file cache that no process maps, roughly. */
  readonly cacheBytes: number;
};

/** From /proc/meminfo; a field that is missing counts as 0. */
export function memoryUse(meminfo: string): MemoryUse {
  const bytesOf = (field: string): number => {
    const found = new RegExp(`^${field}: +([0-9]{1,15}) kB$`, 'm').exec(meminfo);
    return found === null ? 0 : Number(found[1]) * 1024;
  };
  const dirty = bytesOf('Dirty') + bytesOf('Writeback') + bytesOf('Shmem') + bytesOf('Mapped');
  const cacheBytes = Math.max(0, bytesOf('Cached') + bytesOf('Buffers') - dirty);
  const totalBytes = bytesOf('MemTotal');
  return { totalBytes, neededBytes: Math.max(0, totalBytes - bytesOf('MemFree') - cacheBytes), cacheBytes };
}

/** File cache that is not in memory of tmpfs, from /proc/meminfo. */
export function fileCacheBytes(meminfo: string): number {
  const sizes = Array.from(meminfo.matchAll(/^(?:Active|Inactive)\(file\): +([0-9]{1,15}) kB$/gm), (match) =>
    Number(match[1]),
  );
  return sizes.reduce((sum, kib) => sum + kib, 0) * 1024;
}

/**
 * Why free pages of this guest must travel all the same, from /proc/cmdline; null when they need not. A kernel that fills
 * free pages with a pattern checks it when it hands them out again, and one that unmaps them is being debugged.
 */
export function isPruningUnsafe(cmdline: string): string | null {
  const found = /(?:^|\s)(page_poison|debug_pagealloc)(?:=(\S*))?(?=\s|$)/.exec(cmdline);
  if (found === null || /^(0|off|n|no|false)$/i.test(found[2] ?? '')) return null;
  return `its kernel runs with ${found[1]}, which looks at the content of free pages`;
}
