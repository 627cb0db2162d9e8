import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PageTable } from '../pages/page-table.ts';
import { createPrecopy } from './precopy.ts';
import * as limits from './limits.ts';
import type { SchedulerOptions } from './scheduler-types.ts';
import { Scheduler } from './scheduler.ts';

function setUp(options: Partial<SchedulerOptions> = {}): { table: PageTable; scheduler: Scheduler; out: Uint32Array } {
  const table = new PageTable([{ name: 'pc.ram', pageCount: 2048 }], 2);
  const scheduler = new Scheduler({
    table,
    strategy: createPrecopy(table, { downtimeTargetMs: 300, maxRounds: 30 }),
    feedHold: 'strict',
    downtimeTargetMs: 300,
    maxBandwidthBytesPerSecond: null,
    batchPages: 256,
    prune: false,
    pull: false,
    nowMs: 0,
    ...options,
  });
  return { table, scheduler, out: new Uint32Array(512) };
}

const sent = (id: number, dataPages: number) => ({ id, dataPages, zeroPages: 0, wireBytes: dataPages * 4096 });

/** Sends and acknowledges everything that is pending. */
function drain(scheduler: Scheduler, out: Uint32Array, nextIds: number[], nowMs: number): void {
  for (const lane of nextIds.keys()) {
    for (let count = scheduler.nextBatch(lane, nowMs, out); count > 0; count = scheduler.nextBatch(lane, nowMs, out)) {
      let pages = 0;
      for (let at = 1; at < count; at += 2) pages += out[at]!;
      scheduler.batchSent(lane, sent(nextIds[lane]!, pages), nowMs);
      scheduler.batchAcked(lane, nextIds[lane]!++, nowMs);
    }
  }
}

test('the first sweep is read to its end, then the feed is held until all is sent', () => {
  const { scheduler, out } = setUp();
  for (let page = 0; page < 2048; page++) scheduler.pageNamed(0, page, false);
  assert.equal(scheduler.tick(5).feed, 'read');
  scheduler.pageNamed(0, 3, false);
  assert.equal(scheduler.tick(6).feed, 'hold', 'a lower page: the sweep wrapped');
  drain(scheduler, out, [0, 0], 7);
  assert.deepEqual(scheduler.tick(8), { feed: 'read', switchover: null, drained: false });
});

test('records that waited in the socket do not make a sweep', () => {
  const { scheduler } = setUp();
  scheduler.pageNamed(0, 0, false);
  scheduler.partEnded(0, 1);
  assert.equal(scheduler.tick(1).feed, 'hold');
  drain(scheduler, new Uint32Array(512), [0, 0], 2);
  assert.equal(scheduler.tick(2).feed, 'read');
  for (let i = 0; i < limits.STALE_RECORDS - 1; i++) scheduler.partEnded(0, 3);
  assert.deepEqual(
    scheduler.tick(3),
    { feed: 'read', switchover: null, drained: false },
    'empty PARTs from before the release say nothing',
  );
  scheduler.partEnded(0, 4);
  assert.equal(scheduler.tick(4).switchover, 'downtime target met', 'an empty PART from after it');
});

test('a lane has two batches in flight before anything is measured', () => {
  const { scheduler, out } = setUp();
  for (let page = 0; page < 2048; page++) scheduler.pageNamed(0, page, false);
  assert.deepEqual(
    [0, 0, 0].map(() => scheduler.nextBatch(0, 1, out) > 0),
    [true, true, false],
  );
  assert.ok(scheduler.nextBatch(1, 1, out) > 0, 'the other lane has its own');
  scheduler.batchSent(0, sent(0, limits.BATCH_PAGES_FIRST), 2);
  assert.equal(scheduler.nextBatch(0, 2, out), 0, 'sent is not yet placed');
  scheduler.batchAcked(0, 0, 3);
  assert.ok(scheduler.nextBatch(0, 3, out) > 0);
});

