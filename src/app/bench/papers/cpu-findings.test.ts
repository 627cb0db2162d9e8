import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stageNames } from '../../../core/model/migration.ts';
import type { Measurement, Sample } from '../samples.ts';
import { sampleOf } from '../testing.ts';
import { cpuFindings } from './cpu-findings.ts';
import { capsKey, capsPercent, coresKey, loadKey, loadsPercent, memoriesMb, vcpuCounts } from './cpu-measures.ts';
import { kernels } from './kernel-guest.ts';
import type { Kernel } from './kernel-guest.ts';
import type { Claim, Evidence, Verdict } from './paper.ts';

function measurement(measure: string, values: Measurement['values'], run = 1): Measurement {
  const done = {
    startedAt: '2026-11-21T10:00:00.000Z',
    tookMs: 30_000,
    outcome: 'completed',
    reason: 'completed',
  } as const;
  return { run, measure, definition: 'd', ...done, values };
}

type UseOf = (cap: number, vcpus: number, kernel: Kernel, memoryMb: number) => number;
const ideal: UseOf = (cap, vcpus) => Math.min(cap, vcpus * 100);

function caps(use: UseOf = ideal): Measurement[] {
  return kernels.flatMap((kernel) =>
    vcpuCounts.flatMap((vcpus) =>
      memoriesMb.map((memoryMb) => {
        const usePercent = capsPercent.map((cap) => use(cap, vcpus, kernel, memoryMb));
        const work = {
          vcpuPercent: usePercent.map((value) => value * 0.97),
          workPerS: usePercent.map((value) => value * 1000),
        };
        return measurement(capsKey(kernel, memoryMb, vcpus), { capPercent: [...capsPercent], usePercent, ...work });
      }),
    ),
  );
}

/** Uses of one core and of two, alone and then beside a second guest. */
function cores(usePercent: readonly number[]): Measurement[] {
  const points = { cores: [1, 2, 1, 2], guests: [1, 1, 2, 2], hostPercent: [99, 52, 100, 100] };
  return kernels.map((kernel) => measurement(coresKey(kernel), { ...points, usePercent: [...usePercent] }));
}

/** `got` and `rate`: of a guest that is allowed so much, what it takes of it, and what it does with it. */
function load(got: (load: number) => number, rate: (load: number) => number): Measurement {
  const use = loadsPercent.map((each) => each * got(each));
  const work = use.map((each, index) => each * 100 * rate(loadsPercent[index]!));
  const each = { dhrystoneUsePercent: use, dhrystoneWorkPerS: work, livermoreUsePercent: use, livermoreWorkPerS: work };
  return measurement(loadKey, { cores: 2, takenPercent: use, hostPercent: use, ...each });
}

type MoveTimes = Readonly<Record<Kernel, { readonly totalMs: number; readonly downtimeMs: number }>>;
const asPaper: MoveTimes = {
  livermore: { totalMs: 63_000, downtimeMs: 18_000 },
  dhrystone: { totalMs: 64_000, downtimeMs: 28_000 },
  linpack: { totalMs: 64_000, downtimeMs: 19_000 },
};

function moves(times: MoveTimes, afterMs = 100, scatterMs = 10, stagedPart = 0.99): Sample[] {
  return [-1, 0, 1].flatMap((at, index) =>
    kernels.flatMap((kernel) =>
      ['vmferry-auto', 'vmferry-precopy'].map((mode) => {
        const { totalMs, downtimeMs } = times[kernel];
        const ownMs = totalMs + at * scatterMs;
        const furtherMs = Object.fromEntries(
          stageNames.map((name) => [name, (ownMs * stagedPart) / stageNames.length]),
        );
        return sampleOf({
          ...{ run: index + 1, case: kernel, mode, totalMs: ownMs, elapsedMs: ownMs + afterMs },
          ...{ downtimeMs: downtimeMs + at * scatterMs, furtherMs },
        });
      }),
    ),
  );
}

