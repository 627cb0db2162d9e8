import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PageTable } from '../pages/page-table.ts';
import { createDsm } from './dsm.ts';
import { createPostcopy } from './postcopy.ts';
import type { Moment, Strategy } from './strategy.ts';
import { momentOf } from './testing.ts';

const PAGES = 512 * 1024;
const out = new Uint32Array(1024);

const moment = (at: Moment['at'], round: number): Moment =>
  momentOf({ at, round, leftPages: 1, predictedDowntimeMs: 1 });

type Case = { readonly table: PageTable; readonly strategy: Strategy };

/** A sweep that names these pages, and a round that sends all that is pending. */
function sweepAndSend({ table, strategy }: Case, from: number, count: number, round: number): void {
  for (let page = from; page < from + count; page++) table.name(page, false);
  assert.equal(strategy.decide(moment('sweepEnd', round)), null);
  while (strategy.pick(0, 512, out) > 0);
  assert.equal(table.pendingPages, 0);
}

function setUp(maxRounds = 30): Case {
  const table = new PageTable([{ name: 'pc.ram', pageCount: PAGES }], 1);
  return { table, strategy: createDsm(table, { maxRounds }) };
}

test('a guest that writes nothing is consistent once everything was sent', () => {
  const { table, strategy } = setUp();
  sweepAndSend({ table, strategy }, 0, PAGES, 1);
  sweepAndSend({ table, strategy }, 0, 0, 1);
  assert.equal(strategy.decide(moment('roundEnd', 1)), 'consistent but for the hot pages');
});

test('a guest that writes to the same pages again and again keeps them; the image is consistent but for them', () => {
  const { table, strategy } = setUp();
  sweepAndSend({ table, strategy }, 0, PAGES, 1);
  for (let sweep = 0; sweep < 5; sweep++) sweepAndSend({ table, strategy }, 1000, 4000, 1);
  assert.equal(table.withheldPages, 4000);
  assert.equal(strategy.decide(moment('roundEnd', 1)), 'consistent but for the hot pages');
});

test('few new dirty pages end the pre-copy', () => {
  const { table, strategy } = setUp();
  sweepAndSend({ table, strategy }, 0, PAGES, 1);
  sweepAndSend({ table, strategy }, 0, 1500, 1);
  assert.equal(strategy.decide(moment('roundEnd', 1)), 'few new dirty pages');
});

test('a guest that writes ever new pages is stopped by the bound on iterations', () => {
  const { table, strategy } = setUp();
  sweepAndSend({ table, strategy }, 0, PAGES, 1);
  sweepAndSend({ table, strategy }, 0, 30_000, 1);
  assert.equal(strategy.decide(moment('approach', 1)), null);
  assert.equal(strategy.decide(moment('roundEnd', 1)), null);
  sweepAndSend({ table, strategy }, 40_000, 30_000, 2);
  assert.equal(strategy.decide(moment('roundEnd', 2)), 'iterations reached their bound');
  assert.equal(table.withheldPages, 60_000, 'what was written once is not sent again at once');
});

test('--max-rounds bounds the iterations further', () => {
  const { table, strategy } = setUp(1);
  sweepAndSend({ table, strategy }, 0, PAGES, 1);
  sweepAndSend({ table, strategy }, 0, 30_000, 1);
  assert.equal(strategy.decide(moment('roundEnd', 1)), 'iterations reached their bound');
});

test('post-copy stops the guest at the end of the first sweep, whatever is pending', () => {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 512 }], 1);
  const strategy = createPostcopy(table);
  for (let page = 0; page < 512; page++) table.name(page, false);
  assert.equal(strategy.decide(moment('sweepEnd', 1)), 'first sweep ended');
});
