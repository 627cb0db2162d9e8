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
});

test('whatever the order of steps, it ends and the destination equals the source (R1, R2, R3)', () => {
  fc.assert(
    fc.property(schedules, (options) => {
      const { ended, wrongPages, reason } = runInterleaving(options);
      assert.ok(ended, 'it ends');
      assert.deepEqual(wrongPages, []);
      assert.notEqual(reason, null, 'the reason for the stop is known');
    }),
    { numRuns: 1000 },
  );
});

for (const planted of plantedMistakes) {
  test(`a planted mistake is found: ${planted}`, () => {
    let found = 0;
    const isPull = planted === 'withheld pages are not left to be pulled';
    for (let seed = 0; seed < 120; seed++) {
      const feedHold = seed % 2 === 0 ? 'strict' : 'paced';
      const rest = {
        writesMax: 1 + (seed % 11),
        hotPages: 20 + seed,
        zeroShare: 0.3,
        maxBandwidthBytesPerSecond: null,
        strategy: isPull ? ('dsm' as const) : ('precopy' as const),
        pull: isPull,
      };
      const { wrongPages } = runInterleaving({ seed, lanes: 1 + (seed % 3), feedHold, planted, ...rest });
      if (wrongPages.length > 0) found++;
    }
    assert.ok(found > 0, 'no schedule showed it');
  });
}
