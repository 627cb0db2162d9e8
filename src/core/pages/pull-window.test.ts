import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PULL_WINDOW_PAGES_MAX, PULL_WINDOW_PAGES_MIN, PullWindow } from './pull-window.ts';

/** A link of so many pages per ms behind a round trip, always full; returns the window that settles. */
function settle(pagesPerMs: number, roundTripMs: number): PullWindow {
  const window = new PullWindow();
  for (let i = 0; i < 2000; i++) window.answered(Math.max(roundTripMs, window.pages / pagesPerMs));
  return window;
}

test('the window fills a long link and stays small on a short one', () => {
  assert.ok(settle(30, 50).pages > 1500, 'most of 1 Gbit/s over 50 ms');
  const lan = settle(30, 1).pages;
  assert.ok(lan >= PULL_WINDOW_PAGES_MIN && lan < 500, `${lan} pages on a LAN`);
});

test('the window has bounds', () => {
  assert.ok(settle(0.001, 1).pages <= PULL_WINDOW_PAGES_MAX);
  const window = new PullWindow();
  window.answered(1);
  for (let i = 0; i < 100; i++) window.answered(1000);
  assert.ok(window.pages >= PULL_WINDOW_PAGES_MIN);
});
