import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCommand, RespError, RespReader } from './resp-reader.ts';
import type { RespReply } from './resp-reader.ts';

const stream = '+OK\r\n-ERR no\r\n:17\r\n$5\r\na\r\nbc\r\n$-1\r\n$0\r\n\r\n:-3\r\n';
const replies: readonly RespReply[] = [
  { type: 'text', text: 'OK' },
  { type: 'error', text: 'ERR no' },
  { type: 'integer', value: 17 },
  { type: 'text', text: 'a\r\nbc' },
  { type: 'nothing' },
  { type: 'text', text: '' },
  { type: 'integer', value: -3 },
];

test('replies are the same however the bytes are split', () => {
  const bytes = Buffer.from(stream);
  for (let split = 0; split <= bytes.length; split++) {
    const reader = new RespReader();
    const found = [...reader.push(bytes.subarray(0, split)), ...reader.push(bytes.subarray(split))];
    assert.deepEqual(found, replies, `split at ${split}`);
  }
});

test('commands are arrays of words with their lengths in bytes', () => {
  assert.equal(encodeCommand('SET', 'ü', ''), '*3\r\n$3\r\nSET\r\n$2\r\nü\r\n$0\r\n\r\n');
});

test('what is malformed or too large is refused', () => {
  for (const text of ['x\r\n', '$x\r\n', '$-2\r\n', '$99999999\r\n', ':1e3\r\n', '$1\r\nabc', `+${'a'.repeat(5000)}`]) {
    assert.throws(() => new RespReader().push(Buffer.from(text)), RespError, text.slice(0, 20));
  }
});
