import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { renderReport, roundToSum } from './summary.ts';
import { sampleReport } from '../../core/api/testing.ts';

test('a completed migration', () => {
  assert.deepEqual(renderReport(sampleReport()), [
    'VM "web" now runs at host host-b.',
    '',
    'stage                time      wire    sent  dirtied',
    'initialisation    0.151 s',
    'reservation       0.350 s',
    'pre-copy          2.700 s  83.4 MiB  69 000   10 100',
    '  round 1       (2.400 s)  74.4 MiB  60 000    9 000',
    '  round 2       (0.300 s)  9.06 MiB   9 000    1 100',
    'stop-and-copy     0.120 s',
    'commitment        0.030 s',
    'activation        0.050 s',
    'total             3.401 s  84.9 MiB  70 100',
    '',
    'downtime       120 ms (target 300 ms)',
    'on the wire    84.9 MiB (209 Mbit/s on average), 9.16 MiB of it pages sent again',
    'guest memory   1.00 GiB, 274 MiB of it sent before compression',
    'pages          70 100 sent, 10 100 of them again, 202 144 zero, 6 100 as deltas, 40 unchanged',
    'CPU time       source agent 900 ms, QEMU 700 ms; destination agent 600 ms, QEMU unknown',
    'verified       every page is equal on both sides',
    'ended because  downtime target met, 110 ms expected, after 2.70 s and 2 rounds',
    'migration      m1, strategy precopy, compression lz, deltas on, 2 lanes',
  ]);
});

test('mplm has no downtime target, and its promise is beside what came of it', () => {
  const switchover = { reason: 'never-dirtied pages all sent', afterMs: 4100, rounds: 3, boundMs: 8130 };
  const report = sampleReport({ strategy: 'mplm', switchover: { ...switchover, expectedDowntimeMs: null } });
  const lines = renderReport(report);
  assert.ok(lines.includes('downtime       120 ms'));
  const ended = 'never-dirtied pages all sent, after 4.10 s and 3 rounds (promised within 8.13 s)';
  assert.ok(lines.includes(`ended because  ${ended}`));
});

test('the first line says where the guest is', () => {
  const first = (change: Parameters<typeof sampleReport>[0]) => renderReport(sampleReport(change))[0];
  const reason = 'The link to host-b was cut.';
  assert.equal(
    first({ outcome: 'aborted', guest: 'running at source', reason }),
    'VM "web" was not moved: The link to host-b was cut. The guest runs at host host-a.',
  );
  assert.match(
    first({ outcome: 'failed', guest: 'in doubt', reason }) ?? '',
    /The guest is in doubt: host-b was to take it over.*"vmferry resolve m1"/,
  );
  assert.match(first({ outcome: 'failed', guest: 'lost', reason }) ?? '', /The guest is lost/);
});

test('printed stages add up to the printed total', () => {
  assert.deepEqual(roundToSum([1.5, 1.5, 1], 4), [2, 1, 1]);
  const values = fc.array(fc.double({ min: 0, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(values, (parts) => {
      const sum = Math.round(parts.reduce((total, part) => total + part, 0));
      const rounded = roundToSum(parts, sum);
      assert.equal(
        rounded.reduce((total, part) => total + part, 0),
        sum,
      );
      rounded.forEach((value, index) => assert.ok(Math.abs(value - (parts[index] ?? 0)) <= 1));
    }),
  );
});