test('drained waits for the end of the feed and the last acknowledgement', () => {
  const { scheduler, out } = setUp();
  scheduler.pageNamed(0, 0, false);
  scheduler.vcpusStopped(1);
  assert.equal(scheduler.nextBatch(0, 1, out), 2);
  assert.deepEqual([...out.subarray(0, 2)], [0, 1]);
  scheduler.batchSent(0, sent(0, 1), 2);
  scheduler.feedEnded(3);
  assert.equal(scheduler.tick(3).drained, false);
  scheduler.batchAcked(0, 0, 4);
  const { drained, feed, switchover } = scheduler.tick(4);
  assert.deepEqual({ drained, feed, switchover }, { drained: true, feed: 'read', switchover: null });
  assert.equal(scheduler.snapshot(5).switchover?.reason, 'QEMU stopped the guest by itself');
  assert.throws(() => scheduler.pageNamed(0, 1, false), /after the end of the feed/);
});

test('a page outside its block is the fault of the stream', () => {
  const { scheduler } = setUp();
  assert.throws(() => scheduler.pageNamed(0, 2048, false), { code: 'PAGES_OUT_OF_RANGE' });
  assert.throws(() => scheduler.pageNamed(1, 0, false), { code: 'PAGES_UNKNOWN_BLOCK' });
});

test('a page sent twice counts as resent, a page that turned out zero as zero', () => {
  const { scheduler, out } = setUp();
  for (const [id, dataPages] of [
    [0, 1],
    [1, 1],
  ] as const) {
    scheduler.pageNamed(0, 7, false);
    assert.equal(scheduler.nextBatch(0, 1, out), 2);
    scheduler.batchSent(0, sent(id, dataPages), 1);
  }
  scheduler.pageNamed(0, 8, true);
  scheduler.pageNamed(0, 512, false);
  assert.equal(scheduler.nextBatch(1, 1, out), 2);
  scheduler.batchSent(1, { id: 0, dataPages: 0, zeroPages: 1, wireBytes: 20 }, 1);
  const { pages } = scheduler.snapshot(2);
  assert.deepEqual([pages.sent, pages.resent, pages.zero, pages.total], [2, 1, 2, 2048]);
});

test('a paced feed is held while the backlog exceeds the budget', () => {
  const { scheduler, out } = setUp({ feedHold: 'paced', downtimeTargetMs: 10 });
  const nextIds = [0, 0];
  for (let page = 0; page < 2048; page++) scheduler.pageNamed(0, page, false);
  assert.equal(scheduler.tick(1).feed, 'hold');
  drain(scheduler, out, nextIds, 2);
  assert.equal(scheduler.tick(2).feed, 'read');
});

test('a stopped guest is never kept waiting by the feed', () => {
  const { scheduler } = setUp({ feedHold: 'paced', downtimeTargetMs: 10 });
  for (let page = 0; page < 2048; page++) scheduler.pageNamed(0, page, false);
  assert.equal(scheduler.tick(1).feed, 'hold');
  scheduler.vcpusStopped(2);
  assert.equal(scheduler.tick(2).feed, 'read', 'QEMU holds its lock while it writes');
});

test('the bandwidth cap counts what was sent, not what was expected', () => {
  const { scheduler, out } = setUp({ maxBandwidthBytesPerSecond: 1e6 });
  for (let page = 0; page < 2048; page++) scheduler.pageNamed(0, page, false);
  const isGranted = (lane: number): boolean => scheduler.nextBatch(lane, 0, out) > 0;
  while (isGranted(0) || isGranted(1));
  assert.equal(isGranted(1), false, 'the burst is used up');
  scheduler.batchSent(0, { id: 0, dataPages: 1, zeroPages: 0, wireBytes: 100 }, 0);
  scheduler.batchAcked(0, 0, 0);
  assert.equal(isGranted(0), true, 'it compressed well');
});
