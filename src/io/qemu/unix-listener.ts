/** Which process a unix socket belongs to, from /proc: a path alone says nothing of who answers there. */
import { readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';

/** Paths of unix sockets and their inodes, from the text of /proc/PID/net/unix. Pure. */
export function parseUnixSockets(text: string): { readonly inode: number; readonly path: string }[] {
  return Array.from(text.matchAll(/^[0-9a-f]+:(?: \S+){5} +(\d+) (.+)$/gm), (match) => ({
    inode: Number(match[1]),
    path: match[2] ?? '',
  }));
}

/** Whether the process holds the socket at this path. False also where /proc does not let us look. */
export function holdsUnixSocket(pid: number, path: string): boolean {
  try {
    const wanted = realpathSync(path);
    const folder = readlinkSync(`/proc/${pid}/cwd`);
    const inodes = new Set(
      parseUnixSockets(readFileSync(`/proc/${pid}/net/unix`, 'utf8'))
        .filter((socket) => isSame(resolve(folder, socket.path), wanted))
        .map(({ inode }) => `socket:[${inode}]`),
    );
    return readdirSync(`/proc/${pid}/fd`).some((fd) => inodes.has(linkOf(`/proc/${pid}/fd/${fd}`)));
  } catch {
    return false;
  }
}

function isSame(path: string, wanted: string): boolean {
  try {
    return realpathSync(path) === wanted;
  } catch {
    return false;
  }
}

/** A descriptor may be closed while we look. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
