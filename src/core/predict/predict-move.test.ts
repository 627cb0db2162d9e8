import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultMigrationOptions } from '../model/migration.ts';
import type { GuestFacts, PathFacts } from '../model/prediction.ts';
import { predictMove, type Uncertainty } from './predict-move.ts';

const GIB_PAGES = 262_144;
const guest: GuestFacts = {
  pages: GIB_PAGES,
  contentShare: 0.5,
  wireBytesPerPage: 2048,
  wireBytesRange: { low: 2048, high: 2048 },
  repeatBytes: null,
  workingSet: { pagesPerMs: 0, hotPages: 0 },
};
const path: PathFacts = {
  linkBytesPerSecond: 125e6,
  roundTripMs: 1,
  lanePagesPerMs: 1000,
  feedPagesPerMs: 1000,
  feedHold: 'strict',
  beforeMs: 300,
  switchMs: 60,
  afterMs: 20,
};
const options = { ...defaultMigrationOptions, strategy: 'precopy', lanes: 1 } as const;

test('an idle guest takes what its content takes on the link, and the fixed parts', () => {
  const { totalMs, wireBytes, downtimeMs, limitedBy } = predictMove(guest, path, options);
  const contentMs = (GIB_PAGES * 0.5 * 2048) / 125e3;
  assert.ok(
    Math.abs(totalMs.expected - contentMs - 320) < 0.1 * contentMs + 250,
    `${totalMs.expected} of ${contentMs}`,
  );
  assert.ok(Math.abs(wireBytes.expected - GIB_PAGES * 0.5 * 2048) < 0.02 * wireBytes.expected);
  assert.ok(downtimeMs.expected < 150);
  assert.equal(limitedBy, 'link');
});

test('the expected value lies in its range, and the range says how uncertain the measurements were', () => {
  const all = (value: number): Uncertainty => ({
    ...{ link: value, lanes: value, writes: value, bytes: value, fixed: value, switchover: value },
  });
  const sure = predictMove(guest, path, options, all(0.01));
  const unsure = predictMove(guest, path, options, all(0.3));
  for (const { totalMs, downtimeMs, wireBytes } of [sure, unsure]) {
    for (const { low, expected, high } of [totalMs, downtimeMs, wireBytes]) {
      assert.ok(low <= expected && expected <= high && low >= 0, `${low} ${expected} ${high}`);
    }
  }
  const width = ({ low, high }: { low: number; high: number }): number => high - low;
  assert.ok(width(unsure.totalMs) > 5 * width(sure.totalMs));
});

test('what limits it is named', () => {
  assert.equal(predictMove(guest, { ...path, lanePagesPerMs: 5 }, options).limitedBy, 'processors');
  const even = { ...path, lanePagesPerMs: (path.linkBytesPerSecond / 1000 / guest.wireBytesPerPage) * 0.99 };
  assert.equal(predictMove(guest, even, options).limitedBy, 'processors', 'as fast as the link');
  const empty = { ...guest, contentShare: 0.0001 };
  assert.equal(predictMove(empty, { ...path, beforeMs: 2000 }, options).limitedBy, 'fixed');
  const capped = { ...options, maxBandwidthBytesPerSecond: 20e6 };
  assert.equal(predictMove(guest, path, capped).limitedBy, 'bandwidthLimit');
  const busy = { ...guest, contentShare: 0.2, workingSet: { pagesPerMs: 80, hotPages: 40_000 } };
  assert.equal(predictMove(busy, path, options).limitedBy, 'writes');
});

test('a large guest is predicted like a small one with the same proportions, within a tenth', () => {
  const small = { ...guest, pages: 65_536, workingSet: { pagesPerMs: 5, hotPages: 8000 } };
  const large = { ...guest, pages: 65_536 * 16, workingSet: { pagesPerMs: 80, hotPages: 128_000 } };
  const wide = {
    ...path,
    linkBytesPerSecond: path.linkBytesPerSecond * 16,
    lanePagesPerMs: 16_000,
    feedPagesPerMs: 16_000,
  };
  const [a, b] = [predictMove(small, path, options), predictMove(large, wide, options)];
  assert.ok(Math.abs(a.totalMs.expected - b.totalMs.expected) < 0.1 * a.totalMs.expected);
  assert.ok(Math.abs(a.wireBytes.expected * 16 - b.wireBytes.expected) < 0.1 * b.wireBytes.expected);
});

test('a faster link never makes it slower, a busier guest never faster', () => {
  const busy = (pagesPerMs: number): GuestFacts => ({ ...guest, workingSet: { pagesPerMs, hotPages: 30_000 } });
  const totalOf = (of: GuestFacts, link: number): number =>
    predictMove(of, { ...path, linkBytesPerSecond: link }, options).totalMs.expected;
  assert.ok(totalOf(busy(5), 50e6) > totalOf(busy(5), 125e6));
  assert.ok(totalOf(busy(5), 125e6) > totalOf(busy(5), 500e6));
  assert.ok(totalOf(busy(20), 125e6) > totalOf(busy(1), 125e6));
});
