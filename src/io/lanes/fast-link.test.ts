import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fastLink } from './fast-link.ts';

/** Mbit/s to bytes per millisecond. */
const rate = (mbitPerS: number): number => (mbitPerS * 1000) / 8;

test('a link is fast when the kernel says so of each of several probes', () => {
  assert.equal(fastLink([18_375, 7372, 4546].map(rate)), 1 / rate(4546), 'the least counts');
  assert.equal(fastLink([10_054, 963, 15_796].map(rate)), null, 'bursts of a shaper at 1 Gbit/s');
  assert.equal(fastLink([2900, 2900, 2900].map(rate)), null, 'a lane packs faster');
});

test('a link is not fast when the kernel says nothing, or too little', () => {
  assert.equal(fastLink([]), null, 'a slow link is probed once');
  assert.equal(fastLink([18_375, 7372].map(rate)), null);
  assert.equal(fastLink([rate(18_375), null, rate(7372)]), null);
});
