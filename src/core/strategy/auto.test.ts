import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PageTable } from '../pages/page-table.ts';
import { createAuto } from './auto.ts';
import * as limits from './limits.ts';
import { momentOf } from './testing.ts';

const table = () => new PageTable([{ name: 'pc.ram', pageCount: 1024 }], 1);
const auto = (maxRounds = 30) => createAuto(table(), { downtimeTargetMs: 300, maxRounds });

test('pages that were written again go last', () => {
  const pages = table();
  const strategy = createAuto(pages, { downtimeTargetMs: 300, maxRounds: 30 });
  const out = new Uint32Array(32);
  for (let page = 0; page < 10; page++) pages.name(page, false);
  for (const page of [1, 2]) pages.name(page, false);
  assert.deepEqual([...out.subarray(0, strategy.pick(0, 5, out))], [0, 1, 3, 4]);
  assert.deepEqual([...out.subarray(0, strategy.pick(0, 6, out))], [7, 3, 1, 2]);
});

test('what fits the target ends it; what does not goes on', () => {
  const strategy = auto();
  assert.equal(strategy.decide(momentOf({ leftPages: 2400, predictedDowntimeMs: 301 })), null);
  const met = { leftPages: 2300, predictedDowntimeMs: 290 };
  assert.equal(strategy.decide(momentOf({ at: 'approach', ...met })), 'downtime target met');
});

test('a round that does not shrink is enough, if it ends near the best', () => {
  const strategy = auto();
  const decide = (leftPages: number) => strategy.decide(momentOf({ leftPages }));
  assert.deepEqual(
    [decide(9000), decide(6000), decide(8000), decide(6300)],
    [null, null, null, 'rounds stopped shrinking'],
  );
});

test('the bound ends it at any time, and earlier at the end of the last round that fits it', () => {
  const decide = (boundLeftMs: number, at: 'sending' | 'roundEnd', leftPages: number | null) =>
    auto().decide(momentOf({ at, boundLeftMs, leftPages, predictedDowntimeMs: 1000 }));
  assert.equal(decide(limits.BOUND_STOP_MS + 1, 'sending', null), null);
  assert.equal(decide(limits.BOUND_STOP_MS, 'sending', null), 'time bound reached');
  assert.equal(decide(limits.BOUND_STOP_MS + 500, 'roundEnd', 4000), null, '400 ms fit 500');
  assert.equal(decide(limits.BOUND_STOP_MS + 500, 'roundEnd', 6000), 'time bound reached', '600 ms do not');
});

test('a guest that never wrote less than the link carries is stopped early', () => {
  const pages = table();
  const strategy = createAuto(pages, { downtimeTargetMs: 10, maxRounds: 30 });
  for (let page = 0; page < 1000; page++) pages.name(page, false);
  const sending = (known: Parameters<typeof momentOf>[0]) => strategy.decide(momentOf({ at: 'sending', ...known }));
  assert.equal(sending({ dirtyPagesPerMsMin: 16, neverDirtiedPages: 1001 }), null, 'first what it did not write');
  assert.equal(sending({ dirtyPagesPerMsMin: 15 }), null, 'a pass over what it wrote is worth its time');
  assert.equal(sending({ dirtyPagesPerMsMin: 16 }), 'guest writes faster than the link');
  assert.equal(sending({ dirtyPagesPerMsMin: 16, repeatCost: 0.1 }), null, 'a repeat costs next to nothing');
  const patient = createAuto(pages, { downtimeTargetMs: 110, maxRounds: 30 });
  const fits = momentOf({ at: 'sending', dirtyPagesPerMsMin: 16 });
  assert.equal(patient.decide(fits), null, 'what is left fits the target: no need to hurry');
  assert.equal(strategy.decide(momentOf({ dirtyPagesPerMsMin: 9 })), null);
  assert.equal(strategy.decide(momentOf({ dirtyPagesPerMsMin: 10 })), 'guest writes faster than the link');
});
