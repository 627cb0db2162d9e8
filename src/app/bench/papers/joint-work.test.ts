import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jointPoints, rateBetween } from './joint-work.ts';

const text = `R linpack seq=1 ms=1000 work=10 bad=0
R linpack seq=1 ms=1020 work=30 bad=0
R other seq=2 ms=1500 work=9 bad=0
R linpack seq=2 ms=2000 work=40 bad=1
R linpack seq=2 ms=2040 work=50 bad=0
R linpack seq=3 ms=3000 work=70 bad=1
`;

test('lines of one number are added up once all instances have said them', () => {
  assert.deepEqual(jointPoints(text, 'linpack', 2), [
    { sequence: 1, guestMs: 1010, work: 40, failures: 0 },
    { sequence: 2, guestMs: 2020, work: 90, failures: 1 },
  ]);
  assert.deepEqual(
    jointPoints(text, 'other', 1).map(({ work }) => work),
    [9],
  );
  assert.deepEqual(jointPoints('', 'linpack', 1), []);
});

test('a rate is that of the guest’s own clock', () => {
  const [first, second] = jointPoints(text, 'linpack', 2);
  assert.equal(rateBetween(first!, second!), (50 / 1010) * 1000);
});
