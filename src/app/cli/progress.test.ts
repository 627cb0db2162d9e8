import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { MigrationView } from '../../core/model/migration.ts';
import { LiveDisplay } from './live-display.ts';
import { percentOf } from './migration-words.ts';
import { renderPlain, renderProgress } from './progress.ts';
import { sampleView } from '../../core/api/testing.ts';

test('on a wide terminal', () => {
  assert.deepEqual(renderProgress(sampleView(), 80), [
    'VM "web" to host-b: pre-copy, round 1',
    '[################........................]  40 %   1.20 s, 1.80 s to go',
    'sending 880 Mbit/s, dirtied 19.5 MiB/s, left 391 MiB, sent 76.3 MiB',
  ]);
});

test('a promised time is said as soon as it is known', () => {
  assert.equal(
    renderProgress(sampleView({ boundMs: 8130 }), 80)[0],
    'VM "web" to host-b: pre-copy of at most 8.13 s, round 1',
  );
  const stopped = sampleView({ boundMs: 8130, stage: 'stopAndCopy' });
  assert.equal(renderProgress(stopped, 80)[0], 'VM "web" to host-b: stop-and-copy');
});

test('on a narrow terminal lines are cut, never wrapped', () => {
  assert.deepEqual(renderProgress(sampleView(), 44), [
    'VM "web" to host-b: pre-copy, round 1',
    '[####........]  40 %   1.20 s, 1.80 s to go',
    'sending 880 Mbit/s, dirtied 19.5 MiB/s, left',
  ]);
});

test('other stages', () => {
  const stopped = sampleView({ stage: 'stopAndCopy', progress: 0.998, timeToGoMs: null, elapsedMs: 61_000 });
  assert.deepEqual(renderProgress(stopped, 80).slice(0, 2), [
    'VM "web" to host-b: stop-and-copy',
    '[#######################################.]  99 %   1 min 01 s',
  ]);
  const ended = sampleView({ stage: 'ended', outcome: 'completed', progress: 1 });
  assert.match(renderProgress(ended, 80)[1] ?? '', /^\[#{40}\] 100 % {3}1\.20 s$/);
});

test('in one line', () => {
  assert.equal(
    renderPlain(sampleView()),
    '  1.20 s  40 %  pre-copy, round 1: sending 880 Mbit/s, dirtied 19.5 MiB/s, left 391 MiB, sent 76.3 MiB, 1.80 s to go',
  );
});

test('the last line', () => {
  const ended = (outcome: 'completed' | 'aborted') => renderPlain(sampleView({ stage: 'ended', outcome, progress: 1 }));
  assert.equal(ended('completed'), '  1.20 s 100 %  completed: sent 76.3 MiB');
  assert.equal(ended('aborted'), '  1.20 s        aborted: sent 76.3 MiB');
});

test('whatever the engine says, the bar stays within its frame and 100 % means done', () => {
  const number = fc.oneof(fc.double({ min: 0, max: 1e15, noNaN: true }), fc.constantFrom(0, 1));
  const stage = fc.constantFrom<MigrationView['stage']>('preMigration', 'preCopy', 'stopAndCopy', 'ended');
  fc.assert(
    fc.property(
      stage,
      fc.double({ min: -1, max: 5, noNaN: true }),
      number,
      fc.nat(200),
      (at, progress, rate, width) => {
        const view = sampleView({ stage: at, progress, wireBytesPerSecond: rate, dirtyPagesPerSecond: rate });
        for (const line of renderProgress(view, width)) assert.ok(line.length <= width);
        assert.match(renderProgress(view, 200)[1] ?? '', /^\[#*\.*\] +\d{1,3} %/);
        if (at !== 'ended') assert.ok(percentOf(view) < 100);
      },
    ),
  );
});

function displayAt(width: number | null) {
  const written: string[] = [];
  const clock = { nowMs: 0 };
  const display = new LiveDisplay({
    write: (text) => written.push(text),
    width: () => width,
    nowMs: () => clock.nowMs,
  });
  return { written, clock, display };
}

test('off a terminal there is a line a second, and one at each change of stage', () => {
  const { written, clock, display } = displayAt(null);
  for (clock.nowMs = 0; clock.nowMs <= 2000; clock.nowMs += 100) display.show(sampleView());
  assert.equal(written.length, 3);
  display.show(sampleView({ stage: 'stopAndCopy' }));
  assert.equal(written.length, 4);
  assert.ok(written.every((text) => text.endsWith('\n') && !text.includes('\u001b')));
});

test('on a terminal the display replaces itself, and remarks stand above it', () => {
  const { written, clock, display } = displayAt(80);
  display.show(sampleView());
  display.show(sampleView());
  assert.equal(written.length, 1, 'throttled');
  clock.nowMs = 150;
  display.show(sampleView());
  assert.equal(written[1], '\u001b[3F\u001b[J');
  display.note('hello');
  assert.deepEqual(written.slice(3), ['\u001b[3F\u001b[J', 'hello\n']);
});
