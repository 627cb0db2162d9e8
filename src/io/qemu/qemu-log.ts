/** QEMU's own log file: its last lines, and the sentence in them that says why it did not start. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const TAIL_BYTES_MAX = 4096;

/** The end of the file, at most 4 KiB and nothing before `from`; empty when it cannot be read. */
export function logTail(path: string, from = 0): string {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return '';
  }
  try {
    const size = fstatSync(fd).size;
    const start = Math.max(from, size - TAIL_BYTES_MAX, 0);
    const buffer = Buffer.alloc(Math.max(0, size - start));
    return buffer
      .subarray(0, readSync(fd, buffer, 0, buffer.length, start))
      .toString('utf8')
      .trim();
  } finally {
    closeSync(fd);
  }
}

/**
 * The last error line without the program's name and without the option that QEMU repeats in full, which is a page of
 * JSON for a disk; warnings do not count. Null when the log says nothing.
 */
export function reasonFromLog(log: string): string | null {
  const lines = log.split('\n').filter((line) => line.trim() !== '' && !/: warning: /.test(line));
  const error = lines.findLast((line) => /^\S*qemu[^:\s]*: /.test(line)) ?? lines.at(-1);
  if (error === undefined) return null;
  const text = error.replace(/^\S*qemu[^:\s]*: /, '');
  const option = /^(-[a-z-]+) (?:\{.*\}|\S+): (.*)$/.exec(text);
  return option === null ? text : `${option[2] ?? ''} (${option[1] ?? ''})`;
}
