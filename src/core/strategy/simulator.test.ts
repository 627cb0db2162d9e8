import assert from 'node:assert/strict';
import { test } from 'node:test';
import { simulate, type SimulationOptions, type SimulationResult } from './simulator.ts';

const GIB_PAGES = 262_144;
/** 1 GiB, full, idle, two lanes, 1 Gbit/s, incompressible. */
const usual: SimulationOptions = {
  strategy: 'precopy',
  seed: 1,
  pages: GIB_PAGES,
  usedShare: 1,
  workload: { pagesPerMs: 0 },
  lanes: 2,
  feedHold: 'strict',
  linkBytesPerSecond: 125e6,
  roundTripMs: 1,
  wireBytesPerPage: 4096,
  downtimeTargetMs: 300,
  maxRounds: 30,
  intervalMs: 3000,
  maxBandwidthBytesPerSecond: null,
};

/** What holds for every run, whatever comes out of it. */
function run(options: Partial<SimulationOptions>): SimulationResult {
  const result = simulate({ ...usual, ...options });
  assert.ok(result.ended, 'it ends');
  assert.equal(result.wrongPages, 0);
  let before = 0;
  for (const { progress, timeToGoMs } of result.snapshots) {
    assert.ok(progress >= before && progress < 1, `progress ${progress} after ${before}`);
    assert.ok(timeToGoMs === null || (Number.isFinite(timeToGoMs) && timeToGoMs >= 0));
    before = progress;
  }
  const { rounds, pages, wireBytes } = result.last;
  const sum = (of: (round: (typeof rounds)[number]) => number) => rounds.reduce((total, round) => total + of(round), 0);
  assert.equal(
    sum((round) => round.pagesSent),
    pages.sent,
  );
  assert.equal(
    sum((round) => round.wireBytes),
    wireBytes,
  );
  assert.deepEqual(
    rounds.map((round) => round.round),
    [...rounds.keys()].map((i) => i + 1),
  );
  return result;
}

const MB20 = 20e6 / 4096 / 1000;

test('an idle guest takes one round and no downtime beyond the fixed part', () => {
  const { last, downtimeMs, totalMs } = run({});
  assert.equal(last.rounds.length, 1);
  assert.equal(last.switchover?.reason, 'downtime target met');
  assert.equal(last.pages.resent, 0);
  assert.ok(downtimeMs <= 70, `downtime ${downtimeMs}`);
  assert.ok(totalMs < (GIB_PAGES * 4096) / 125e3 + 150, `total ${totalMs}: the link was busy all the time`);
});

test('20 MB/s over 1 Gbit/s ends within a few rounds, near the predicted downtime', () => {
  const { last, downtimeMs, predictedDowntimeMs } = run({ workload: { pagesPerMs: MB20 } });
  assert.ok(last.rounds.length <= 5, `${last.rounds.length} rounds`);
  assert.equal(last.switchover?.reason, 'downtime target met');
  assert.ok(downtimeMs <= 300, `downtime ${downtimeMs}`);
  assert.ok(
    Math.abs(downtimeMs - (predictedDowntimeMs ?? NaN)) < 100,
    `${downtimeMs}, predicted ${predictedDowntimeMs}`,
  );
});

test('a hot set that one long round cannot tell from a slow writer does not break the target', () => {
  const { last, downtimeMs } = run({ workload: { pagesPerMs: 50, hotPages: 6000 } });
  assert.equal(last.switchover?.reason, 'downtime target met');
  assert.ok(downtimeMs <= 330, `downtime ${downtimeMs}`);
});

test('a guest that writes faster than the link is ended by a stop rule', () => {
  for (const feedHold of ['strict', 'paced'] as const) {
    const { last } = run({ workload: { pagesPerMs: 60 }, pages: 65_536, feedHold });
    assert.match(last.switchover?.reason ?? '', /rounds stopped shrinking|maximum rounds/);
  }
});

test('the most rounds are kept to', () => {
  const { last } = run({ workload: { pagesPerMs: 60 }, pages: 32_768, maxRounds: 2 });
  assert.equal(last.switchover?.reason, 'maximum rounds');
  assert.ok(last.rounds.length <= 3, 'two rounds and what is sent while stopped');
});

test('a target below the fixed part ends nevertheless', () => {
  const { last, downtimeMs } = run({ downtimeTargetMs: 10 });
  assert.equal(last.switchover?.reason, 'rounds stopped shrinking');
  assert.ok(downtimeMs <= 70);
});

test('an old QEMU stops the guest by itself within the target, because it sees our bandwidth', () => {
  for (const workload of [{ pagesPerMs: 0 }, { pagesPerMs: MB20 }, { pagesPerMs: 50, hotPages: 2000 }]) {
    const { last, downtimeMs } = run({ workload, feedHold: 'paced' });
    assert.equal(last.switchover?.reason, 'QEMU stopped the guest by itself');
    assert.ok(downtimeMs <= 300, `downtime ${downtimeMs}`);
  }
});

