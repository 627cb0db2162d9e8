import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import * as limits from './limits.ts';
import { LinkWindow } from './link-window.ts';
import { SimRandom } from './sim-random.ts';
import { TokenBucket } from './token-bucket.ts';

/** Drives a window against a link with one lane until it is in its stride. */
function settle(bytesPerMs: number, roundTripMs: number, pageBytes = 4096): LinkWindow {
  const link = new LinkWindow(1, 256, 0);
  const flying: { id: number; atMs: number }[] = [];
  let freeMs = 0;
  for (let nowMs = 0; nowMs < 5000; nowMs++) {
    while (flying[0] !== undefined && flying[0].atMs <= nowMs) link.acked(0, flying.shift()!.id, true, nowMs);
    while (link.isOpen(0)) {
      const pages = link.batchPages();
      const id = link.nextIdOfLane(0);
      link.granted(0, pages);
      link.sent(0, id, pages * pageBytes, nowMs);
      freeMs = Math.max(freeMs, nowMs) + (pages * pageBytes) / bytesPerMs;
      flying.push({ id, atMs: freeMs + roundTripMs });
    }
  }
  return link;
}

test('the measured rate is that of the link, near and far', () => {
  for (const [bytesPerMs, roundTripMs] of [
    [12_500, 1],
    [125_000, 1],
    [12_500, 100],
    [125_000, 30],
  ] as const) {
    const rate = settle(bytesPerMs, roundTripMs).wireBytesPerSecond! / 1000;
    assert.ok(rate > 0.85 * bytesPerMs && rate < 1.1 * bytesPerMs, `${rate} of ${bytesPerMs} at ${roundTripMs} ms`);
  }
});

test('batches are small on a slow link and full on a fast one', () => {
  assert.ok(settle(1250, 1).batchPages() <= 2 * limits.BATCH_PAGES_MIN);
  assert.equal(settle(125_000, 1).batchPages(), 256);
});

test('packed pages make large batches on a slow link, and no long queue', () => {
  const link = settle(12_500, 1, 1500);
  assert.ok(link.batchPages() >= limits.FAST_BATCH_PAGES);
  const queueMs = link.inFlightWireBytes / 12_500;
  assert.ok(queueMs < limits.FAST_WINDOW_MS + 40, `${queueMs} ms in flight`);
});

test('in-flight counts are those of the batches, and a lane is never given more than its most', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = new SimRandom(seed);
      const link = new LinkWindow(3, 256, 0);
      const batches: { id: number; pages: number; isSent: boolean }[][] = [[], [], []];
      for (let nowMs = 0; nowMs < 300; nowMs += random.fraction()) {
        const lane = random.below(3);
        const own = batches[lane]!;
        const unsent = own.find((batch) => !batch.isSent);
        const action = random.below(3);
        if (action === 0 && link.isOpen(lane)) {
          const inTimeBytes = ((link.wireBytesPerSecond ?? 0) / 1000) * limits.FAST_WINDOW_MS;
          const least =
            link.batchPages() >= limits.FAST_BATCH_PAGES ? Math.min(limits.FAST_WIRE_BYTES_MIN, inTimeBytes) : 0;
          const window = Math.max(link.windowWireBytes, least);
          assert.ok(own.length < 2 || link.inFlightWireBytes < window, 'within the window');
          own.push({ id: link.nextIdOfLane(lane), pages: link.batchPages(), isSent: false });
          link.granted(lane, link.batchPages());
        } else if (action === 1 && unsent !== undefined) {
          unsent.isSent = true;
          link.sent(lane, unsent.id, random.below(unsent.pages * 4200), nowMs);
        } else if (action === 2 && own[0]?.isSent === true) {
          link.acked(lane, own.shift()!.id, random.below(2) === 0, nowMs);
        }
        assert.ok(own.length <= limits.LANE_BATCHES_MAX);
        assert.equal(
          link.inFlightPages,
          batches.flat().reduce((sum, batch) => sum + batch.pages, 0),
        );
      }
    }),
    { numRuns: 50 },
  );
});

test('a lane with tiny batches stops at its most', () => {
  const link = settle(125_000, 1);
  while (link.batchesOfLane(0) > 0) {
    const id = link.nextIdOfLane(0) - link.batchesOfLane(0);
    link.acked(0, id, false, 5000);
  }
  while (link.isOpen(0)) {
    const id = link.nextIdOfLane(0);
    link.granted(0, 1);
    link.sent(0, id, 1, 5000);
  }
  assert.equal(link.batchesOfLane(0), limits.LANE_BATCHES_MAX);
});

test('a batch is acknowledged with all earlier ones, and never before it was sent', () => {
  const link = new LinkWindow(1, 256, 0);
  link.granted(0, 10);
  link.granted(0, 20);
  link.sent(0, 0, 100, 1);
  link.sent(0, 1, 100, 1);
  link.acked(0, 1, false, 2);
  assert.equal(link.inFlightPages, 0);
  link.granted(0, 5);
  assert.throws(() => link.acked(0, 2, false, 3), /was sent before/);
  assert.throws(() => link.sent(0, 3, 1, 3), /next one/);
});

test('a token bucket grants its rate, with estimates corrected', () => {
  const bucket = new TokenBucket(1e6, 0);
  let bytes = 0;
  for (let nowMs = 0; nowMs < 1000; nowMs++) {
    while (bucket.isOpen(nowMs)) {
      bucket.take(4000);
      bucket.take(-2000);
      bytes += 2000;
    }
  }
  assert.ok(bytes > 0.98e6 && bytes < 1.06e6, `${bytes} bytes in a second`);
  assert.equal(new TokenBucket(null, 0).isOpen(0), true);
});
