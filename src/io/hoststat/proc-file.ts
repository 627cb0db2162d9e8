/** Files of /proc and /sys, which may be gone at any moment. */
import { readFileSync } from 'node:fs';

/** The text of a file; null when it is not there, or not for us. */
export function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return null;
  }
}
