import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StrategyName } from '../model/migration.ts';
import type { Prediction } from '../model/prediction.ts';
import { recommend } from './recommend.ts';

const exactly = (value: number) => ({ low: value, expected: value, high: value });
const predicted = (strategy: StrategyName, totalMs: number, downtimeMs: number): Prediction => ({
  ...{ strategy, totalMs: exactly(totalMs), downtimeMs: exactly(downtimeMs), wireBytes: exactly(1e6) },
  limitedBy: 'link',
});

test('auto, unless another is clearly quicker within the target', () => {
  assert.equal(recommend([predicted('precopy', 950, 100), predicted('auto', 1000, 100)], 300).strategy, 'auto');
  assert.equal(recommend([predicted('precopy', 500, 100), predicted('auto', 1000, 100)], 300).strategy, 'precopy');
  assert.equal(recommend([predicted('mplm', 500, 900), predicted('auto', 1000, 100)], 300).strategy, 'auto');
});

test('where none keeps the target, the shortest downtime', () => {
  const { strategy, why } = recommend([predicted('auto', 5000, 900), predicted('dsm', 6000, 400)], 300);
  assert.equal(strategy, 'dsm');
  assert.match(why, /none keeps the downtime target of 300 ms.*400 ms/);
});

test('it says in a sentence why', () => {
  assert.match(
    recommend([predicted('auto', 1500, 100)], 300).why,
    /^auto: it takes about 1\.5.* s and keeps.*the link.*\.$/,
  );
});
