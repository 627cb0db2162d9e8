import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PageTable } from '../pages/page-table.ts';
import * as limits from './limits.ts';
import { createMplm } from './mplm.ts';
import { momentOf } from './testing.ts';

/** 100 pages named once, and some of them again. */
function setUp(dirtied: readonly number[] = [], lanes = 1) {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 2048 }], lanes);
  for (let page = 0; page < 100; page++) table.name(page, false);
  for (const page of dirtied) table.name(page, false);
  const strategy = createMplm(table, { intervalMs: 3000 });
  const out = new Uint32Array(64);
  const pick = (lane: number, maxPages: number): number[] => [...out.subarray(0, strategy.pick(lane, maxPages, out))];
  return { table, strategy, pick };
}

const sending = (known: Parameters<typeof momentOf>[0]) => momentOf({ at: 'sending', ...known });

test('epoch 0 sends never-dirtied pages only; later batches are half and half, each by its own cursor', () => {
  const { table, pick } = setUp();
  assert.deepEqual(pick(0, 10), [0, 10]);
  for (const page of [3, 4, 20, 21, 99]) table.name(page, false);
  assert.deepEqual(pick(0, 6), [3, 2, 20, 1, 10, 3], '3 and 3');
  table.name(4, false);
  assert.deepEqual(pick(0, 6), [21, 1, 99, 1, 4, 1, 13, 3], 'the cursors go on from where they were');
  assert.deepEqual(pick(0, 6), [16, 4, 22, 2], 'nothing is dirtied: the whole batch');
});

test('no more dirtied pages are sent than never-dirtied ones, until the guest stops', () => {
  const all = Array.from({ length: 100 }, (_, page) => page);
  const { table, strategy, pick } = setUp(all.slice(2), 2);
  for (let page = 512; page < 600; page++) table.name(page, false);
  assert.deepEqual(pick(0, 8), [0, 2], 'nothing was sent before');
  assert.deepEqual(pick(0, 8), [2, 2], 'this lane is through with its own');
  assert.deepEqual(pick(0, 8), [], 'and has to wait for the other one');
  assert.deepEqual(pick(1, 8), [512, 8]);
  assert.deepEqual(pick(0, 20), [4, 8]);
  strategy.guestStops();
  assert.deepEqual(pick(0, 20), [12, 20]);
});

test('an epoch begins after the interval', () => {
  const { strategy } = setUp();
  assert.equal(strategy.wantsSync(2999, 10_000), null);
  assert.equal(strategy.wantsSync(3000, 10_000), 'round');
});

test('it ends when the never-dirtied pages are sent, whatever the downtime', () => {
  const { strategy } = setUp();
  const few = (10 * limits.STOP_DELAY_MS) / 2;
  assert.equal(strategy.decide(sending({ neverDirtiedPages: few + 1, predictedDowntimeMs: 1 })), null);
  const huge = { neverDirtiedPages: few, predictedDowntimeMs: 1e6 };
  assert.equal(strategy.decide(sending(huge)), 'never-dirtied pages all sent');
});

test('when it gets late, dirtied pages have to wait', () => {
  const { strategy, pick } = setUp([0, 1, 2, 3]);
  assert.deepEqual(pick(0, 2), [4, 2]);
  const neverDirtiedPages = 10_000;
  const neededMs = 2000 + limits.BOUND_STOP_MS;
  assert.equal(strategy.decide(sending({ neverDirtiedPages, boundLeftMs: neededMs - 1 })), null);
  assert.deepEqual(pick(0, 2), [6, 2]);
  assert.equal(strategy.decide(sending({ neverDirtiedPages, boundLeftMs: neededMs })), null);
  assert.deepEqual(pick(0, 2), [0, 1, 8, 1]);
});

test('with an old QEMU the sweep after the first one is the dirtied half', () => {
  const { strategy } = setUp();
  const paced = { feedHold: 'paced', boundLeftMs: 5000 } as const;
  assert.equal(strategy.decide(sending(paced)), null);
  assert.equal(strategy.decide(momentOf({ ...paced, round: 1 })), null);
  assert.equal(strategy.decide(momentOf({ ...paced, round: 2 })), 'never-dirtied pages all sent');
  assert.equal(strategy.decide(sending({ ...paced, boundLeftMs: limits.BOUND_STOP_MS })), 'time bound reached');
});

test('where repeats are cheap every page is sent once before the stop, with a few repeats beside', () => {
  const { table, strategy, pick } = setUp();
  for (let page = 512; page < 2048; page++) table.name(page, false);
  for (let taken = 0; taken < 100; taken += 50) pick(0, 50);
  const written = Array.from({ length: 1000 }, (_, i) => 512 + i);
  for (const page of [...written, 0, 1, 2, 3]) table.name(page, false);
  for (let left = 536; left > 0; left -= 67) pick(0, 2 * 67);
  assert.equal(table.pendingNeverDirtiedPages, 0);
  const stop = (repeatCost: number | null, boundLeftMs = 1e6) =>
    strategy.decide(sending({ repeatCost, boundLeftMs, pagesPerMs: 1 }));
  const unsentPages = table.unsentPendingPages;
  assert.ok(unsentPages > 300, `${unsentPages} written pages were never sent`);
  assert.equal(stop(1), 'never-dirtied pages all sent', 'without deltas they would be sent in vain');
  assert.equal(stop(0.1, unsentPages), 'never-dirtied pages all sent', 'the promise comes first');
  assert.equal(stop(0.1), null);
  for (const page of [40, 41, 42]) table.name(page, false);
  const againBefore = table.takenAgainPages;
  assert.equal(pick(0, 16).length % 2, 0);
  assert.ok(table.takenAgainPages - againBefore <= 2);
  assert.equal(table.unsentPendingPages, unsentPages - 16 + table.takenAgainPages - againBefore);
  while (table.unsentPendingPages > 0) pick(0, 256);
  assert.equal(stop(0.1), 'never-dirtied pages all sent');
});
