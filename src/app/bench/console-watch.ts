/** Looks at what a guest says, and when: for its rate of work (work-curve.ts). */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchError } from './errors.ts';
import { workPoints } from './bench-guest.ts';
import type { WorkKind } from './bench-guest.ts';
import type { SeenPoint, WorkPoint } from './work-curve.ts';

const POLL_MS = 20;

export function readConsole(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

/** Lines that arrive within `forMs`, each with the time when it was first seen. */
export async function watchArrivals(
  file: string,
  kind: WorkKind,
  forMs: number,
  signal: AbortSignal,
): Promise<SeenPoint[]> {
  const seen: SeenPoint[] = [];
  let known = workPoints(readConsole(file), kind).length;
  for (const endMs = performance.now() + forMs; performance.now() < endMs;) {
    await sleep(POLL_MS, undefined, { signal });
    const points = workPoints(readConsole(file), kind);
    const seenMs = performance.now();
    // Only the last line has just come; one before it may have waited.
    const last = points.at(-1);
    if (last !== undefined && points.length > known) seen.push({ ...last, seenMs });
    known = points.length;
  }
  return seen;
}

/** Waits until the guest's workload has said so many lines at this place. Throws BenchError BENCH_FAILED. */
export async function waitForLines(
  file: string,
  kind: WorkKind,
  { lines, timeoutMs, signal }: { readonly lines: number; readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<readonly WorkPoint[]> {
  for (const endMs = performance.now() + timeoutMs; ;) {
    const points = workPoints(readConsole(file), kind);
    if (points.length >= lines) return points;
    if (performance.now() >= endMs) {
      throw new BenchError(
        'BENCH_FAILED',
        `The guest's workload said less than ${lines} lines in ${timeoutMs / 1000} s`,
      );
    }
    await sleep(POLL_MS * 5, undefined, { signal });
  }
}
