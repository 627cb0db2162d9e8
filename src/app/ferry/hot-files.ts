/** Which files a guest has in its cache, from what its programs say of it, and which are worth to be read again. Pure. */

/**
 * For a POSIX shell: the files that programs have open, an empty line, and `fincore` (of util-linux) of those of them, and then of all larger files on
 * disks, of which at least half is in the cache. That is cut when the time is up: what programs have open is found without a look at any
 * disk. A disk that is mounted twice is looked at once. 3: there is no `fincore`.
 */
export const LIST_SCRIPT = `
command -v fincore > /dev/null || exit 3
cached() { xargs -0 -n 64 fincore -b -n -r -o RES,SIZE,FILE 2> /dev/null | awk '$1 * 2 >= $2 { print; fflush() }'; }
open=$(ls -l /proc/[0-9]*/fd 2> /dev/null | sed -n 's/^l.* -> \\(\\/.*\\)$/\\1/p' | sort -u)
printf '%s\\n\\n' "$open"
printf '%s\\n' "$open" | while IFS= read -r file; do [ -f "$file" ] && printf '%s\\0' "$file"; done | cached
types=" $(grep -v ^nodev /proc/filesystems | tr -s '\\t\\n' '  ')"
seen=' '
while read -r device folder type rest; do
  case "$types" in *" $type "*) ;; *) continue ;; esac
  case "$seen" in *" $device "*) continue ;; esac
  seen="$seen$device "
  find "$(printf '%b' "$folder")" -xdev -type f -size +63k -print0 2> /dev/null | cached
done < /proc/mounts
`;
export const NO_FINCORE = 3;

/** For a POSIX shell: reads the files named on standard input, a line each, in the background and behind all else that the guest does. */
export const READ_SCRIPT = `
renice -n 19 -p $$ > /dev/null 2>&1
list=$(cat)
(printf '%s\\n' "$list" | while IFS= read -r file; do [ -f "$file" ] && cat -- "$file"; done) > /dev/null 2>&1 < /dev/null &
`;

/** All paths together: some hundred files, which is what a warm cache mostly consists of. */
const LIST_BYTES_MAX = 64 * 1024;
const PATH_BYTES_MAX = 4096;

export type HotFiles = {
  /** Paths, a line each, those worth most first. */
  readonly list: Buffer;
  readonly files: number;
  /** Of their content, in the cache now. */
  readonly cachedBytes: number;
};

type CachedFile = { readonly path: string; readonly cachedBytes: number; readonly share: number };

/**
 * What LIST_SCRIPT printed, cut where the guest ran out of time or not. Files that programs have open come first, then those of which most is in the
 * cache: which pages were used last nobody says. Never throws: lines that are none are left out.
 */
export function hotFilesOf(output: Buffer): HotFiles {
  const text = output.toString('latin1');
  const lines = text.split('\n');
  const open = new Set(lines.slice(0, lines.indexOf('')));
  const found = new Map<string, CachedFile>();
  for (const line of lines.slice(open.size)) {
    const file = cachedFileOf(line);
    if (file !== null) found.set(file.path, file);
  }
  const ranked = [...found.values()].sort(
    (a, b) => Number(open.has(b.path)) - Number(open.has(a.path)) || b.share - a.share || b.cachedBytes - a.cachedBytes,
  );
  let [list, files, cachedBytes] = ['', 0, 0];
  for (const file of ranked) {
    if (list.length + file.path.length + 1 > LIST_BYTES_MAX) break;
    list += `${file.path}\n`;
    files++;
    cachedBytes += file.cachedBytes;
  }
  return { list: Buffer.from(list, 'latin1'), files, cachedBytes };
}

/** `RES SIZE FILE`; bytes that would spoil the line are there as \xHH, and a name with a line break is not worth it. */
function cachedFileOf(line: string): CachedFile | null {
  const found = /^(\d{1,15}) (\d{1,15}) (\/\S+)$/.exec(line);
  if (found === null) return null;
  const path = found[3]!.replace(/\\x([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const [cachedBytes, bytes] = [Number(found[1]), Number(found[2])];
  if (path.length > PATH_BYTES_MAX || /[\0\n\r]/.test(path) || bytes === 0 || cachedBytes === 0) return null;
  return { path, cachedBytes: Math.min(cachedBytes, bytes), share: Math.min(1, cachedBytes / bytes) };
}
