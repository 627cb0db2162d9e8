import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PageTable } from '../pages/page-table.ts';
import * as limits from './limits.ts';
import { Pruning } from './pruning.ts';

const ALL = new Uint32Array(16).fill(0xffff_ffff);
const NONE = new Uint32Array(16);

function setUp(isPaced = false) {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 1024 }], 1);
  const pruning = new Pruning(table, { isOn: true, isPaced, reportPages: 512 });
  for (let page = 0; page < 1024; page++) table.name(page, false);
  return { table, pruning };
}

test('lanes get nothing before the guest has answered, and then what it needs', () => {
  const { table, pruning } = setUp();
  assert.deepEqual([table.pendingPages, table.sparedPages, pruning.mayStop], [0, 1024, false]);
  pruning.contact();
  pruning.ready(true, 10);
  const order = { type: 'report', firstPage: 0, pages: 512, isProof: true, isLast: false };
  assert.deepEqual(pruning.nextOrder(511, 11), order);
  assert.equal(pruning.nextOrder(511, 11), null, 'the sweep has not passed the rest');
  pruning.answered(0, NONE, 20);
  assert.deepEqual([table.pendingPages, table.sparedPages], [512, 512]);
  assert.deepEqual(pruning.nextOrder(Infinity, 21), { ...order, firstPage: 512, isLast: true });
  table.name(600, false);
  pruning.answered(512, ALL, 30);
  assert.deepEqual(
    [table.pendingPages, table.sparedPages],
    [513, 511],
    'what was written after the question is needed',
  );
  assert.ok(pruning.mayStop);
});

test('an agent that does not answer is not waited for', () => {
  const { table, pruning } = setUp();
  pruning.tick(0, 100);
  pruning.tick(0, 99 + limits.AGENT_CONTACT_MS);
  assert.equal(table.pendingPages, 0);
  pruning.tick(0, 100 + limits.AGENT_CONTACT_MS);
  assert.deepEqual([table.pendingPages, pruning.mayStop], [1024, true]);
  pruning.ready(true, 5000);
  assert.equal(pruning.mayStop, false, 'late is better than never');
  assert.equal(pruning.nextOrder(Infinity, 5000)?.type, 'report');
});

test('an agent that falls silent after its first word is waited for a little longer, then given up', () => {
  const { table, pruning } = setUp();
  pruning.tick(0, 0);
  pruning.contact();
  pruning.tick(0, limits.AGENT_READY_MS - 1);
  assert.equal(table.pendingPages, 0);
  pruning.ready(true, limits.AGENT_READY_MS - 1);
  assert.equal(pruning.nextOrder(Infinity, 5000)?.type, 'report');
  pruning.fail();
  assert.deepEqual([table.pendingPages, table.sparedPages, pruning.mayStop], [1024, 0, true]);
  pruning.answered(0, ALL, 6000);
  assert.equal(table.sparedPages, 0, 'an answer that nobody waits for any more');
});

test('cache that is not dropped yet has to be proven free in a last pass', () => {
  const { table, pruning } = setUp();
  pruning.ready(false, 0);
  for (const firstPage of [0, 512]) {
    assert.deepEqual(pruning.nextOrder(Infinity, 1), {
      type: 'report',
      firstPage,
      pages: 512,
      isProof: false,
      isLast: firstPage === 512,
    });
    pruning.answered(firstPage, ALL, 2);
  }
  assert.deepEqual([pruning.mayStop, pruning.needsFinal, table.sparedPages], [false, true, 1024]);
  pruning.wantFinal();
  assert.deepEqual(pruning.nextOrder(Infinity, 3), { type: 'drop' });
  assert.equal(pruning.nextOrder(Infinity, 3), null);
  pruning.dropped(4);
  for (const firstPage of [0, 512]) {
    assert.equal(pruning.nextOrder(Infinity, 5)?.type, 'report');
    pruning.answered(firstPage, firstPage === 0 ? ALL : NONE, 6);
  }
  assert.deepEqual([pruning.mayStop, table.sparedPages, table.pendingPages], [true, 512, 512]);
});

