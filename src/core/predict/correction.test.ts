import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { PastMove, Prediction, Range } from '../model/prediction.ts';
import { SimRandom } from '../strategy/sim-random.ts';
import { corrected, correctionOf, movesTo, uncorrected, usualTimes } from './correction.ts';

const range = (expected: number, width = 1.2): Range => ({ low: expected / width, expected, high: expected * width });
const prediction: Prediction = {
  ...{ strategy: 'auto', limitedBy: 'link' },
  ...{ totalMs: range(2000), downtimeMs: range(100), wireBytes: range(100e6) },
};

/** A move that took `ratio` times what was expected in every respect. */
function move(ratio: number, change: Partial<PastMove> = {}): PastMove {
  const figure = { measured: 1000 * ratio, range: range(1000) };
  const figures = { totalMs: figure, downtimeMs: figure, wireBytes: figure };
  return {
    strategy: 'auto',
    destination: 'b',
    linkBytesPerSecond: 110e6,
    beforeMs: 200,
    afterMs: 10,
    figures,
    ...change,
  };
}

const ratioArbitrary = fc.double({ min: 0.2, max: 5, noNaN: true });

test('without moves, or with moves of which nothing was expected, a prediction stays what it was', () => {
  assert.deepEqual(corrected(prediction, []), prediction);
  assert.deepEqual(corrected(prediction, [move(3, { figures: null }), move(3, { figures: null })]), prediction);
});

test('moves to other hosts, or over another link, do not count', () => {
  const others = [move(3, { destination: 'c' }), move(1.5), move(2, { linkBytesPerSecond: 12e6 })];
  assert.deepEqual(movesTo(others, 'b', 100e6), [others[1]]);
});

test('a bias that is always the same is learned', () => {
  fc.assert(
    fc.property(fc.double({ min: 0.55, max: 1.8, noNaN: true }), (bias) => {
      const errorAfter = (count: number): number => {
        const { totalMs } = corrected(
          prediction,
          Array.from({ length: count }, () => move(bias)),
        );
        return Math.abs(Math.log(totalMs.expected / (2000 * bias)));
      };
      assert.ok(errorAfter(30) < 0.02, `${errorAfter(30)}`);
      assert.ok(errorAfter(3) <= errorAfter(1) + 1e-9 && errorAfter(10) <= errorAfter(3) + 1e-9);
    }),
  );
});

test('one move that went quite otherwise changes little, whatever it was', () => {
  const others = Array.from({ length: 8 }, (_, i) => move(1 + (i - 4) / 100));
  fc.assert(
    fc.property(fc.double({ min: 0.01, max: 100, noNaN: true }), fc.nat(8), (ratio, at) => {
      const { factor } = correctionOf(others.toSpliced(at, 0, move(ratio)), 'auto', 'totalMs');
      assert.ok(factor > 0.95 && factor < 1.05, `${factor} after a ratio of ${ratio}`);
    }),
  );
});

test('whatever the moves were: a factor within its bounds, a range around its value, and the way back', () => {
  fc.assert(
    fc.property(fc.array(ratioArbitrary, { maxLength: 60 }), (ratios) => {
      const found = corrected(
        prediction,
        ratios.map((ratio) => move(ratio)),
      );
      for (const figure of ['totalMs', 'downtimeMs', 'wireBytes'] as const) {
        const { low, expected, high } = found[figure];
        assert.ok(
          low > 0 && low <= expected && expected <= high && Number.isFinite(high),
          `${low} ${expected} ${high}`,
        );
        const factor = expected / prediction[figure].expected;
        assert.ok(factor >= 0.5 - 1e-9 && factor <= 2 + 1e-9, `${factor}`);
        const back = uncorrected(found, figure).expected;
        assert.ok(Math.abs(back - prediction[figure].expected) < 1e-6 * back);
      }
    }),
  );
});

test('a strategy that goes otherwise than the others is learned by itself', () => {
  const moves = Array.from({ length: 12 }, (_, i) =>
    move(i % 2 === 0 ? 1 : 1.5, { strategy: i % 2 === 0 ? 'auto' : 'mplm' }),
  );
  assert.ok(correctionOf(moves, 'auto', 'totalMs').factor < 1.1);
  assert.ok(correctionOf(moves, 'mplm', 'totalMs').factor > 1.35);
  const none = correctionOf(moves, 'precopy', 'totalMs').factor;
  assert.ok(none > 1.1 && none < 1.35, `${none}: what is common to both`);
});

test('ratios that scatter widen the range, ratios that agree narrow it', () => {
  const widthOf = (ratios: readonly number[]): number => {
    const { low, high } = corrected(
      prediction,
      ratios.map((ratio) => move(ratio)),
    ).totalMs;
    return high / low;
  };
  const same = widthOf(Array.from({ length: 20 }, () => 1.1));
  const scattered = widthOf(Array.from({ length: 20 }, (_, i) => 0.6 + i / 15));
  assert.ok(same < 1.44 / 1.1 && scattered > 1.6, `${same} ${scattered}, and 1.44 without moves`);
});

/** Whatever the spread of the machine: its next move lies in the range four times of five. Planted: a width of half of it fails. */
test('the range holds at least 80 % of what comes next', () => {
  const random = new SimRandom(7);
  const normal = (): number => Array.from({ length: 12 }, () => random.fraction()).reduce((a, b) => a + b, -6);
  for (const [bias, sigma, count] of [
    [1.3, 0.05, 10],
    [0.8, 0.15, 10],
    [1, 0.3, 20],
    [1.1, 0.1, 5],
  ] as const) {
    const draws = 2000;
    const held = Array.from({ length: draws }, () => {
      const next = (): number => bias * Math.exp(sigma * normal());
      const { low, high } = corrected(
        prediction,
        Array.from({ length: count }, () => move(next())),
      ).totalMs;
      const measured = 2000 * next();
      return measured >= low && measured <= high ? 1 : 0;
    }).reduce((a: number, b) => a + b, 0);
    assert.ok(held / draws >= 0.8, `bias ${bias}, spread ${sigma}, ${count} moves: ${held / draws}`);
  }
});

test("a host's own times count the more, the more of them are known", () => {
  const usual = { beforeMs: 220, afterMs: 15 };
  assert.deepEqual(usualTimes([], usual), usual);
  const slow = Array.from({ length: 20 }, () => move(1, { beforeMs: 900, afterMs: 50, figures: null }));
  const { beforeMs, afterMs } = usualTimes(slow, usual);
  assert.ok(beforeMs > 820 && beforeMs <= 900 && afterMs > 45 && afterMs <= 50, `${beforeMs} ${afterMs}`);
  assert.ok(usualTimes(slow.slice(0, 1), usual).beforeMs < 500);
});
