/**
 * How many pages a guest writes to in a second, by QEMU's own measure (calc-dirty-rate: hashes of sampled pages, some time apart): a
 * page counts once however often it was written, and not at all where its content is the same again. A program that comes
 * to the same content every second (mg, on some days) would seem to write nothing, so each look takes another time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isAtLeast } from '../../../io/qemu/version.ts';
import { median } from '../../lab/comparison.ts';
import { caseOf } from '../cases.ts';
import { BenchError } from '../errors.ts';
import type { Measure } from '../measures.ts';
import { withSettledGuest } from './settled-guest.ts';
import type { SettledGuest } from './settled-guest.ts';

/** Per GiB of memory; QEMU's maximum. */
const SAMPLED_PAGES = 4096;
/** One sample each; no two of them are multiples of the same period. */
const WINDOWS_MS = [700, 850, 1000, 1150, 1300];
const PAGES_PER_MIB = 256;
const SETTLE_MS = 2000;
const POLL_MS = 50;
const TIMEOUT_MS = 10_000;

export const dirtyRateKey = (caseName: string): string => `dirty rate ${caseName}`;

/** Value `pagesPerS`. */
export function dirtyRateMeasure(caseName: string): Measure {
  return {
    key: dirtyRateKey(caseName),
    case: caseName,
    definition: { case: caseOf(caseName), SAMPLED_PAGES, WINDOWS_MS },
    run: async (tools) =>
      await withSettledGuest(caseName, tools, async (guest) => {
        await sleep(SETTLE_MS, undefined, { signal: tools.signal });
        const rates: number[] = [];
        for (const windowMs of WINDOWS_MS) rates.push(await pagesPerS(guest, windowMs, tools.signal));
        return { pagesPerS: median(rates), samples: rates };
      }),
  };
}

/** Throws QmpError, BenchError BENCH_FAILED. */
async function pagesPerS({ qmp }: SettledGuest, windowMs: number, signal: AbortSignal): Promise<number> {
  // Before QEMU 8.2 a window is of whole seconds.
  const window = isAtLeast(qmp.version, 8, 2)
    ? ({ 'calc-time': windowMs, 'calc-time-unit': 'millisecond' } as const)
    : { 'calc-time': Math.ceil(windowMs / 1000) };
  await qmp.execute('calc-dirty-rate', { ...window, 'sample-pages': SAMPLED_PAGES });
  for (const endMs = performance.now() + TIMEOUT_MS; performance.now() < endMs;) {
    await sleep(POLL_MS, undefined, { signal });
    const { status, 'dirty-rate': rate } = await qmp.execute('query-dirty-rate');
    if (status === 'measured' && rate !== undefined) return rate * PAGES_PER_MIB;
  }
  throw new BenchError('BENCH_FAILED', 'QEMU did not say how fast its guest writes');
}