test('a guest that stops without proof has everything sent that was left out on trust', () => {
  const { table, pruning } = setUp();
  pruning.ready(false, 0);
  pruning.nextOrder(Infinity, 1);
  pruning.answered(0, ALL, 2);
  pruning.guestStopped();
  assert.deepEqual([table.sparedPages, table.pendingPages], [0, 1024]);
});

test('a paced feed is held before the end of its first sweep, until the last answer', () => {
  const { pruning } = setUp(true);
  assert.ok(!pruning.holdsFeed(511));
  assert.ok(pruning.holdsFeed(512));
  pruning.ready(true, 0);
  for (const firstPage of [0, 512]) {
    assert.equal(pruning.nextOrder(600, 1)?.type, 'report');
    pruning.answered(firstPage, ALL, 2);
  }
  assert.ok(!pruning.holdsFeed(600));
});

test('a long pre-copy asks again, but spends little of its time with it', () => {
  const { pruning } = setUp();
  pruning.ready(true, 0);
  for (const firstPage of [0, 512]) {
    pruning.nextOrder(Infinity, 0);
    pruning.answered(firstPage, ALL, 1000);
  }
  pruning.refresh(20_000, 9_999);
  assert.ok(pruning.mayStop, 'the pass took 1 s: not before 10 s');
  pruning.refresh(1000, 10_000);
  assert.ok(pruning.mayStop, 'too little left to be worth it');
  pruning.refresh(20_000, 10_000);
  assert.ok(!pruning.mayStop);
});

/** Four ranges of 1024 pages: one chunk with content in the first, none in the others but for a few pages. */
function mostlyZero() {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 4096 }], 1);
  const pruning = new Pruning(table, { isOn: true, isPaced: false, reportPages: 1024 });
  const isData = (page: number): boolean =>
    (page >= 512 && page < 1024) || page % 512 < (page < 2048 ? 0 : limits.UNASKED_PAGES_MAX);
  for (let page = 0; page < 4096; page++) table.name(page, !isData(page));
  pruning.ready(true, 0);
  return { table, pruning };
}

test('where the sweep found little but zero pages the guest is not asked, and the few others are sent', () => {
  const { table, pruning } = mostlyZero();
  const first = pruning.nextOrder(Infinity, 1);
  assert.deepEqual(first, { type: 'report', firstPage: 512, pages: 512, isProof: true, isLast: false });
  const last = pruning.nextOrder(Infinity, 1);
  assert.deepEqual(
    last,
    { type: 'report', firstPage: 3072, pages: 1024, isProof: true, isLast: true },
    'it ends the pass',
  );
  assert.equal(table.pendingPages, 2 * limits.UNASKED_PAGES_MAX, 'of the range between them');
  pruning.answered(512, ALL, 2);
  assert.ok(!pruning.mayStop);
  pruning.answered(3072, new Uint32Array(32), 3);
  assert.ok(pruning.mayStop);
  assert.deepEqual([table.pendingPages, table.sparedPages], [4 * limits.UNASKED_PAGES_MAX, 512]);
});

test('what the guest was not asked about is not asked about before the sweep has passed it', () => {
  const { pruning } = mostlyZero();
  assert.equal(pruning.nextOrder(1022, 1), null);
  assert.equal(pruning.nextOrder(1500, 1)?.type, 'report');
  assert.equal(pruning.nextOrder(3000, 1), null);
});

test('a later pass asks about all of memory', () => {
  const { pruning } = mostlyZero();
  for (const firstPage of [512, 3072]) {
    pruning.nextOrder(Infinity, 1);
    pruning.answered(firstPage, new Uint32Array(32), 10);
  }
  pruning.refresh(20_000, 60_000);
  assert.deepEqual(pruning.nextOrder(Infinity, 60_000), {
    ...{ type: 'report', firstPage: 0, pages: 1024, isProof: true, isLast: false },
  });
});
