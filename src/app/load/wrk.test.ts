import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWrk } from './wrk.ts';

/** As wrk 4.1.0 prints it. */
const head = `Running 5m test @ http://198.18.1.10/small-0
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.05ms    9.66ms 285.01ms   99.28%
    Req/Sec     2.91k   324.53     3.20k    92.31%
`;
const tail = `Requests/sec:   2899.99
Transfer/sec:      0.97MB
`;

test('what wrk saw', () => {
  const sound = `${head}  11597 requests in 4.00s, 3.88MB read\n${tail}`;
  assert.deepEqual(parseWrk(sound), {
    ...{ requests: 11_597, failedRequests: 0, lostConnections: 0, longestLatencyMs: 285.01 },
  });
  const errors = '  Socket errors: connect 1, read 20, write 300, timeout 4\n  Non-2xx or 3xx responses: 50\n';
  const broken = `${head}  11597 requests in 4.00s, 3.88MB read\n${errors}${tail}`;
  assert.deepEqual(parseWrk(broken), {
    ...{ requests: 11_597, failedRequests: 54, lostConnections: 321, longestLatencyMs: 285.01 },
  });
  assert.equal(parseWrk(sound.replace('285.01ms', '1.52s'))?.longestLatencyMs, 1520);
  assert.equal(parseWrk('unable to connect to 198.18.1.10:http Connection refused\n'), null);
});