const good: Evidence = {
  measurements: [
    ...caps(),
    ...cores([92, 100, 50, 99]),
    load(
      () => 1,
      () => 1,
    ),
  ],
  samples: moves(asPaper),
};

function claimOf(evidence: Evidence, start: string): Claim {
  const found = cpuFindings(evidence).claims.filter(({ claim }) => claim.startsWith(start));
  assert.equal(found.length, 1, start);
  return found[0]!;
}

const verdicts = (evidence: Evidence): Verdict[] => cpuFindings(evidence).claims.map(({ holds }) => holds);

test('nothing is known of nothing, and of what is incomplete', () => {
  const nothing = cpuFindings({ samples: [], measurements: [] });
  assert.ok(nothing.claims.length >= 12);
  assert.deepEqual(new Set(nothing.claims.map(({ holds }) => holds)), new Set(['unknown']));
  const without = (index: number): Evidence => ({ ...good, measurements: good.measurements.toSpliced(index, 1) });
  assert.equal(claimOf(without(0), 'Up to a cap').holds, 'unknown');
  assert.equal(claimOf(without(caps().length), 'With two cores').holds, 'unknown');
  assert.equal(claimOf(without(good.measurements.length - 1), 'A host whose guests').holds, 'unknown');
  const fewer = good.samples.filter(({ case: name }) => name !== 'linpack');
  assert.equal(claimOf({ ...good, samples: fewer }, 'The three kernels').holds, 'unknown');
});

test('where all is as the paper says, its claims hold, and those that it could not show do not', () => {
  const two = cpuFindings(good).claims.filter(({ holds }) => holds !== 'yes');
  assert.deepEqual(
    two.map(({ claim, holds }) => [claim.slice(0, 20), holds]),
    [
      ['A third core adds sl', 'unknown'],
      ['A host whose guests ', 'no'],
    ],
  );
  assert.match(claimOf(good, 'A third core').why, /this machine has 2 cores/);
});

