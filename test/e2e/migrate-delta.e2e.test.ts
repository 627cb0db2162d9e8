/** A guest that changes a few bytes per page: what is sent again travels as deltas, and nothing is lost by it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertReport } from '../support/report-checks.ts';
import { useLab } from '../support/lab-hosts.ts';

const lab = useLab();

test('pages of which 32 bytes change travel as deltas, there and back', async (t) => {
  const writer = { set: '32M', rate: '40M', pattern: 'random' as const, bytes: 32 };
  const guest = await lab.startGuest('a', { name: 'delta', memory: '256M', writer });
  // A cap makes the pre-copy long enough for pages to be due again and again.
  for (const [from, to] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    const { report } = await lab.migrate(
      guest,
      from,
      to,
      '--verify',
      '--max-bandwidth',
      '15MB/s',
      '--compress',
      'adaptive',
    );
    assertReport(report);
    assert.deepEqual([report.verified, report.options.delta, report.options.compress], [true, 'on', 'adaptive']);
    const { resent, delta } = report.pages;
    t.diagnostic(
      `${resent} pages again, ${delta} as deltas in ${report.bytes.resent} bytes, ${report.bytes.wire} bytes for ${report.bytes.raw}`,
    );
    // Whole ones are 1900 bytes each, and blocks of 128 do not compress where the level is none.
    assert.ok(report.bytes.resent < resent * 1000, `${report.bytes.resent} bytes for ${resent} pages sent again`);
    assert.ok(delta !== null && delta > 1000, `${delta} of ${resent} pages travelled as deltas`);
    await guest.moreWriterLines(10);
    guest.assertSound();
  }
});
