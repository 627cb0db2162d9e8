import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Narrator } from './narrator.ts';

function narratorFor(isTerminal: boolean): { narrator: Narrator; text: () => string } {
  let text = '';
  const write = (more: string): void => void (text += more);
  return { narrator: new Narrator({ write, isTerminal: () => isTerminal, nowMs: () => 0 }), text: () => text };
}

test('a step is one line where there is no terminal', async () => {
  const { narrator, text } = narratorFor(false);
  await narrator.during('booting', Promise.resolve(3), (value) => `${value} guests`);
  assert.equal(text(), '  booting: 3 guests (0.0 ms)\n');
});

test('on a terminal the running step is replaced by its result', async () => {
  const { narrator, text } = narratorFor(true);
  await narrator.during('booting', Promise.resolve());
  assert.equal(text(), '\r\u001b[K  booting ... 0 s\r\u001b[K  booting: done (0.0 ms)\n');
});

test('a step that fails says so and throws', async () => {
  const { narrator, text } = narratorFor(false);
  await assert.rejects(narrator.during('booting', Promise.reject(new Error('no memory'))), /no memory/);
  assert.equal(text(), '  booting: failed\n');
});
