import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DirtyRate } from './dirty-rate.ts';

test('the first sweep says nothing, each further one how much the guest wrote since', () => {
  const rate = new DirtyRate();
  rate.sweepEnded({ sinceMs: 3000, first: true }, { pendingNamings: 100_000, renamings: 0 }, false);
  assert.equal(rate.isEmpty, true);
  assert.equal(rate.pagesPerSecond, 0);
  assert.equal(rate.pagesPerMsMin, Infinity);
  rate.sweepEnded({ sinceMs: 500, first: false }, { pendingNamings: 102_000, renamings: 3000 }, false);
  assert.equal(rate.pagesPerSecond, 6000, 'pages that were pending anyway are written to as well');
  assert.equal(rate.expectedPages(500), 2000, 'but need not be sent again');
  rate.sweepEnded({ sinceMs: 1000, first: false }, { pendingNamings: 103_000, renamings: 4000 }, false);
  assert.equal(rate.pagesPerSecond, 1000);
  assert.equal(rate.pagesPerMsMin, 1);
});

test('a refresh tells the rate and nothing of the time to come', () => {
  const rate = new DirtyRate();
  rate.sweepEnded({ sinceMs: 400, first: false }, { pendingNamings: 50, renamings: 4000 }, true);
  assert.equal(rate.isEmpty, true);
  assert.equal(rate.pagesPerSecond, 10_000);
  rate.sweepEnded({ sinceMs: 400, first: false }, { pendingNamings: 1050, renamings: 8000 }, false);
  assert.equal(rate.expectedPages(400), 1000, 'what the refresh named counts for the refresh');
});

test('the least rate counts once enough intervals have shown it', () => {
  const rate = new DirtyRate();
  let renamings = 0;
  const shown = [5, 2, 9, 4, 7, 3].map((pagesPerMs) => {
    renamings += 100 * pagesPerMs;
    rate.sweepEnded({ sinceMs: 100, first: false }, { pendingNamings: 0, renamings }, false);
    return rate.shownPagesPerMsMin;
  });
  assert.equal(shown[0], 0);
  assert.equal(shown.at(-1), 2);
});
