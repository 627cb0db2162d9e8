import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { PullLedger } from './pull-ledger.ts';

const out = new Uint32Array(512);

function take(ledger: PullLedger, maxPages: number): number[] {
  const count = ledger.nextRuns(maxPages, out);
  const pages: number[] = [];
  for (let at = 0; at < count; at += 2) for (let i = 0; i < out[at + 1]!; i++) pages.push(out[at]! + i);
  return pages;
}

test('pages around the last fault come first, then memory in order', () => {
  const ledger = new PullLedger(4096, Uint32Array.of(0, 4096));
  assert.deepEqual(take(ledger, 3), [0, 1, 2]);
  assert.equal(ledger.fault(1000, 0), 'ask');
  assert.deepEqual(take(ledger, 10), [992, 993, 994, 995, 996, 997, 998, 999, 1001, 1002]);
  assert.equal(ledger.fault(3000, 0), 'ask');
  assert.equal(take(ledger, 1)[0], 2992);
  assert.equal(ledger.fault(3001, 0), 'ask');
  assert.equal(take(ledger, 300).length, 300);
  const rest = take(ledger, 4096);
  assert.ok(rest.includes(3) && rest.includes(4095));
});

test('a page that was never missing is zero, once', () => {
  const ledger = new PullLedger(64, Uint32Array.of(5, 1));
  assert.equal(ledger.fault(6, 0), 'zero');
  assert.equal(ledger.fault(6, 1), 'done');
});

test('a missing page that turns out to be zero is given only to a guest that waits for it', () => {
  const ledger = new PullLedger(64, Uint32Array.of(5, 2));
  assert.equal(ledger.fault(5, 10), 'ask');
  assert.deepEqual(take(ledger, 5), [6]);
  assert.equal(ledger.fault(5, 11), 'waits');
  assert.equal(ledger.arrived(6, true), false);
  assert.equal(ledger.arrived(5, true), true);
  assert.equal(ledger.givenAfterMs(5, 13), 3);
  assert.equal(ledger.fault(6, 20), 'zero');
  assert.equal(ledger.fault(5, 20), 'done');
});

test('what was on its way when the connection was lost is wanted again', () => {
  const ledger = new PullLedger(64, Uint32Array.of(0, 10));
  take(ledger, 4);
  assert.equal(ledger.fault(8, 0), 'ask');
  assert.equal(ledger.fault(2, 0), 'waits');
  assert.equal(ledger.arrived(0, false), true);
  assert.deepEqual(
    ledger.connectionLost().sort((a, b) => a - b),
    [2, 8],
  );
  assert.equal(ledger.wantedPages, 7);
  assert.equal(ledger.arrived(0, false), false, 'an answer that comes twice is given once');
  ledger.checkInvariants();
});

/** Faults, fetches, answers in any order, losses of the connection: each page is given at most once, and all in the end. */
test('whatever the order, no page is given twice and none is forgotten', () => {
  const step = fc.record({ kind: fc.nat(4), a: fc.nat(2999), b: fc.integer({ min: 1, max: 200 }) });
  const runs = fc.array(fc.tuple(fc.nat(2900), fc.integer({ min: 1, max: 90 })), { maxLength: 20 });
  const zeros = fc.func(fc.boolean());
  fc.assert(
    fc.property(runs, zeros, fc.array(step, { maxLength: 80 }), (list, isZero, steps) => {
      const missing = new Set(list.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i)));
      const ledger = new PullLedger(3000, Uint32Array.from([...missing].flatMap((page) => [page, 1])));
      const given = new Set<number>();
      const awaited = new Set<number>();
      let flying: number[] = [];
      const give = (page: number) => {
        assert.ok(!given.has(page), `page ${page} is given twice`);
        given.add(page);
        awaited.delete(page);
        ledger.givenAfterMs(page, 1);
      };
      const answer = (page: number) => {
        const zero = isZero(page);
        missing.delete(page);
        if (ledger.arrived(page, zero)) give(page);
        else assert.ok(zero && !awaited.has(page));
      };
      for (const { kind, a, b } of steps) {
        if (kind === 0) {
          const said = ledger.fault(a, 0);
          if (said === 'zero') give(a);
          else if (said !== 'done') awaited.add(a);
          if (said === 'ask') flying.push(a);
          assert.equal(said === 'zero' || said === 'done', !missing.has(a));
        } else if (kind === 1) flying.push(...take(ledger, b));
        else if (kind === 2) flying.splice(a % (flying.length + 1), b).forEach(answer);
        else if (kind === 3 && b > 150) flying = ledger.connectionLost();
        ledger.checkInvariants();
        assert.equal(ledger.missingPages, missing.size);
      }
      flying.forEach(answer);
      for (let pages = take(ledger, 100); pages.length > 0; pages = take(ledger, 100)) pages.forEach(answer);
      assert.equal(ledger.missingPages, 0);
      assert.deepEqual([...awaited], [], 'nobody waits for ever');
    }),
    { numRuns: 300 },
  );
});
