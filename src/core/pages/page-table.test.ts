import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { PagesError } from './errors.ts';
import type { PageBlock } from './block-layout.ts';
import { PageTable } from './page-table.ts';
import type { PageGroup } from './pending-pages.ts';
import { PageTableModel } from './page-table.model.ts';

const takeAll = (
  table: PageTable,
  lane: number,
  cursor: number,
  maxPages: number,
  group: PageGroup = 'all',
): [number, number][] => {
  const out = new Uint32Array(2 * maxPages);
  const count = table.takeRuns(lane, cursor, maxPages, out, group);
  return Array.from({ length: count / 2 }, (_, i) => [out[2 * i]!, out[2 * i + 1]!]);
};

test('every block begins at a chunk, in list order', () => {
  const table = new PageTable(
    [
      { name: 'pc.ram', pageCount: 1000 },
      { name: 'pc.bios', pageCount: 64 },
      { name: 'pc.rom', pageCount: 0 },
      { name: 'vga', pageCount: 512 },
    ],
    2,
  );
  assert.deepEqual(
    table.blocks.map((block) => block.firstPage),
    [0, 1024, 1536, 1536],
  );
  assert.equal(table.spanPages, 2048);
  assert.equal(table.totalPages, 1576);
});

test('a page outside its block is refused', () => {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 1000 }], 1);
  assert.equal(table.globalPage(0, 999), 999);
  for (const page of [1000, -1, NaN, 2 ** 40]) assert.throws(() => table.globalPage(0, page), PagesError);
  assert.throws(() => table.globalPage(1, 0), PagesError);
  assert.throws(() => table.blockNamed('nothing'), { code: 'PAGES_UNKNOWN_BLOCK' });
  assert.throws(() => new PageTable([{ name: 'huge', pageCount: 2 ** 31 }], 1), { code: 'PAGES_TOO_MANY' });
});

test('a zero page needs nothing until content was sent', () => {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 512 }], 1);
  assert.equal(table.name(7, true), false);
  assert.equal(table.skippedZeroPages, 1);
  assert.equal(table.name(7, false), true);
  assert.equal(table.skippedZeroPages, 0);
  assert.deepEqual(takeAll(table, 0, 0, 10), [[7, 1]]);
  assert.equal(table.name(7, true), true, 'the destination holds content that is stale now');
  assert.equal(table.dirtyCount(7), 2);
});

test('a zero page of a block that does not start as zero is sent', () => {
  const table = new PageTable([{ name: 'flash', pageCount: 512, startsZero: false }], 1);
  assert.equal(table.name(7, true), true);
});

test('a page of a side block is counted and never pending', () => {
  const table = new PageTable([{ name: '/rom@etc/acpi/tables', pageCount: 32, side: true }], 2);
  assert.equal(table.name(3, false), false);
  assert.deepEqual([table.namedPages, table.pendingPages, table.skippedZeroPages], [1, 0, 0]);
});

test('runs end at chunks and at the most pages asked for', () => {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 2048 }], 2);
  for (let page = 500; page < 1600; page++) table.name(page, false);
  assert.deepEqual(takeAll(table, 0, 0, 5), [[500, 5]]);
  assert.deepEqual(takeAll(table, 0, 505, 1000), [
    [505, 7],
    [1024, 512],
  ]);
  assert.deepEqual(takeAll(table, 1, 1600, 1000), [
    [512, 512],
    [1536, 64],
  ]);
  assert.equal(table.pendingPages, 0);
  table.checkInvariants();
});

test('a page that is written again is withheld until it has been quiet, and calm chunks go first', () => {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 1024 }], 1);
  table.withholdFrom(1);
  for (const page of [5, 6, 700]) table.name(page, false);
  table.name(6, false);
  assert.deepEqual([table.pendingPages, table.withheldPages], [2, 1]);
  const out = new Uint32Array(64);
  assert.equal(table.takeRuns(0, 0, 100, out, 'calm'), 2);
  assert.deepEqual([...out.subarray(0, 2)], [700, 1]);
  assert.deepEqual(takeAll(table, 0, 0, 100), [[5, 1]]);
  assert.equal(table.coolWithheld(1, 8), 0, 'the sweep that named it is no quiet one');
  table.name(6, false);
  for (let sweep = 0; sweep < 2; sweep++) assert.equal(table.coolWithheld(1, 8), 0);
  assert.deepEqual([...table.leftRuns()], [6, 1]);
  assert.equal(table.coolWithheld(1, 8), 1);
  assert.deepEqual([table.pendingPages, table.withheldPages], [1, 0]);
  table.checkInvariants();
});

