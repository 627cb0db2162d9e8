/**
 * How many pages a guest writes to in a second, by QEMU's own measure (calc-dirty-rate: hashes of sampled pages, a second apart): a
 * page counts once however often it was written, and not at all where its content is the same again. For that reason some
 * kernels seem to write nothing in their first seconds (mg puts zeros where zeros are), and are given time first.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { median } from '../../lab/comparison.ts';
import { caseOf } from '../cases.ts';
import { BenchError } from '../errors.ts';
import type { Measure } from '../measures.ts';
import { withSettledGuest } from './settled-guest.ts';
import type { SettledGuest } from './settled-guest.ts';

/** Per GiB of memory; QEMU's maximum. */
const SAMPLED_PAGES = 4096;
const SAMPLES = 9;
const PAGES_PER_MIB = 256;
const SETTLE_MS = 6000;
const POLL_MS = 50;
const TIMEOUT_MS = 10_000;

export const dirtyRateKey = (caseName: string): string => `dirty rate ${caseName}`;

/** Value `pagesPerS`. */
export function dirtyRateMeasure(caseName: string): Measure {
  return {
    key: dirtyRateKey(caseName),
    case: caseName,
    definition: { case: caseOf(caseName), SAMPLED_PAGES, SAMPLES, SETTLE_MS },
    run: async (tools) =>
      await withSettledGuest(caseName, tools, async (guest) => {
        await sleep(SETTLE_MS, undefined, { signal: tools.signal });
        const rates: number[] = [];
        while (rates.length < SAMPLES) rates.push(await pagesPerS(guest, tools.signal));
        return { pagesPerS: median(rates), samples: rates };
      }),
  };
}

/** Throws QmpError, BenchError BENCH_FAILED. */
async function pagesPerS({ qmp }: SettledGuest, signal: AbortSignal): Promise<number> {
  await qmp.execute('calc-dirty-rate', { 'calc-time': 1, 'sample-pages': SAMPLED_PAGES });
  for (const endMs = performance.now() + TIMEOUT_MS; performance.now() < endMs;) {
    await sleep(POLL_MS, undefined, { signal });
    const { status, 'dirty-rate': rate } = await qmp.execute('query-dirty-rate');
    if (status === 'measured' && rate !== undefined) return rate * PAGES_PER_MIB;
  }
  throw new BenchError('BENCH_FAILED', 'QEMU did not say how fast its guest writes');
}
