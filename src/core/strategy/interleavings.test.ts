import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { strategyNames } from '../model/migration.ts';
import { plantedMistakes, runInterleaving, type InterleavingOptions } from './interleavings.ts';

const schedules: fc.Arbitrary<InterleavingOptions> = fc.record({
  seed: fc.nat(),
  lanes: fc.integer({ min: 1, max: 4 }),
  feedHold: fc.constantFrom('strict' as const, 'paced' as const),
  strategy: fc.constantFrom(...strategyNames),
  pull: fc.boolean(),
  writesMax: fc.integer({ min: 0, max: 16 }),
  hotPages: fc.integer({ min: 1, max: 1500 }),
  zeroShare: fc.constantFrom(0, 0.1, 0.5, 0.9),
  maxBandwidthBytesPerSecond: fc.constantFrom(null, 2e6, 50e6),
  prune: fc.boolean(),
  zeroesOnFree: fc.boolean(),
});

test('whatever the order of steps, it ends and the destination equals the source on every page that counts (R1 to R4)', () => {
  let prunedPages = 0;
  let zeroedPages = 0;
  fc.assert(
    fc.property(schedules, (options) => {
      const result = runInterleaving(options);
      const { ended, wrongPages, reason } = result;
      prunedPages += result.prunedPages;
      zeroedPages += result.zeroedPages;
      assert.ok(ended, 'it ends');
      assert.deepEqual(wrongPages, []);
      assert.notEqual(reason, null, 'the reason for the stop is known');
    }),
    { numRuns: 1500 },
  );
  assert.ok(prunedPages > 10_000 && zeroedPages > 0, `${prunedPages} pages were pruned, ${zeroedPages} of them zeroed`);
});

for (const planted of plantedMistakes) {
  test(`a planted mistake is found: ${planted}`, () => {
    let found = 0;
    const isPull = planted === 'withheld pages are not left to be pulled';
    for (let seed = 0; seed < 3000 && found === 0; seed++) {
      const feedHold = seed % 2 === 0 ? 'strict' : 'paced';
      const rest = {
        writesMax: 1 + (seed % 3),
        hotPages: 20 + seed,
        zeroShare: 0.3,
        maxBandwidthBytesPerSecond: null,
        prune: seed % 4 !== 3,
        zeroesOnFree: seed % 3 === 0,
        strategy: isPull ? ('dsm' as const) : strategyNames[seed % strategyNames.length]!,
        pull: isPull,
      };
      const { wrongPages } = runInterleaving({ seed, lanes: 1 + (seed % 3), feedHold, planted, ...rest });
      if (wrongPages.length > 0) found++;
    }
    assert.ok(found > 0, 'no schedule showed it');
  });
}
