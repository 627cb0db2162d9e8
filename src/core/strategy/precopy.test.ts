import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { PageTable } from '../pages/page-table.ts';
import { DirtyHistory } from './dirty-history.ts';
import { createPrecopy } from './precopy.ts';
import { momentOf } from './testing.ts';
import { Progress, timeToGoMs } from './progress.ts';
import { RoundLog } from './round-log.ts';
import { SweepTracker } from './sweep-tracker.ts';

const table = () => new PageTable([{ name: 'pc.ram', pageCount: 1024 }], 1);
const roundEnd = (round: number, leftPages: number | null, predictedDowntimeMs: number | null = null) =>
  momentOf({ round, leftPages, predictedDowntimeMs });

/** The round at which a guest that leaves these pages is stopped, and why. */
function play(left: readonly number[], maxRounds = 30): [number, string] | null {
  const strategy = createPrecopy(table(), { downtimeTargetMs: 300, maxRounds });
  for (const [i, pages] of left.entries()) {
    const reason = strategy.decide(roundEnd(i + 1, pages, 1000));
    if (reason !== null) return [i + 1, reason];
  }
  return null;
}

test('pages go in ascending order, round and round', () => {
  const pages = table();
  const strategy = createPrecopy(pages, { downtimeTargetMs: 300, maxRounds: 30 });
  const out = new Uint32Array(8);
  for (const page of [5, 700, 900]) pages.name(page, false);
  assert.equal(strategy.pick(0, 2, out), 4);
  assert.deepEqual([...out.subarray(0, 4)], [5, 1, 700, 1]);
  pages.name(6, false);
  assert.equal(strategy.pick(0, 2, out), 4);
  assert.deepEqual([...out.subarray(0, 4)], [900, 1, 6, 1]);
  assert.equal(strategy.pick(0, 2, out), 0);
});

test('what fits the target ends it at any moment; nothing else does before the end of a round', () => {
  const strategy = createPrecopy(table(), { downtimeTargetMs: 300, maxRounds: 1 });
  const approach = (predictedDowntimeMs: number) => momentOf({ at: 'approach', leftPages: 9000, predictedDowntimeMs });
  assert.equal(strategy.decide(approach(301)), null);
  assert.equal(strategy.decide(approach(300)), 'downtime target met');
  assert.equal(strategy.decide(roundEnd(1, null)), 'maximum rounds');
});

test('three rounds without shrinking end it, at a round near the best', () => {
  assert.deepEqual(play([1000, 500, 490, 495, 480]), [5, 'rounds stopped shrinking']);
  assert.deepEqual(play([1000, 500, 900, 900, 900, 540]), [6, 'rounds stopped shrinking'], 'waits for a good moment');
  assert.equal(play([1000, 900, 800, 700, 600, 500, 400]), null);
  assert.deepEqual(play([500, 900, 900, 900, 900, 900], 6), [6, 'maximum rounds'], 'but not for ever');
  const lucky = [14_000, 8300, 12_000, 12_000, 12_000, 12_000, 12_000, 12_000, 12_000, 12_000, 12_000];
  assert.deepEqual(play(lucky), [9, 'rounds stopped shrinking'], 'nor for one lucky round to come again');
});

test('dirty pages are expected by the samples of like length', () => {
  const history = new DirtyHistory();
  assert.equal(history.expectedPages(100), 0);
  history.add(1000, 4000);
  assert.equal(history.expectedPages(1000), 4000);
  assert.equal(history.expectedPages(2000), 8000);
  assert.equal(history.expectedPages(250), 2000);
  assert.equal(history.expectedPages(10), 4000, 'one long sample says nothing of a short time');
  history.add(100, 1000);
  assert.equal(history.expectedPages(550), 2500);
  history.add(110, 0);
  assert.equal(history.expectedPages(110), 0, 'a newer sample of the same length replaces the old');
});

test('progress never goes back and never says all', () => {
  const work = fc.record({
    donePages: fc.nat(1e6),
    leftPages: fc.nat(1e6),
    dirtyPagesPerSecond: fc.nat(1e5),
    pagesPerMs: fc.double({ min: 0.01, max: 1000, noNaN: true }),
    fixedMs: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(work), (works) => {
      const progress = new Progress();
      let before = 0;
      for (const one of works) {
        const fraction = progress.update(one);
        assert.ok(fraction >= before && fraction < 1);
        assert.ok(timeToGoMs(one) >= 0);
        before = fraction;
      }
    }),
  );
});

test('a batch belongs to the round in which it was granted, and an empty round is not listed', () => {
  const log = new RoundLog(0);
  const first = log.openIndex;
  log.close(3, 100);
  log.sent(first, 10, 1000);
  log.close(3, 110);
  log.sent(log.openIndex, 1, 100);
  log.close(5, 150);
  assert.deepEqual(log.reports(), [
    { round: 1, stage: 'preCopy', ms: 100, pagesSent: 10, wireBytes: 1000, pagesDirtied: 3 },
    { round: 2, stage: 'preCopy', ms: 40, pagesSent: 1, wireBytes: 100, pagesDirtied: 2 },
  ]);
});

test('the position of the cursor only grows', () => {
  const tracker = new SweepTracker(1024);
  const positions = [0, 5, 1000, 1000, 3, 2].map((page) => {
    tracker.saw(page);
    return tracker.position;
  });
  assert.deepEqual(positions, [0, 5, 1000, 2024, 2051, 3074]);
});
