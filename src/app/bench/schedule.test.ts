import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { remainingSteps, stepKey, stepsOf, timeToGoMs } from './schedule.ts';
import type { Cell } from './schedule.ts';

const cells: readonly Cell[] = ['a', 'b', 'c'].map((mode) => ({ case: 'slow', link: '1gbit', mode }));

test('modes take turns, and each run begins with the next one', () => {
  const order = stepsOf(cells, 4).map(({ mode, run }) => `${mode}${run}`);
  assert.deepEqual(order, ['a1', 'b1', 'c1', 'b2', 'c2', 'a2', 'c3', 'a3', 'b3', 'a4', 'b4', 'c4']);
});

test('the modes of each case and link take turns among themselves', () => {
  const both = [
    ...cells,
    { case: 'fast', link: '1gbit', mode: 'a' } as const,
    { ...cells[0]!, link: '10gbit' } as const,
  ];
  const second = stepsOf(both, 2).filter(({ run }) => run === 2);
  assert.deepEqual(
    second.map(({ case: name, link, mode }) => `${name} ${link} ${mode}`),
    ['slow 1gbit b', 'slow 1gbit c', 'slow 1gbit a', 'fast 1gbit a', 'slow 10gbit a'],
  );
});

test('over as many runs as there are modes each is the first once, and every step is there once', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), (count) => {
      const many = Array.from({ length: count }, (_, n) => ({ case: 'slow', link: '1gbit' as const, mode: `m${n}` }));
      const steps = stepsOf(many, count);
      assert.equal(new Set(steps.map(stepKey)).size, count * count);
      assert.equal(new Set(steps.filter((_, n) => n % count === 0).map(({ mode }) => mode)).size, count);
    }),
  );
});

test('what is done is left out, wherever the interruption was, and the rest keeps its order', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 15 }), (runs, made) => {
      const steps = stepsOf(cells, runs);
      const left = remainingSteps(steps, steps.slice(0, made));
      assert.deepEqual(left.map(stepKey), steps.slice(made).map(stepKey));
    }),
  );
});

test('more runs of a bench that has ended are those that are new', () => {
  const left = remainingSteps(stepsOf(cells, 3), stepsOf(cells, 2));
  assert.deepEqual(
    left.map(({ run }) => run),
    [3, 3, 3],
  );
});

test('a step of another case, link or run is not taken for done', () => {
  const [step] = stepsOf(cells, 1);
  assert.ok(step !== undefined);
  for (const other of [
    { ...step, run: 2 },
    { ...step, case: 'fast' },
    { ...step, link: '10gbit' as const },
  ])
    assert.deepEqual(remainingSteps([step], [other]), [step]);
});

test('the time to go is learned from the same cell, then from the same case, then from the mode', () => {
  const [a, b] = cells as readonly [Cell, Cell];
  const left = [{ ...a, run: 2 }];
  const paces = [
    { ...a, tookMs: 10 },
    { ...b, tookMs: 30 },
    { ...a, case: 'fast', tookMs: 1000 },
  ];
  assert.equal(timeToGoMs(left, paces), 10);
  assert.equal(timeToGoMs(left, paces.slice(1)), 30);
  assert.equal(timeToGoMs(left, paces.slice(2)), 1000);
  assert.equal(timeToGoMs([...left, ...left], paces), 20);
  assert.ok(timeToGoMs(left, []) > 0);
});
