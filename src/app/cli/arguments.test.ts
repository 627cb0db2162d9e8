import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { nameList } from './arguments.ts';

test('a list of names may be given at once, one by one, or both', () => {
  for (const argv of [
    ['--case', 'a,b,c'],
    ['--case', 'a', '--case', 'b', '--case', 'c'],
    ['--case', 'a,', '--case', 'b,c'],
  ]) {
    const program = new Command().option('--case <names>', 'some', nameList).parse(argv, { from: 'user' });
    assert.deepEqual(program.opts<{ case: string[] }>().case, ['a', 'b', 'c']);
  }
});
