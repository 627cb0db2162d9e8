import assert from 'node:assert/strict';
import { test } from 'node:test';
import { benchCases, caseOf } from './cases.ts';
import { BenchError } from './errors.ts';
import { benchModes, modeOf } from './modes.ts';
import { setNames } from './set-names.ts';
import { cellsOfSet } from './sets.ts';
import { cellKey } from './schedule.ts';

test('names of cases and modes are unique', () => {
  for (const all of [benchCases, benchModes]) {
    const names = all.map(({ name }) => name);
    assert.deepEqual(names, [...new Set(names)]);
  }
});

test('every set has cells, no cell twice, and the modes of a case and link side by side', () => {
  for (const set of setNames) {
    const cells = cellsOfSet(set, {});
    const keys = cells.map(cellKey);
    assert.ok(cells.length > 5);
    assert.deepEqual(keys, [...new Set(keys)]);
    const places = cells.map(({ case: name, link }) => `${name} ${link}`);
    const changes = places.filter((place, index) => place !== places[index - 1]).length;
    assert.equal(changes, new Set(places).size, set);
  }
});

test('a choice takes the place of what the set has', () => {
  const cells = cellsOfSet('main', { cases: ['slow'], modes: ['vmferry-mplm', 'qemu-default'], links: ['100mbit'] });
  assert.deepEqual(cells.map(cellKey), ['slow 100mbit vmferry-mplm', 'slow 100mbit qemu-default']);
  const modes = new Set(cellsOfSet('quick', { cases: ['mg'] }).map(({ mode }) => mode));
  assert.ok(modes.has('vmferry-auto') && modes.has('qemu-default'));
});

test('what does not exist is refused, with what there is', () => {
  const refused = (choice: Parameters<typeof cellsOfSet>[1], hint: RegExp): void =>
    assert.throws(
      () => cellsOfSet('main', choice),
      (error) => error instanceof BenchError && error.code === 'BENCH_CHOICE' && hint.test(error.message),
    );
  refused({ cases: ['slwo'] }, /"slwo".*slow/);
  refused({ modes: ['qemu'] }, /"qemu".*qemu-default/);
  refused({ links: ['1gb'] }, /"1gb".*1gbit/);
  assert.throws(() => caseOf(''), BenchError);
});

test('a mode of vmferry may have further options in its name', () => {
  const mode = modeOf('vmferry-dsm:compress=none:lanes=2');
  assert.deepEqual(mode.family === 'vmferry' && mode.options, {
    strategy: 'dsm',
    pull: true,
    compress: 'none',
    lanes: 2,
  });
  assert.equal(mode.name, 'vmferry-dsm:compress=none:lanes=2');
  for (const wrong of [
    'vmferry-auto:lanes=0',
    'vmferry-auto:compress=zip',
    'vmferry-auto:speed=1',
    'qemu-default:lanes=2',
  ]) {
    assert.throws(() => modeOf(wrong), BenchError, wrong);
  }
});

test("QEMU's modes take a maximum downtime, and nothing else", () => {
  const mode = modeOf('qemu-default:downtime=5000');
  assert.ok(mode.family === 'qemu');
  assert.deepEqual(
    [mode.name, mode.native, mode.downtimeLimitMs],
    ['qemu-default:downtime=5000', 'qemu-default', 5000],
  );
  for (const name of ['qemu-default:lanes=2', 'qemu-default:downtime=0', 'qemu-default:downtime=5s', 'qemu-default:']) {
    assert.throws(() => modeOf(name), { code: 'BENCH_CHOICE' }, name);
  }
});