test('the cursor goes round memory', () => {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 512 }], 1);
  for (const page of [10, 20, 30]) table.name(page, false);
  assert.deepEqual(takeAll(table, 0, 20, 10), [
    [20, 1],
    [30, 1],
    [10, 1],
  ]);
});

test('a page that is named again changes its group, sent or not', () => {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 512 }], 1);
  for (const page of [1, 2, 3, 4]) table.name(page, false);
  table.name(3, false);
  assert.deepEqual([table.pendingNeverDirtiedPages, table.pendingPagesOfLane(0, 'dirtied')], [3, 1]);
  assert.deepEqual(takeAll(table, 0, 0, 10, 'neverDirtied'), [
    [1, 2],
    [4, 1],
  ]);
  assert.deepEqual(takeAll(table, 0, 0, 10, 'neverDirtied'), []);
  table.name(1, false);
  const out = new Uint32Array(8).fill(9);
  assert.equal(table.takeRuns(0, 0, 10, out, 'dirtied', 2), 6, 'behind what is there already');
  assert.deepEqual([...out.subarray(0, 6)], [9, 9, 1, 1, 3, 1]);
  table.checkInvariants();
});

type Action =
  | { type: 'cool'; sweepsMin: number; sweepsMax: number }
  | { type: 'release' }
  | { type: 'foresee' }
  | { type: 'nearer' }
  | { type: 'name'; at: number; span: number; isZero: boolean }
  | { type: 'report'; step: 'close' | 'begin' | 'apply' | 'settle' | 'zero'; at: number; isProof: boolean }
  | { type: 'take'; lane: number; cursor: number; maxPages: number; group: PageGroup };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    arbitrary: fc.record({
      type: fc.constant('name' as const),
      at: fc.nat(),
      span: fc.oneof(fc.integer({ min: 1, max: 80 }), fc.integer({ min: 300, max: 700 })),
      isZero: fc.boolean(),
    }),
    weight: 3,
  },
  {
    arbitrary: fc.record({
      type: fc.constant('take' as const),
      lane: fc.nat(7),
      cursor: fc.nat(5000),
      maxPages: fc.integer({ min: 1, max: 300 }),
      group: fc.constantFrom<PageGroup>('all', 'neverDirtied', 'dirtied', 'undisturbed', 'calm', 'unsent', 'repeats'),
    }),
    weight: 2,
  },
  {
    arbitrary: fc.record({
      type: fc.constant('report' as const),
      step: fc.constantFrom('close' as const, 'begin', 'begin', 'apply', 'apply', 'settle', 'zero'),
      at: fc.nat(),
      isProof: fc.boolean(),
    }),
    weight: 2,
  },
  {
    arbitrary: fc.record({
      type: fc.constant('cool' as const),
      sweepsMin: fc.nat(3),
      sweepsMax: fc.integer({ min: 1, max: 5 }),
    }),
    weight: 2,
  },
  { arbitrary: fc.constant({ type: 'release' as const }), weight: 1 },
  { arbitrary: fc.constant({ type: 'foresee' as const }), weight: 2 },
  { arbitrary: fc.constant({ type: 'nearer' as const }), weight: 1 },
);

/** The pages of a report: one block, or its first chunk. */
function reportStep(table: PageTable, model: PageTableModel, step: Action & { type: 'report' }): void {
  const { at, isProof } = step;
  const block = table.blocks[at % table.blocks.length]!;
  const pages = at % 2 === 0 ? block.pageCount : Math.min(512, block.pageCount);
  if (step.step === 'close') {
    table.closeAll();
    model.closeAll();
  } else if (step.step === 'settle') {
    table.settle();
    model.settle();
  } else if (step.step === 'zero') {
    const lane = at % table.lanes;
    const out = new Uint32Array(10_000);
    const count = table.takeZeroRuns(lane, out);
    const runs = Array.from({ length: count / 2 }, (_, i) => [out[2 * i]!, out[2 * i + 1]!] as const);
    const singles = runs.flatMap(([first, length]) => Array.from({ length }, (_, i) => first + i));
    assert.deepEqual(singles, model.takeZeros(lane));
  } else if (table.canSpare(block)) {
    const isUnneeded = (page: number): boolean => (page * 7 + at) % 3 !== 0;
    const bits = new Uint32Array(Math.ceil(pages / 32));
    for (let n = 0; n < pages; n++) if (isUnneeded(block.firstPage + n)) bits[n >>> 5]! |= 1 << (n & 31);
    for (const one of [table, model]) if (step.step === 'begin') one.beginReport(block.firstPage, pages);
    if (step.step === 'begin') return;
    table.applyReport(block.firstPage, pages, bits, isProof);
    model.applyReport(block.firstPage, pages, isUnneeded, isProof);
  }
}

