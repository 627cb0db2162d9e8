import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { CompressionControl, weighed, type KnownLink } from './compression-control.ts';
import { compressionLevels, LZ, STORE } from './levels.ts';

const BATCH = 1 << 20;

/** A lane as a model: milliseconds per MiB of raw pages, and what each level really costs and saves. */
type Lane = {
  readonly otherMs: number;
  /** Of each side, for a MiB on the wire. */
  readonly wireMs: number;
  readonly costMs: readonly number[];
  readonly savings: readonly number[];
  readonly linkBytesPerMs: number;
  readonly destinationMs: number;
  readonly unpackMs: number;
  /** Threads get a processor for one of so many milliseconds: what they do takes longer, and they seem to wait. */
  readonly crowd: number;
  /** The kernel says how fast the link is. */
  readonly isLinkKnown?: boolean;
  /** The kernel has seen this much of it. */
  readonly provedBytesPerMs?: number;
};

function linkOf({ isLinkKnown, provedBytesPerMs, linkBytesPerMs }: Lane): KnownLink | null {
  if (isLinkKnown === true) return { msPerByte: 1 / linkBytesPerMs, isMeasured: true };
  return provedBytesPerMs === undefined ? null : { msPerByte: 1 / provedBytesPerMs, isMeasured: false };
}

/** Milliseconds that a batch takes at a level, when source, link and destination overlap. */
function batchMs(lane: Lane, level: number): number {
  const wire = BATCH * (1 - lane.savings[level]!);
  return Math.max(sourceMs(lane, level), wire / lane.linkBytesPerMs, destinationMs(lane, level));
}

function sourceMs(lane: Lane, level: number): number {
  return lane.crowd * (lane.otherMs + lane.wireMs * (1 - lane.savings[level]!) + lane.costMs[level]!);
}

function destinationMs(lane: Lane, level: number): number {
  const unpackMs = level === STORE ? 0 : lane.unpackMs;
  return lane.crowd * (lane.destinationMs + lane.wireMs * (1 - lane.savings[level]!) + unpackMs);
}

function isLinkSlowest(lane: Lane, level: number): boolean {
  const wire = BATCH * (1 - lane.savings[level]!);
  return batchMs(lane, level) === wire / lane.linkBytesPerMs;
}

function bestOf(lane: Lane): { readonly level: number; readonly ms: number } {
  const times = compressionLevels.map((_, level) => batchMs(lane, level));
  const ms = Math.min(...times);
  return { level: times.indexOf(ms), ms };
}