test('what is in flight stays near 50 ms of a slow or a distant link', () => {
  const slow = run({ linkBytesPerSecond: 12.5e6, pages: 16_384, workload: { pagesPerMs: 0.3 } });
  assert.ok(slow.inFlightMsMax < 100, `slow link: ${slow.inFlightMsMax} ms`);
  const distant = run({ linkBytesPerSecond: 12.5e6, pages: 16_384, roundTripMs: 100 });
  assert.ok(distant.inFlightMsMax < 120, `distant link: ${distant.inFlightMsMax} ms`);
  assert.ok(distant.last.wireBytesPerSecond > 0.85 * 12.5e6, 'the distance does not cost bandwidth');
});

test('the order to stop waits for what is in flight, unless the guest writes as fast as that arrives', () => {
  const packed = { linkBytesPerSecond: 12.5e6, wireBytesPerPage: 1500, pages: 65_536, lanes: 1 };
  for (const strategy of ['precopy', 'auto'] as const) {
    for (const pagesPerMs of [0, 0.3, 1.3]) {
      const { inFlightMsAtOrder, inFlightMsMax } = run({ ...packed, strategy, workload: { pagesPerMs } });
      assert.ok(inFlightMsMax > 50, `the link has a queue: ${inFlightMsMax} ms`);
      // All of it but what a stop is not put off for, which is the part of a queue beyond 100 ms.
      assert.ok(
        inFlightMsAtOrder! <= Math.max(10, inFlightMsMax - 90),
        `${strategy}, ${pagesPerMs} pages per ms: ${inFlightMsAtOrder} ms in flight`,
      );
    }
    const hard = run({ ...packed, strategy, maxRounds: 1, workload: { pagesPerMs: 20 } });
    assert.ok(hard.inFlightMsAtOrder! > 10, `${strategy}: ${hard.inFlightMsAtOrder} ms in flight`);
  }
});

test('the bandwidth cap holds over the whole migration', () => {
  const { last, totalMs } = run({ maxBandwidthBytesPerSecond: 40e6, pages: 32_768, workload: { pagesPerMs: 1 } });
  assert.ok(last.wireBytes <= (40e6 * (totalMs + 60)) / 1000, `${last.wireBytes} bytes in ${totalMs} ms`);
  assert.ok(last.wireBytes >= 0.8 * ((40e6 * (totalMs - 300)) / 1000), 'and is used');
});

test('bursts, zero writes and a mostly empty guest all end with equal memory', () => {
  run({ pages: 65_536, workload: { pagesPerMs: 20, burstMs: 300 } });
  run({ pages: 65_536, usedShare: 0.1, workload: { pagesPerMs: 5, zeroShare: 0.5 }, lanes: 3 });
  run({ pages: 65_536, usedShare: 0, lanes: 1, feedHold: 'paced' });
});

test('auto is at least as quick as precopy, and needs no more downtime where that meets the target', () => {
  const workloads = [{ pagesPerMs: 0 }, { pagesPerMs: 50, hotPages: 2000 }, { pagesPerMs: MB20, hotPages: 32_768 }];
  for (const workload of workloads) {
    const [precopy, auto] = (['precopy', 'auto'] as const).map((strategy) =>
      run({ strategy, workload, pages: 65_536 }),
    );
    assert.ok(auto!.totalMs <= precopy!.totalMs * 1.02, `${auto!.totalMs} ms, precopy ${precopy!.totalMs} ms`);
    assert.ok(auto!.downtimeMs <= precopy!.downtimeMs + 60, `${auto!.downtimeMs} ms, ${precopy!.downtimeMs} ms`);
    assert.equal(auto!.last.switchover?.reason, 'downtime target met');
  }
});

test('auto sends what a guest writes in order after it was written', () => {
  for (const [pagesPerMs, lanes] of [
    [3, 1],
    [MB20, 2],
    [10, 4],
  ] as const) {
    const workload = { pagesPerMs, hotPages: 65_536, isInOrder: true };
    const [precopy, auto] = (['precopy', 'auto'] as const).map((strategy) =>
      run({ strategy, workload, lanes, pages: 131_072 }),
    );
    const [before, now] = [precopy!.last.pages.resent, auto!.last.pages.resent];
    assert.ok(before > 1000 && now < before * 0.6, `${now} pages again, precopy ${before}`);
  }
});

test('a guest that writes faster than the link: auto takes far less time than precopy for a like downtime', () => {
  const workload = { pagesPerMs: 50, hotPages: 32_768 };
  const [precopy, auto] = (['precopy', 'auto'] as const).map((strategy) => run({ strategy, workload, pages: 131_072 }));
  assert.ok(auto!.totalMs < precopy!.totalMs * 0.75, `${auto!.totalMs} ms, precopy ${precopy!.totalMs} ms`);
  assert.ok(auto!.downtimeMs < precopy!.downtimeMs * 1.3, `${auto!.downtimeMs} ms, ${precopy!.downtimeMs} ms`);
});

test('what a QEMU loses sight of is found when the guest has stopped', () => {
  const lossy = { pages: 4096, lanes: 1, workload: { pagesPerMs: 4, hotPages: 300, blindShare: 0.05 } } as const;
  let found = 0;
  for (let seed = 1; seed <= 20; seed++) {
    for (const feedHold of ['strict', 'paced'] as const) {
      run({ ...lossy, seed, feedHold, recheckPages: 300 });
      found += simulate({ ...usual, ...lossy, seed, feedHold }).wrongPages;
    }
  }
  assert.ok(found > 20, `${found} pages wrong without it`);
});
