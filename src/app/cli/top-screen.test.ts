import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleTelemetry, sampleVmTelemetry } from '../../core/api/telemetry-testing.ts';
import { sampleView } from '../../core/api/testing.ts';
import { sparkline } from './sparkline.ts';
import { cut, paint, span, spread } from './spans.ts';
import { renderTop, type TopView } from './top-screen.ts';

const vms = [
  sampleVmTelemetry({ name: 'idle', guestCores: 0.01, overheadCores: 0, dirty: 'idle', dirtyBytesPerS: 0 }),
  sampleVmTelemetry({ name: 'busy', guestCores: 1.98, capCores: 2 }),
  sampleVmTelemetry({ name: 'coming', state: 'incoming', guestCores: null, overheadCores: null, dirty: null }),
  sampleVmTelemetry({ name: 'a-rather-long-name-of-a-machine', guestCores: 0.5, migration: 'm1', state: 'migrating' }),
];
const view: TopView = {
  telemetry: sampleTelemetry({ vms }),
  migrations: [sampleView({ vm: 'a-rather-long-name-of-a-machine' })],
  hostSeries: [1, 2, 3, 4],
  vmSeries: new Map([['busy', Array.from({ length: 60 }, (_, second) => second / 30)]]),
  trouble: null,
};
const linesOf = (shown: TopView, columns: number, rows: number | null = null): string[] =>
  renderTop(shown, columns, rows).map((line) => paint(line, false));

test('the screen shows the host, the VMs by processor use, and the migrations', () => {
  const lines = linesOf(view, 240);
  assert.match(lines[0]!, /^vmferry top {2}host-a {2}4 VMs .* host-b 0\.4 ms, 936 Mbit\/s +12:00:00 UTC$/);
  assert.match(lines[1]!, /^CPU {2}\[\|+ +\] {2}2\.50 of 4\.00 cores +63 % .*▂▄▆█$/);
  assert.match(lines[2]!, /^Mem {2}\[\|+ +\] {2}2\.00 GiB of 8\.00 GiB +25 %$/);
  assert.match(lines[3]!, /in 24\.0 Mbit\/s, out 40\.0 Mbit\/s.*read -, written -/);
  const names = lines.slice(6, 10).map((line) => line.split(' ')[0]);
  assert.deepEqual(names, ['busy', 'a-rather-long-name-of-a-machine', 'idle', 'coming']);
  assert.match(
    lines[6]!,
    /running +1\.98 .*▁.*█.* 0\.10 +2 +104 % +52 % +512 MiB +1\.00 GiB +256 MiB +medium +50\.0 MiB\/s/,
  );
  assert.match(
    lines.join('\n'),
    /VM "a-rather-long-name-of-a-machine" to host-b: pre-copy, round 1\n\[#+\.+\] {2}40 %/,
  );
});

test('no line is wider than the screen, whatever its width, and what matters most is left', () => {
  for (let columns = 1; columns <= 260; columns++) {
    for (const line of linesOf(view, columns)) assert.ok(line.length <= columns, `${columns}: ${line}`);
  }
  assert.match(linesOf(view, 60)[6]!, /^busy .* running|^busy .* 1\.98/);
  assert.match(linesOf(view, 45).join('\n'), /busy +1\.98/);
  assert.equal(
    linesOf(view, 79)
      .find((line) => line.startsWith('VM '))
      ?.includes('NET IN'),
    false,
  );
});

test('a low screen shows as many VMs as fit, and says how many it hides', () => {
  const many = Array.from({ length: 100 }, (_, index) => sampleVmTelemetry({ name: `vm-${index}` }));
  const crowded = { ...view, migrations: [], telemetry: sampleTelemetry({ vms: many }) };
  for (const rows of [8, 24, 50]) assert.equal(linesOf(crowded, 100, rows).length, rows);
  assert.equal(linesOf(crowded, 100, 24).at(-1), 'and 83 more');
  assert.equal(linesOf(crowded, 100).filter((line) => line.startsWith('vm-')).length, 100);
  assert.ok(linesOf(crowded, 100, 3).length <= 3);
});

test('an old look, a lost agent and an unreachable peer are seen', () => {
  assert.match(linesOf({ ...view, telemetry: { ...view.telemetry, ageMs: 9000 } }, 100).join('\n'), /9 s old/);
  assert.match(linesOf({ ...view, trouble: 'No agent answers' }, 100).join('\n'), /No agent answers/);
  const peers = [{ name: 'host-b', reachable: false, roundTripMs: null, linkBytesPerS: null }];
  assert.match(linesOf({ ...view, telemetry: { ...view.telemetry, peers } }, 100)[0]!, /host-b not reachable/);
  assert.match(linesOf({ ...view, telemetry: { ...view.telemetry, vms: [] } }, 100).join('\n'), /No VMs\./);
});

test('a sparkline has the newest value at its right, and means where there is less room than values', () => {
  assert.equal(sparkline([0, 0.5, 1], 5, 1), '  ▁▄█');
  assert.equal(sparkline([0, 0, 1, 1], 2, 1), '▁█');
  assert.equal(sparkline([null, 5], 2, 1), ' █', 'more than the top is the top');
  assert.equal(sparkline([], 3, 1), '   ');
});

test('lines are cut before they are painted', () => {
  const line = [span('abc', 'hot'), span('def')];
  assert.equal(paint(cut(line, 4), false), 'abcd');
  assert.equal(paint(cut(line, 2), true), '\u001b[31mab\u001b[0m');
  assert.equal(paint(spread([span('a')], [span('b')], 5), false), 'a   b');
  assert.equal(paint(spread([span('abc')], [span('b')], 5), false), 'abc', 'no room for both');
});
