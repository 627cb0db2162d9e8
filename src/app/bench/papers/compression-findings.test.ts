import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linkBitsPerS } from '../../lab/plan.ts';
import type { Measurement, Sample } from '../samples.ts';
import type { Cell } from '../schedule.ts';
import { breakEvenBitsPerS, compressionFindings, methodNames } from './compression-findings.ts';
import { compression } from './compression.ts';
import { methods, packAll } from './page-methods.ts';
import { claimOf, evidenceOf } from './testing.ts';

const RAW_BYTES = 400e6;
/** A thread that packs 300 MB/s at 2:1, and everything else for nothing. */
function asForetold({ link, mode }: Cell): Partial<Sample> {
  const linkS = (RAW_BYTES * 8) / linkBitsPerS[link];
  const [plain, packed] = [linkS, Math.max(linkS / 2, RAW_BYTES / 300e6)];
  const totalMs = 1000 * (mode.includes('lz') ? packed : mode.includes('adaptive') ? Math.min(plain, packed) : plain);
  return { totalMs, downtimeMs: mode.includes('lz') ? 50 : 80, wireBytes: mode.includes('lz') ? 200e6 : RAW_BYTES };
}
function figures(): Measurement['values'] {
  return Object.fromEntries(
    methodNames.flatMap((name, n) => {
      const weight = name === 'lz' ? 2.5 : n;
      return [
        [`${name} ratio`, name === 'lz' ? 2 : 1.5 + weight / 5],
        [`${name} MB/s`, name === 'lz' ? 300 : 300 - 20 * (weight - 2.5)],
      ];
    }),
  );
}

test('one after the other a thread breaks even at S (1 - 1/R), both at once at S', () => {
  assert.deepEqual(breakEvenBitsPerS(250, 2), { alone: 1e9, beside: 2e9 });
  assert.equal(breakEvenBitsPerS(250, 1).alone, 0);
  assert.equal(breakEvenBitsPerS(250, 0.99).alone, 0);
});

test('where the link is slower than the thread compression wins, else it loses: foretold, and told', () => {
  const findings = compressionFindings(evidenceOf(compression, asForetold, figures));
  const time = claimOf(findings, 'shortens the total time');
  assert.equal(time.holds, 'partly');
  assert.match(time.here, /100mbit: 50 % less; 1gbit: 50 % less; 10gbit: 317 % more/);
  const even = claimOf(findings, 'Compression pays');
  assert.deepEqual([even.holds, /even at 1\.20 Gbit\/s, or 2\.40 Gbit/.test(even.here)], ['yes', true], even.here);
  assert.equal(claimOf(findings, 'Balancing').holds, 'yes');
  assert.equal(claimOf(findings, 'sends less').holds, 'yes');
});

test('a break-even that foretells wrongly does not hold where it does so', () => {
  const slow = (cell: Cell): Partial<Sample> => ({
    ...asForetold(cell),
    ...(cell.link === '1gbit' && cell.mode.includes('lz') && { totalMs: 60_000 }),
  });
  assert.equal(
    claimOf(compressionFindings(evidenceOf(compression, slow, figures)), 'Compression pays').holds,
    'partly',
  );
});

test('moves without the measurements of methods tell nothing of the break-even', () => {
  const { samples } = evidenceOf(compression, asForetold);
  const findings = compressionFindings({ samples, measurements: [] });
  assert.equal(claimOf(findings, 'Compression pays').holds, 'unknown');
  assert.equal(claimOf(findings, 'hardly reaches').holds, 'unknown');
  assert.equal(claimOf(findings, 'sends less').holds, 'yes');
});

test('each method gives back what it packed, with its ratio, speed, and a name that the report knows', () => {
  const half = new Uint8Array(1 << 20).map((_, n) => (n & 1 ? (n * 2_654_435_761) >>> 13 : 7));
  const values = packAll([half]);
  assert.deepEqual(
    methods.map(({ name }) => name),
    [...methodNames],
  );
  for (const name of methodNames) {
    for (const what of ['ratio', 'MB/s', 'unpack MB/s'])
      assert.ok(Number(values[`${name} ${what}`]) > 0, `${name} ${what}`);
  }
  assert.ok(Number(values['lz ratio']) > 1.2);
});
