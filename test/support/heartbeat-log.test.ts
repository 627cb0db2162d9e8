import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeartbeatLog } from './heartbeat-log.ts';

function packet(sequence: number, clock = sequence * 1000): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt(sequence), 0);
  bytes.writeBigUInt64LE(BigInt(clock), 8);
  return bytes;
}

function reportOf(...packets: readonly (readonly [sequence: number, atMs: number, clock?: number])[]) {
  const log = new HeartbeatLog();
  for (const [sequence, atMs, clock] of packets) log.received(packet(sequence, clock), atMs);
  return log.report;
}

const nothing = { packets: 0, lost: 0, overtaken: 0, repeated: 0, contradicted: 0, longestGapMs: 0, longestGapAtMs: 0 };

test('packets in order, one of them lost, and the longest gap', () => {
  assert.deepEqual(reportOf(), nothing);
  const report = reportOf([5, 100], [6, 101], [8, 140], [9, 141]);
  assert.deepEqual(report, { ...nothing, packets: 4, lost: 1, longestGapMs: 39, longestGapAtMs: 101 });
});

test('a packet that was overtaken is neither lost nor a second guest', () => {
  const { lost, overtaken, contradicted } = reportOf([1, 0], [3, 1], [2, 1], [4, 2]);
  assert.deepEqual([lost, overtaken, contradicted], [0, 1, 0]);
});

test('the same packet again is told apart from a guest that ran on twice', () => {
  const { repeated, contradicted, overtaken } = reportOf([1, 0], [2, 1], [2, 1], [3, 2], [2, 3, 7], [3, 4, 8]);
  assert.deepEqual([repeated, contradicted, overtaken], [1, 2, 0]);
});
