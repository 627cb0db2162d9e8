/** What deltas of pages cost: nanoseconds per page to find what changed, and to apply it. */
import { applyDelta, encodeDelta, pageMemory } from '../src/core/wire/page-delta.ts';

const PAGE = 4096;
const PAGES = 4096;
const REPEATS = 20;

/** Bytes changed per page; -1 = all of them. */
const cases: readonly number[] = [0, 8, 64, 1024, -1];

/** Scale 1 is 16 MiB, more than the processor's caches; the test suite runs a small fraction of it. */
export function run(scale: number): void {
  const pages = Math.max(8, Math.round(PAGES * scale));
  const before = pageMemory(new Uint8Array(pages * PAGE));
  for (let i = 0; i < before.words.length; i++) before.words[i] = Math.imul(i + 1, 0x9e37_79b9);
  const out = new Uint8Array(pages * PAGE);
  const ends = new Uint32Array(pages);
  for (const changed of cases) {
    const after = pageMemory(before.bytes.slice());
    for (let page = 0; page < pages; page++) {
      const from = changed < 0 ? 0 : (page * 131) % (PAGE - 1100);
      for (let i = 0; i < (changed < 0 ? PAGE : changed); i++) after.bytes[page * PAGE + from + i]! ^= 0xff;
    }
    const encodeNs = best(pages, () => {
      for (let page = 0, at = 0; page < pages; page++) {
        const end = encodeDelta(before, page * PAGE, after, page * PAGE, out, at);
        if (end >= 0) at = end;
        ends[page] = at;
      }
    });
    const target = before.bytes.slice();
    const hasDelta = ends[pages - 1]! > 0;
    const applyNs = best(pages, () => {
      for (let page = 0, at = 0; page < (hasDelta ? pages : 0); page++) at = applyDelta(out, at, target, page * PAGE);
    });
    const bytes = (ends[pages - 1]! / pages).toFixed(1);
    const what = changed < 0 ? 'all bytes changed' : `${changed} bytes changed`;
    console.log(`delta  ${what}: ${bytes} bytes, ${encodeNs} ns/page to encode, ${applyNs} to apply`);
    if (hasDelta && Buffer.compare(target, after.bytes) !== 0) throw new Error('The deltas led to other pages');
  }
}

/** The best of some repeats, per page. */
function best(pages: number, work: () => void): string {
  let ms = Infinity;
  for (let i = 0; i < REPEATS; i++) {
    const start = performance.now();
    work();
    ms = Math.min(ms, performance.now() - start);
  }
  return ((ms / pages) * 1e6).toFixed(0);
}

if (import.meta.main) run(1);
