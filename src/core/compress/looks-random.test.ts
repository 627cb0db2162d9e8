import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { looksRandom } from './looks-random.ts';

const PAGE = 4096;

test('random bytes look so, wherever they begin; text, numbers and zeros do not', () => {
  for (const [bytes, looks] of [
    [PAGE, 512],
    [64 * PAGE, 4096],
  ] as const) {
    const text = Buffer.alloc(bytes, 'a line of text that packs well\n');
    const numbers = Buffer.from(Uint32Array.from({ length: bytes / 4 }, (_, i) => i * 3).buffer);
    for (const content of [text, numbers, Buffer.alloc(bytes)]) assert.ok(!looksRandom(content, 0, bytes, looks));
    for (let i = 0; i < 200; i++) assert.ok(looksRandom(randomBytes(bytes), 0, bytes, looks));
    const behindText = Buffer.concat([text, randomBytes(bytes)]);
    assert.ok(looksRandom(behindText, bytes, bytes, looks) && !looksRandom(behindText, 0, bytes, looks));
  }
});
