import assert from 'node:assert/strict';
import { test } from 'node:test';
import { samplePlan } from '../../../core/api/testing.ts';
import { planLines } from './plan.ts';

test('a plan for people: what was seen, a table that lines up, the recommendation', () => {
  const lines = planLines(samplePlan);
  const text = lines.join('\n');
  assert.match(text, /^VM "web" to host "host-b", looked at for 3\.00 s:$/m);
  assert.match(text, /^ {2}writes +about 160 Mbit\/s, to 128 MiB of it$/m);
  assert.match(text, /^ +STRATEGY +TOTAL TIME +DOWNTIME +ON THE WIRE +LIMITED BY$/m);
  assert.match(text, /^> {2}auto +2\.50 s \(2\.00 s to 3\.25 s\) +120 ms .* processors$/m);
  assert.match(text, /^ {3}mplm /m);
  assert.match(text, /^Recommended: auto: it takes about 2\.5 s/m);
  const rows = lines.filter((line) => line.endsWith('processors') && !line.startsWith('Recommended'));
  assert.equal(new Set(rows.map((row) => row.indexOf('processors'))).size, 1, text);
});

test('what forbids the move is listed, and what could not be measured is said', () => {
  const plan = {
    ...samplePlan,
    problems: [{ code: 'NO_BRIDGE', message: 'Host "host-b" has no bridge "br0".' }],
    link: { bytesPerS: null, roundTripMs: null },
    notes: ['The link could not be measured; 1 Gbit/s is assumed.'],
  };
  const text = planLines(plan).join('\n');
  assert.match(text, /It cannot be moved \(1\):\n {2}- Host "host-b" has no bridge/);
  assert.match(text, /link +not known$/m);
  assert.match(text, /^Note: The link could not be measured/m);
});