/** Runs the control for so many spans of some 100 ms; returns the milliseconds per batch of each, and the levels. */
function run(control: CompressionControl, lane: Lane, spans: number, from = 0) {
  const result = { batchMs: [] as number[], levels: [] as number[], nowMs: from };
  for (let i = 0; i < spans; i++) {
    const { level } = control;
    const each = batchMs(lane, level);
    const batches = Math.max(2, Math.round(100 / each));
    const packedBytes = BATCH * (1 - lane.savings[level]!);
    const packMs = lane.costMs[level]!;
    for (let batch = 0; batch < batches; batch++) control.packed(BATCH, packedBytes, packMs);
    const busyMs = batches * sourceMs(lane, level);
    result.nowMs += batches * each;
    control.spanEnded({
      nowMs: result.nowMs,
      spanMs: batches * each,
      busyMs,
      cpuMs: busyMs / lane.crowd,
      blockedMs: isLinkSlowest(lane, level) ? batches * each - busyMs : 0,
      hostIdle: lane.crowd > 1 ? 0 : 0.5,
      destinationBusyMs: batches * destinationMs(lane, level),
      wireBytes: batches * packedBytes,
      ackedBytes: batches * packedBytes,
      link: linkOf(lane),
    });
    result.batchMs.push(each);
    result.levels.push(level);
  }
  return result;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A lane whose levels cost and save as the table says, up to the given noise per level. */
function laneOf(link: number, more: Partial<Lane> & { readonly lzMs?: number; readonly saving?: number } = {}): Lane {
  const { lzMs = 2.7, saving = 0.5 } = more;
  return {
    otherMs: 1.2,
    wireMs: 0.3 * lzMs,
    unpackMs: 0.5 * lzMs,
    costMs: compressionLevels.map(({ cost }) => cost * lzMs),
    savings: compressionLevels.map((level) => Math.min(0.98, level.saving * saving)),
    linkBytesPerMs: link,
    destinationMs: 1,
    crowd: 1,
    ...more,
  };
}

test('the faster the link, the lighter the level', () => {
  const levels = [1.25e4, 1.25e5, 1.25e6].map((link) =>
    run(new CompressionControl(null), laneOf(link), 40).levels.at(-1)!,
  );
  assert.ok(levels[0]! > levels[1]! && levels[1]! > levels[2]!, levels.join());
  assert.equal(levels[2], 0, 'not at all at 10 Gbit/s');
});

test('with what an earlier migration found out the level is right from the second span on, on a crowded host after a second', () => {
  for (const [bytesPerMs, crowd] of [
    [1.25e4, 1],
    [1.25e5, 1.8],
    [1.25e6, 1.8],
  ] as const) {
    const lane = laneOf(bytesPerMs, { crowd, isLinkKnown: crowd > 1 });
    const first = new CompressionControl(null);
    run(first, lane, 60);
    const { batchMs: times, levels } = run(new CompressionControl(null, first.link), lane, 30);
    const best = bestOf(lane).ms;
    const late = mean(times.slice(crowd > 1 ? 10 : 1));
    assert.ok(late < 1.15 * best, `${late} ms, best ${best}: ${levels.join('')}`);
  }
});

test('a link that is known to be faster than packing begins with storing, and with packing after all where it is not', () => {
  const known = { msPerByte: 1 / 6e5, isMeasured: true };
  assert.equal(new CompressionControl(null, known).level, STORE);
  assert.equal(
    new CompressionControl(null, { msPerByte: 1 / 2e5, isMeasured: false }).level,
    STORE,
    'at least so fast',
  );
  assert.equal(new CompressionControl(null, { msPerByte: 1 / 1.5e5, isMeasured: false }).level, LZ);
  assert.equal(new CompressionControl(null, { ...known, msPerByte: 1 / 1.25e5 }).level, LZ);
  assert.equal(new CompressionControl(1.25e5, known).level, LZ, 'a bandwidth limit is a slower link');
  for (const crowd of [1, 1.8]) {
    const slower = run(new CompressionControl(null, known), laneOf(6e4, { crowd, isLinkKnown: true }), 10);
    assert.ok(
      slower.levels.slice(5).every((level) => level >= LZ),
      `crowd ${crowd}: ${slower.levels.join(' ')}`,
    );
  }
});

test('on a crowded host a lane leaves storing for lz, whatever a level that was never tried is hoped to cost', () => {
  const known = { msPerByte: 1 / 6e5, isMeasured: true };
  for (const link of [1.25e4, 3e4, 6e4]) {
    // Harder levels are the best by far, and nearly free: what one span hopes for would be enough.
    const lane = laneOf(link, { crowd: 1.8, isLinkKnown: true, saving: 0.9 });
    const { levels } = run(new CompressionControl(null, known), lane, 20);
    assert.equal(
      levels.find((level) => level !== STORE),
      LZ,
      levels.join(' '),
    );
  }
});

test('a short migration tries nothing in vain', () => {
  for (const crowd of [1, 1.8]) {
    const { levels } = run(new CompressionControl(null), laneOf(1.25e5, { crowd }), 20);
    assert.ok(Math.min(...levels) >= LZ, levels.join(''));
  }
});

test('a bandwidth limit counts as a link', () => {
  const fast = laneOf(1.25e6);
  const limited = new CompressionControl(1.25e4);
  assert.ok(run(limited, { ...fast, linkBytesPerMs: 1.25e4 }, 40).levels.at(-1)! > LZ);
});

test('a slow destination is no reason to compress harder', () => {
  const lane = laneOf(1.25e6, { destinationMs: 20 });
  const { levels } = run(new CompressionControl(null), lane, 60);
  assert.ok(Math.max(...levels) <= LZ, levels.join());
});

test('on a crowded host waiting for a processor is not taken for waiting for the link', () => {
  const { levels } = run(new CompressionControl(null), laneOf(1.25e6, { crowd: 1.8 }), 80);
  assert.equal(levels.at(-1), 0, levels.join(''));
});

test('on a crowded host a slow link is found all the same', () => {
  for (const link of [1.25e4, 4e4, 1e5]) {
    const lane = laneOf(link, { crowd: 1.8 });
    const { batchMs: times, levels } = run(new CompressionControl(null), lane, 200);
    const best = bestOf(lane);
    assert.ok(
      mean(times.slice(40)) < 1.1 * best.ms,
      `${mean(times.slice(40))} ms, best ${best.ms}: ${levels.join('')}`,
    );
  }
});

/** Spans of a lane on two processors that guest, QEMU and both agents shared, over 1 Gbit/s: it was never blocked. */
test('what buffers take up, and who waits for a shared processor, say nothing of the link', () => {
  const measured = { msPerByte: 1 / 112e3, isMeasured: true };
  const control = new CompressionControl(null, measured);
  const spans = [
    { spanMs: 101, busyMs: 60, cpuMs: 60, hostIdle: 0.16, destinationBusyMs: 93, wireBytes: 4.2e6, ackedBytes: 4.3e6 },
    { spanMs: 107, busyMs: 53, cpuMs: 56, hostIdle: 0.19, destinationBusyMs: 58, wireBytes: 2.8e6, ackedBytes: 1.1e6 },
    { spanMs: 103, busyMs: 34, cpuMs: 29, hostIdle: 0.25, destinationBusyMs: 77, wireBytes: 2.2e6, ackedBytes: 2.7e6 },
    { spanMs: 100, busyMs: 20, cpuMs: 18, hostIdle: 0.3, destinationBusyMs: 12, wireBytes: 2.6e6, ackedBytes: 0.2e6 },
  ];
  for (const [i, span] of spans.entries()) {
    for (let batch = 0; batch < 4; batch++) control.packed(BATCH, 0.21 * BATCH, 2.7);
    control.spanEnded({ ...span, nowMs: 100 * (i + 1), blockedMs: 0, link: null });
    assert.equal(control.level, LZ, `span ${i}`);
    assert.deepEqual(control.link, measured, `span ${i}`);
  }
});

/** A span of the demo's guest over 1 Gbit/s. */
test('batches of a few deltas, which cost what any batch costs, say nothing of what a byte costs', () => {
  const work = { spanMs: 105, busyMs: 84, cpuMs: 50, hostIdle: 0.05, destinationBusyMs: 50 };
  const span = {
    ...work,
    blockedMs: 0,
    wireBytes: 3.9e6,
    ackedBytes: 3.9e6,
    link: { msPerByte: 1 / 79e3, isMeasured: true },
  };
  for (const when of ['never', 'before', 'after']) {
    const control = new CompressionControl(null);
    const deltas = (): void => {
      for (let batch = 0; batch < 20; batch++) control.packed(20 + batch, 30, 0.05);
    };
    for (let i = 0; i < 30; i++) {
      if (i % 10 === 9 && when === 'before') deltas();
      for (let batch = 0; batch < 10; batch++) control.packed(BATCH, 0.36 * BATCH, 3.5);
      if (i % 10 === 9 && when === 'after') deltas();
      control.spanEnded({ ...span, nowMs: 100 * (i + 1) });
      assert.equal(control.level, LZ, `span ${i}, deltas ${when}`);
    }
  }
});

test('a link that carries at least half of what a lane packs is soon tried with storing on a crowded host', () => {
  const lane = laneOf(1.25e6, { crowd: 1.8 });
  const control = new CompressionControl(null);
  const { levels, nowMs } = run(control, lane, 3);
  assert.ok(!levels.includes(STORE), `nobody knows the link: ${levels.join('')}`);
  const proved = run(control, { ...lane, provedBytesPerMs: 2e5 }, 12, nowMs);
  assert.ok(
    proved.levels.slice(6).every((level) => level === STORE),
    proved.levels.join(''),
  );
});

test('on a crowded host of which the kernel knows the link, storing is chosen within a second where it is much quicker, and nowhere else', () => {
  // Spans of two crowded processors: one and the same lane is now 40 % quicker and now 40 % slower.
  const jitter = fc.array(fc.double({ min: 0.6, max: 1.4, noNaN: true }), { minLength: 20, maxLength: 20 });
  fc.assert(
    fc.property(jitter, fc.boolean(), (factors, isFast) => {
      const control = new CompressionControl(null);
      const lane = laneOf(isFast ? 1.25e6 : 1.18e5, { crowd: 1.8, saving: 0.65, isLinkKnown: true });
      let nowMs = 0;
      const levels = factors.map((factor) => {
        const costMs = lane.costMs.map((ms) => ms * factor);
        const spans = run(control, { ...lane, costMs, destinationMs: lane.destinationMs / factor }, 1, nowMs);
        nowMs = spans.nowMs;
        return spans.levels[0]!;
      });
      assert.equal(levels.at(isFast ? 12 : -1), isFast ? STORE : LZ, levels.join(''));
    }),
    { numRuns: 300 },
  );
});

test('on a crowded host a link of 1 Gbit/s is not filled with what can be packed, though storing is nearly twice as quick', () => {
  const lane = laneOf(1.4e5, { crowd: 4, saving: 0.65, otherMs: 2.2, lzMs: 3.6, isLinkKnown: true });
  const gain = batchMs(lane, STORE) / batchMs(lane, LZ);
  assert.ok(gain > 0.5 && gain < 0.6, String(gain));
  const { levels } = run(new CompressionControl(null), lane, 40);
  assert.deepEqual(new Set(levels), new Set([LZ]));
});

test('when the link changes, the level follows', () => {
  const control = new CompressionControl(null);
  const slow = laneOf(1.25e4);
  const fast = laneOf(1.25e6);
  const first = run(control, slow, 30);
  const second = run(control, fast, 60, first.nowMs);
  const third = run(control, slow, 30, second.nowMs);
  assert.ok(first.levels.at(-1)! > LZ && second.levels.at(-1) === STORE && third.levels.at(-1)! > LZ);
});

/** What the control makes small. */
function weightOf(lane: Lane, level: number, ms: number): number {
  const sent = 1 - lane.savings[level]!;
  return weighed(ms, (BATCH * sent) / lane.linkBytesPerMs, sent);
}

// Of 40,000 lanes two were more than 20 % off, the worst 21 %. The table is wrong by up to 15 % either way, and a level that was never tried is hoped to be 10 % better than it says.
test('over random lanes it comes within 3 % of the fastest level on average, with bytes weighed within a quarter at worst, and stays calm', () => {
  const ratios: number[] = [];
  const noise = fc.double({ min: 0.85, max: 1.15, noNaN: true });
  const lanes = fc.record({
    otherMs: fc.double({ min: 0.3, max: 4, noNaN: true }),
    lzMs: fc.double({ min: 0.5, max: 8, noNaN: true }),
    saving: fc.double({ min: 0.1, max: 0.75, noNaN: true }),
    linkExponent: fc.double({ min: 3.5, max: 6.5, noNaN: true }),
    destinationMs: fc.double({ min: 0.3, max: 4, noNaN: true }),
    wireShare: fc.double({ min: 0.15, max: 0.45, noNaN: true }),
    unpackShare: fc.double({ min: 0.4, max: 0.6, noNaN: true }),
    noise: fc.array(noise, { minLength: compressionLevels.length, maxLength: compressionLevels.length }),
  });
  fc.assert(
    fc.property(
      lanes,
      ({ otherMs, lzMs, saving, linkExponent, destinationMs, wireShare, unpackShare, noise: factors }) => {
        const table = laneOf(10 ** linkExponent, {
          ...{ otherMs, destinationMs, lzMs, saving },
          ...{ wireMs: wireShare * lzMs, unpackMs: unpackShare * lzMs },
        });
        const lane = { ...table, costMs: table.costMs.map((ms, i) => ms * factors[i]!) };
        const { batchMs: times, levels } = run(new CompressionControl(null), lane, 140);
        const best = bestOf(lane);
        const late = mean(times.slice(40).map((ms, i) => weightOf(lane, levels[40 + i]!, ms)));
        const least = Math.min(...lane.savings.map((_, level) => weightOf(lane, level, batchMs(lane, level))));
        assert.ok(
          late <= least * 1.25,
          `${late.toFixed(2)} ms, at best ${least.toFixed(2)}, level ${best.level} is the fastest: ${levels.join('')}`,
        );
        ratios.push(mean(times.slice(40)) / best.ms);
        const changes = levels.slice(40).filter((level, i) => level !== levels[39 + i]).length;
        assert.ok(changes <= 20, `${changes} changes: ${levels.join('')}`);
      },
    ),
    { numRuns: 500 },
  );
  assert.ok(mean(ratios) < 1.03, `${mean(ratios)} on average`);
});
