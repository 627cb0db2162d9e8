import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { HostLease } from './lease.ts';

const holders = ['a', 'b', 'c'] as const;

/** What is asked, when it reaches the host, and when the answer is back. */
const askArbitrary = fc.record({
  holder: fc.constantFrom(...holders),
  run: fc.integer({ min: 0, max: 1 }),
  ttlMs: fc.constantFrom(0, 5, 20, 50),
  pauseMs: fc.nat({ max: 30 }),
  wayMs: fc.nat({ max: 20 }),
  isLost: fc.boolean(),
});
type Ask = typeof askArbitrary extends fc.Arbitrary<infer T> ? T : never;

type Belief = { readonly holder: string; readonly id: string; readonly fromMs: number; readonly untilMs: number };

/** The slow way: everything that was ever granted, and until when. */
function isSound(asks: readonly Ask[], makeLease: (clockMs: () => number) => Pick<HostLease, 'ask' | 'isHeldBy'>) {
  let nowMs = 0;
  const lease = makeLease(() => nowMs);
  const beliefs: Belief[] = [];
  for (const { holder, run, ttlMs, pauseMs, wayMs, isLost } of asks) {
    const askedMs = nowMs + pauseMs;
    nowMs = askedMs + wayMs;
    const id = `${holder}-run-${run}`;
    // Whoever gives back stops believing when it asks; so does an agent when a new run of it begins.
    for (const [i, each] of beliefs.entries()) {
      const isOver = each.holder === holder && (each.id !== id || ttlMs === 0);
      if (isOver) beliefs[i] = { ...each, untilMs: Math.min(each.untilMs, askedMs) };
    }
    const { granted, leftMs } = lease.ask({ holder, id, ttlMs });
    if (leftMs < 0) return false;
    if (granted !== lease.isHeldBy(holder, id)) return false;
    if (granted && !isLost) beliefs.push({ holder, id, fromMs: nowMs, untilMs: askedMs + ttlMs });
    const believing = beliefs.filter((each) => each.fromMs <= nowMs && each.untilMs > nowMs);
    if (new Set(believing.map((each) => each.holder)).size > 1) return false;
    // Whoever believes is obeyed.
    if (!believing.every((each) => lease.isHeldBy(each.holder, each.id) || each.holder === holder)) return false;
    const obeyed = holders.flatMap((h) => [0, 1].filter((r) => lease.isHeldBy(h, `${h}-run-${r}`)));
    if (obeyed.length > 1) return false;
  }
  return true;
}

test('at no moment two autopilots believe that a host obeys them, or are obeyed', () => {
  fc.assert(
    fc.property(fc.array(askArbitrary, { maxLength: 60 }), (asks) =>
      isSound(asks, (clockMs) => new HostLease(clockMs)),
    ),
  );
});

test('the test above finds a host that lets the next one take its lease', () => {
  class Weak extends HostLease {
    override ask(ask: Parameters<HostLease['ask']>[0]) {
      const { holder } = this;
      const held = super.ask(ask);
      return holder !== null && holder !== ask.holder && ask.ttlMs > 0 ? { ...held, granted: true } : held;
    }
  }
  const found = fc.check(
    fc.property(fc.array(askArbitrary, { maxLength: 60 }), (asks) => isSound(asks, (clockMs) => new Weak(clockMs))),
  );
  assert.equal(found.failed, true);
});

test('a lease is kept by asking again, and is over when that is too late', () => {
  let nowMs = 0;
  const lease = new HostLease(() => nowMs);
  const ask = (holder: string, ttlMs = 100) => lease.ask({ holder, id: `${holder}-1`, ttlMs });
  assert.deepEqual(ask('a'), { granted: true, holder: 'a', leftMs: 100 });
  nowMs = 60;
  assert.deepEqual(ask('b'), { granted: false, holder: 'a', leftMs: 40 });
  ask('a');
  nowMs = 159;
  assert.equal(ask('b').granted, false);
  nowMs = 160;
  assert.deepEqual([lease.holder, ask('b').granted], [null, true]);
});

test('it is given back by who has it, and by nobody else', () => {
  const lease = new HostLease(() => 0);
  lease.ask({ holder: 'a', id: 'first-run', ttlMs: 100 });
  assert.equal(lease.ask({ holder: 'b', id: 'another', ttlMs: 0 }).holder, 'a');
  assert.equal(lease.ask({ holder: 'a', id: 'another', ttlMs: 0 }).holder, 'a', 'an older run of it');
  assert.equal(lease.ask({ holder: 'a', id: 'first-run', ttlMs: 0 }).holder, null);
});

test('a new run of an agent takes over from the old one, whose orders count no more', () => {
  const lease = new HostLease(() => 0);
  lease.ask({ holder: 'a', id: 'first-run', ttlMs: 100 });
  assert.equal(lease.ask({ holder: 'a', id: 'second-run', ttlMs: 100 }).granted, true);
  assert.deepEqual([lease.isHeldBy('a', 'first-run'), lease.isHeldBy('a', 'second-run')], [false, true]);
});