test('a cap that does not hold is found, and so is one guest in which it does not', () => {
  const none = { ...good, measurements: caps(() => 100) };
  assert.equal(claimOf(none, 'Up to a cap').holds, 'partly', 'a cap of 100 % still is one');
  const loose = { ...good, measurements: caps((cap, vcpus) => ideal(cap, vcpus, 'linpack', 512) * 1.2) };
  assert.equal(claimOf(loose, 'Up to a cap').holds, 'no');
  assert.equal(claimOf(loose, 'A cap above').holds, 'no');
  assert.equal(claimOf(loose, 'A guest with two').holds, 'no');
  const one = caps(
    (cap, vcpus, kernel, memoryMb) =>
      ideal(cap, vcpus, kernel, memoryMb) * (kernel === 'linpack' && memoryMb === 2048 ? 0.8 : 1),
  );
  assert.equal(claimOf({ ...good, measurements: one }, 'Up to a cap').holds, 'partly');
  const memory = claimOf({ ...good, measurements: one }, 'The memory of a guest');
  assert.equal(memory.holds, 'partly');
  assert.match(memory.here, /25\.0 % \(linpack/);
});

test('more use with a second core is judged alone and beside another guest', () => {
  const of = (use: readonly number[]): Claim => claimOf({ ...good, measurements: cores(use) }, 'With two cores');
  assert.equal(of([99.6, 100, 50, 99]).holds, 'partly');
  assert.match(
    of([99.6, 100, 50, 99]).why,
    /second core for no kernel when it is alone, and for all kernels when something else/,
  );
  assert.equal(of([99, 99, 99, 99]).holds, 'no');
});

test('65 % is a threshold only if guests are worse off above it and not below', () => {
  const of = (got: (load: number) => number, rate: (load: number) => number): Verdict =>
    claimOf({ ...good, measurements: [load(got, rate)] }, 'A host whose').holds;
  assert.equal(
    of(
      (each) => (each > 65 ? 0.8 : 1),
      () => 1,
    ),
    'yes',
  );
  assert.equal(
    of(
      () => 1,
      (each) => (each > 65 ? 0.8 : 1),
    ),
    'yes',
  );
  assert.equal(
    of(
      () => 0.8,
      () => 1,
    ),
    'no',
  );
  assert.equal(
    of(
      () => 1,
      () => 1,
    ),
    'no',
  );
});

test('an order of medians that overlap is no order', () => {
  const order = 'The downtime is least';
  assert.equal(claimOf({ ...good, samples: moves(asPaper, 100, 6000) }, order).holds, 'no');
  const other = { ...asPaper, livermore: { totalMs: 63_000, downtimeMs: 30_000 } };
  const turned = { ...good, samples: moves(other) };
  assert.equal(claimOf(turned, order).holds, 'no');
  assert.equal(claimOf(turned, 'The guest to be moved first').holds, 'no');
  assert.match(claimOf(turned, 'The guest to be moved first').here, /^linpack, dhrystone, livermore .* by downtime/);
});

test('total times that differ by less than moves scatter are neither the same nor different', () => {
  const times = { ...asPaper, linpack: { totalMs: 75_000, downtimeMs: 19_000 } };
  const of = (scatterMs: number): Claim =>
    claimOf({ ...good, samples: moves(times, 100, scatterMs) }, 'The three kernels');
  assert.equal(of(10).holds, 'no');
  assert.equal(of(10_000).holds, 'partly');
  assert.match(of(10_000).why, /1\.19 times the fastest \(vmferry-auto; their moves overlap\)/);
  const preference = claimOf({ ...good, samples: moves(times, 100, 10_000) }, 'The guest to be moved first');
  assert.match(preference.here, /^livermore, linpack, dhrystone .* by downtime/);
});

test('total times that differ decide before the downtime does', () => {
  const times = { ...asPaper, linpack: { totalMs: 30_000, downtimeMs: 29_000 } };
  const evidence = { ...good, samples: moves(times) };
  assert.equal(claimOf(evidence, 'The three kernels').holds, 'no');
  assert.match(
    claimOf(evidence, 'The guest to be moved first').here,
    /^linpack, livermore, dhrystone .* by total time/,
  );
});

test('stages that do not add up to what somebody outside sees are found', () => {
  const of = (samples: readonly Sample[]): Claim => claimOf({ ...good, samples }, 'The total time is the sum');
  assert.equal(of(moves(asPaper, 100, 0, 0.5)).holds, 'no', 'half of the time is in no stage');
  assert.match(
    of(moves(asPaper, 100, 0, 0.5)).here,
    /18 moves: .* 50 % to 50 % .* 31\.50 s to 32\.00 s, .* 100 ms to 100 ms/,
  );
  assert.equal(of(moves(asPaper, -500)).holds, 'no', 'stages overlap');
  assert.equal(of(moves(asPaper).map((sample) => ({ ...sample, furtherMs: {} }))).holds, 'unknown');
  assert.equal(of(moves(asPaper).map((sample) => ({ ...sample, elapsedMs: null }))).holds, 'unknown');
});

test('a move that did not complete has no figure', () => {
  const failed = moves(asPaper).map((sample) =>
    sample.case === 'linpack' ? { ...sample, outcome: 'failed' as const } : sample,
  );
  assert.equal(claimOf({ ...good, samples: failed }, 'The guest to be moved first').holds, 'unknown');
});

test('tables have a row for each guest and a column for each cap, whatever is missing', () => {
  for (const evidence of [good, { samples: [], measurements: [] }]) {
    const { tables, charts } = cpuFindings(evidence);
    for (const { columns, rows, title } of tables) {
      assert.ok(rows.length > 0 && rows.every((row) => row.length === columns.length), title);
    }
    assert.equal(tables[0]?.rows.length, kernels.length * memoriesMb.length + 3);
    assert.ok(charts.length >= 7);
  }
  assert.ok(
    cpuFindings(good).tables[0]?.rows.some(
      (row) => row.join() === 'livermore 512 MB,25.0,50.0,75.0,100.0,100.0,100.0,100.0,100.0',
    ),
  );
  assert.ok(verdicts(good).includes('yes'));
});
