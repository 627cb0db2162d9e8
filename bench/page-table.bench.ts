/**
 * What the page table costs per page: naming, in order as every sweep of a feed does it, and at random, which is the worst that
 * memory can do to it; and taking. Budget: 100 ns per named page.
 */
import { PageTable } from '../src/core/pages/page-table.ts';
import type { PageGroup } from '../src/core/pages/pending-pages.ts';

const PAGES_FULL = 8 * 1024 * 1024; // 32 GiB

/** Scale 1 is a guest of 32 GiB; the test suite runs a small fraction of it. */
export function run(scale: number): void {
  const pageCount = Math.max(4096, Math.round(PAGES_FULL * scale));
  const table = new PageTable([{ name: 'pc.ram', pageCount }], 4);
  const out = new Uint32Array(512);
  const take = (group: PageGroup = 'all'): number => {
    let runs = 0;
    for (let lane = 0; lane < table.lanes; lane++) {
      for (let cursor = 0; ;) {
        const count = table.takeRuns(lane, cursor, 256, out, group);
        if (count === 0) break;
        cursor = out[count - 2]! + out[count - 1]!;
        runs += count / 2;
      }
    }
    return runs;
  };
  let checksum = 0;
  report('name, first sweep, every 4th zero', pageCount, () => {
    for (let page = 0; page < pageCount; page++) table.name(page, (page & 3) === 0);
    checksum += table.pendingPages;
  });
  report('take, whole memory', table.pendingPages, () => (checksum += take()));
  report('name again, every 2nd page in order', pageCount >>> 1, () => {
    for (let page = 0; page < pageCount; page += 2) table.name(page, false);
    checksum += table.pendingPages;
  });
  checksum += take();
  const namings = pageCount >>> 1;
  report('name again, at random', namings, () => {
    for (let i = 0, page = 1; i < namings; i++) {
      page = (Math.imul(page, 1664525) + 1013904223) >>> 0;
      table.name(page % pageCount, false);
    }
    checksum += table.pendingPages;
  });
  report('take, scattered', table.pendingPages, () => (checksum += take()));
  for (let i = 0, page = 1; i < namings; i++) {
    page = (Math.imul(page, 1664525) + 1013904223) >>> 0;
    table.name(page % pageCount, false);
  }
  const ofGroup = table.pendingPages;
  report('take, scattered, of one group', ofGroup, () => (checksum += take('dirtied') + take('neverDirtied')));
  checksum += nameWithReports(pageCount);
  console.log(`page-table  checksum ${checksum} ${table.takenPages} ${table.takenAgainPages}`);
}

/** As a migration with pruning does: nothing is decided at the first naming, and half of memory is free in the end. */
function nameWithReports(pageCount: number): number {
  const table = new PageTable([{ name: 'pc.ram', pageCount }], 4);
  const half = new Uint32Array(pageCount / 32).fill(0x5555_5555);
  table.closeAll();
  report('name, first sweep, before the guest has answered', pageCount, () => {
    for (let page = 0; page < pageCount; page++) table.name(page, (page & 3) === 0);
  });
  report('apply the answer', pageCount, () => {
    table.beginReport(0, pageCount);
    table.applyReport(0, pageCount, half, true);
  });
  report('name again, every 2nd page in order, half of them left out', pageCount >>> 1, () => {
    for (let page = 0; page < pageCount; page += 2) table.name(page, false);
  });
  return table.pendingPages;
}

function report(what: string, pages: number, work: () => void): void {
  const startMs = performance.now();
  work();
  const ns = ((performance.now() - startMs) * 1e6) / pages;
  console.log(`page-table  ${what}: ${ns.toFixed(1)} ns/page over ${pages} pages`);
}

if (import.meta.main) run(1);