const blocks: fc.Arbitrary<PageBlock[]> = fc
  .array(fc.record({ pageCount: fc.integer({ min: 1, max: 1200 }), side: fc.boolean(), startsZero: fc.boolean() }), {
    minLength: 1,
    maxLength: 4,
  })
  .map((list) => list.map((block, i) => ({ ...block, side: block.side && i > 0, name: `b${i}` })));

type Shape = { readonly lanes: number; readonly hotFrom: number };

function singlesOf(runs: Uint32Array): number[] {
  const singles: number[] = [];
  for (let at = 0; at < runs.length; at += 2) {
    for (let i = 0; i < runs[at + 1]!; i++) singles.push(runs[at]! + i);
  }
  return singles;
}

function runAgainstModel(list: PageBlock[], { lanes, hotFrom }: Shape, actions: Action[]): void {
  const table = new PageTable(list, lanes);
  const model = new PageTableModel(list, lanes);
  table.withholdFrom(hotFrom);
  model.hotFrom = hotFrom;
  const pages = table.blocks.flatMap((block) => Array.from({ length: block.pageCount }, (_, i) => block.firstPage + i));
  for (const step of actions) {
    if (step.type === 'name') {
      const from = step.at % pages.length;
      for (const page of pages.slice(from, from + step.span)) {
        assert.equal(table.name(page, step.isZero), model.name(page, step.isZero));
      }
    } else if (step.type === 'report') {
      reportStep(table, model, step);
    } else if (step.type === 'cool') {
      table.coolWithheld(step.sweepsMin, step.sweepsMax);
      model.cool(step.sweepsMin, step.sweepsMax);
    } else if (step.type === 'release') {
      table.releaseWithheld();
      model.release();
    } else if (step.type === 'foresee' || step.type === 'nearer') {
      if (step.type === 'foresee') table.foreseeWrites();
      else table.drawNearer();
      model.ahead.clear();
      for (const page of pages) if (table.isExpectingWrites(page)) model.ahead.add(page >>> 9);
    } else {
      const lane = step.lane % lanes;
      const cursor = step.cursor % table.spanPages;
      const runs = takeAll(table, lane, cursor, step.maxPages, step.group);
      for (const [first, count] of runs)
        assert.equal(first >>> 9, (first + count - 1) >>> 9, 'a run stays in its chunk');
      const singles = runs.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i));
      assert.deepEqual(singles, model.take(lane, cursor, step.maxPages, step.group));
    }
    assert.equal(table.pendingPages, model.pending.size);
    assert.equal(table.sparedPages, model.spared.size);
    assert.equal(table.stalePages, model.stale.size);
    assert.equal(table.withheldPages, model.withheld.size);
  }
  assert.deepEqual(singlesOf(table.leftRuns()), model.left());
  table.checkInvariants();
  assert.equal(table.skippedZeroPages, model.skippedZeroPages);
  assert.equal(table.takenAgainPages, model.takenAgainPages);
  for (let lane = 0; lane < lanes; lane++) {
    for (const group of ['all', 'neverDirtied', 'dirtied'] as const) {
      assert.equal(table.pendingPagesOfLane(lane, group), model.pendingOf(lane, group).length);
    }
  }
  for (const [page, namings] of model.namings) assert.equal(table.dirtyCount(page), Math.min(255, namings - 1));
}

test('the table does what its slow twin does', () => {
  const shape = fc.record({ lanes: fc.integer({ min: 1, max: 5 }), hotFrom: fc.constantFrom(0, 1, 2) });
  const schedule = fc.tuple(blocks, shape, fc.array(action, { maxLength: 40 }));
  fc.assert(
    fc.property(schedule, ([list, shape, actions]) => runAgainstModel(list, shape, actions)),
    { numRuns: 400 },
  );
});

test('pages that were named most often are looked at again', () => {
  const table = new PageTable([{ name: 'ram', pageCount: 64 }], 1);
  const out = new Uint32Array(128);
  for (let page = 0; page < 64; page++) for (let n = 0; n <= page >>> 3; n++) table.name(page, false);
  table.takeRuns(0, 0, 64, out);
  table.name(63, false);
  assert.equal(table.recheckHottest(0), 0);
  // 56 to 62 were named again seven times, 63 waits; of the eight pages named six times three are enough.
  assert.equal(table.recheckHottest(10), 10);
  table.checkInvariants();
  const pending = Array.from({ length: 64 }, (_, page) => page).filter((page) => table.isPending(page));
  assert.deepEqual(pending, [48, 49, 50, ...Array.from({ length: 8 }, (_, i) => 56 + i)]);
  assert.equal(table.recheckHottest(1000), 64 - 8 - pending.length, 'all but those that were named once');
  table.checkInvariants();
});
