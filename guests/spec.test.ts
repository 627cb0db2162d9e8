import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CpioArchive } from './cpio.ts';
import { parseWorkLines, parseWriterLines } from './spec.ts';

test('writer lines are read from a console log, torn and other lines are not', () => {
  const log = 'READY ms=1\r\nW seq=5 ms=70 gap=2 bad=0\r\nL seq=9 ms=8\nW seq=6 ms=80 gap=1 bad=3\nW seq=7 ms';
  assert.deepEqual(parseWriterLines(log), [
    { sequence: 5, guestMs: 70, gapMs: 2, corruptedWords: 0 },
    { sequence: 6, guestMs: 80, gapMs: 1, corruptedWords: 3 },
  ]);
});

test('lines of working programs are read, torn and other ones are not', () => {
  const log =
    'R dhrystone seq=3 ms=900 work=12 bad=0\r\nW seq=5 ms=70 gap=2 bad=0\nR mg seq=1 ms=7 work=5 bad=1\nR is seq=2 ms=9 wor';
  assert.deepEqual(parseWorkLines(log), [
    { name: 'dhrystone', sequence: 3, guestMs: 900, work: 12, failures: 0 },
    { name: 'mg', sequence: 1, guestMs: 7, work: 5, failures: 1 },
  ]);
});

test('an archive is what cpio(1) calls newc: magic, name, padding to four bytes, trailer', () => {
  const archive = new CpioArchive();
  archive.file('a', new TextEncoder().encode('hello'), 0o644);
  const text = Buffer.from(archive.bytes()).toString('latin1');
  assert.equal(text.slice(0, 14), '07070100000001');
  assert.equal(text.slice(14, 22), '000081a4');
  assert.equal(text.slice(110, 120), 'a\0hello\0\0\0');
  assert.match(text, /TRAILER!!!/);
  assert.equal(text.length % 4, 0);
});
