import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as fc from 'fast-check';

import { defaultMigrationOptions, stageNames } from '../../core/model/migration.ts';
import { MigrationRecord } from './migration-record.ts';

const subject = {
  id: 'm1',
  vm: 'web',
  source: 'a',
  destination: 'b',
  options: defaultMigrationOptions,
  predicted: null,
};

/** A migration that ended at the last of `instantsMs`, the times at which it began and entered each stage. */
function endedRecord(instantsMs: readonly number[]): MigrationRecord {
  let index = 0;
  const record = new MigrationRecord(subject, () => instantsMs[index]!);
  for (const stage of stageNames) {
    record.clock.enter(stage, instantsMs[++index]);
  }
  index = instantsMs.length - 1;
  record.end({ outcome: 'completed', reason: 'test', code: null, guest: 'running at destination' });
  return record;
}

test('time does not go back, not even by a rounding, from the last view to the report', () => {
  const instant = fc.double({ min: 0, max: 20_000, noNaN: true });
  const instants = fc.array(instant, { minLength: 8, maxLength: 8 }).map((list) => list.sort((a, b) => a - b));
  fc.assert(
    fc.property(instants, (instantsMs) => {
      const record = endedRecord(instantsMs);
      assert.equal(record.view().elapsedMs, instantsMs.at(-1)! - instantsMs[0]!);
      assert.equal(record.report().totalMs, record.view().elapsedMs);
    }),
  );
});
