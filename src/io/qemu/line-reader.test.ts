import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineReader } from './line-reader.ts';

test('lines come out whole however the bytes are cut', () => {
  const bytes = Buffer.from('{"a":"ä"}\r\n\n{"b":2}\nrest');
  for (let cut = 0; cut <= bytes.length; cut++) {
    const reader = new LineReader(100);
    const lines = [...(reader.push(bytes.subarray(0, cut)) ?? []), ...(reader.push(bytes.subarray(cut)) ?? [])];
    assert.deepEqual(lines, ['{"a":"ä"}', '', '{"b":2}'], `cut at ${cut}`);
  }
});

test('a line longer than allowed is refused, ended or not', () => {
  assert.deepEqual(new LineReader(4).push(Buffer.from('1234\n')), ['1234']);
  assert.equal(new LineReader(4).push(Buffer.from('12345\n')), null);
  const reader = new LineReader(4);
  assert.deepEqual(reader.push(Buffer.from('123')), []);
  assert.equal(reader.push(Buffer.from('45')), null);
});
