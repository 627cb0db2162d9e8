import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { LoggedMove, MoveOutcome } from '../../core/model/autopilot.ts';
import { moveOutcomes } from '../../core/model/autopilot.ts';
import { autopilotConfig } from '../../core/policy/config.ts';
import { PolicyHistory } from '../../core/policy/history.ts';
import { DecisionLog } from './decision-log.ts';
import { memoryMs, rebuildHistory, recordBegin, recordEnd } from './policy-memory.ts';

const names = ['h0', 'h1', 'h2'];
const vms = ['v0', 'v1', 'v2', 'v3'];
const MINUTE = 60_000;

const event = fc.record({
  vm: fc.constantFrom(...vms),
  from: fc.nat({ max: 2 }),
  step: fc.integer({ min: 1, max: 2 }),
  outcome: fc.constantFrom<MoveOutcome>(...moveOutcomes),
  pauseMs: fc.integer({ min: 0, max: 20 * MINUTE }),
  downtimeMs: fc.nat({ max: 500 }),
});

/** Moves as they happen: each VM's begin and end take turns; some are left under way. */
function happen(events: readonly (typeof event extends fc.Arbitrary<infer T> ? T : never)[], tell: Tell): number {
  const open = new Map<string, { readonly sequence: number; readonly move: LoggedMove }>();
  let nowMs = 1_000_000;
  for (const { vm, from, step, outcome, pauseMs, downtimeMs } of events) {
    nowMs += pauseMs;
    const begun = open.get(vm);
    if (begun === undefined) {
      const predicted = { totalMs: 1000, downtimeMs, wireBytes: 1e6 };
      const ends = { migration: null, outcome: null, endedAtMs: null, measured: null, error: null };
      const move = { vm, from: names[from]!, to: names[(from + step) % 3]!, predicted, ...ends };
      open.set(vm, { sequence: tell.begin(move, nowMs), move });
      continue;
    }
    const measured = outcome === 'refused' ? null : { totalMs: 2000, downtimeMs: downtimeMs * 2, wireBytes: 2e6 };
    open.delete(vm);
    tell.end(begun.sequence, { ...begun.move, outcome, measured, endedAtMs: nowMs });
  }
  return nowMs;
}

type Tell = {
  readonly begin: (move: LoggedMove, atMs: number) => number;
  readonly end: (sequence: number, move: LoggedMove) => void;
};

/** All that the policy may ask. */
function answersOf(history: PolicyHistory, nowMs: number): unknown {
  return {
    vms: vms.map((vm) => [history.lastVmMoveMs(vm), ...names.map((host) => history.lastLeftMs(vm, host))]),
    hosts: names.map((host) => [history.lastHostMoveMs(host), history.spentBy(host, nowMs)]),
  };
}

test('what the log gives back is what was remembered', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), fc.nat({ max: 90 * MINUTE }), (events, laterMs) => {
      const log = new DecisionLog(':memory:');
      const live = new PolicyHistory();
      const nowMs = happen(events, {
        begin: (move, atMs) => {
          recordBegin(live, move, atMs);
          return log.add({ kind: 'move', dryRun: false, host: move.from, sentence: 'x.', atMs, move });
        },
        end: (sequence, move) => {
          recordEnd(live, move);
          log.changeMove(sequence, move);
        },
      });
      const again = rebuildHistory(log.movesSince(0));
      assert.deepEqual(answersOf(again, nowMs + laterMs), answersOf(live, nowMs + laterMs));
      log.close();
    }),
  );
});

test('a move that was under way counts as such until its end is told', () => {
  const log = new DecisionLog(':memory:');
  const predicted = { totalMs: 1000, downtimeMs: 30, wireBytes: 1e6 };
  const ends = { migration: 'm1', outcome: null, endedAtMs: null, measured: null, error: null };
  const move: LoggedMove = { vm: 'v0', from: 'h0', to: 'h1', predicted, ...ends };
  log.add({ kind: 'move', dryRun: false, host: 'h0', sentence: 'x.', atMs: 1000, move });
  const history = rebuildHistory(log.movesSince(0));
  assert.deepEqual([history.lastVmMoveMs('v0'), history.lastLeftMs('v0', 'h0')], [1000, -Infinity]);
  assert.equal(history.spentBy('h1', 2000).downtimeMs, 30);
  const measured = { totalMs: 900, downtimeMs: 11, wireBytes: 5 };
  recordEnd(history, { ...move, outcome: 'completed', endedAtMs: 3000, measured });
  assert.deepEqual([history.lastLeftMs('v0', 'h0'), history.spentBy('h1', 4000).downtimeMs], [3000, 11]);
});

test('so long as any rule asks for them, moves are kept in mind', () => {
  const config = autopilotConfig({ returnMs: 7_200_000, vmCooldownMs: 60_000 });
  assert.equal(memoryMs(config), 7_200_000);
  assert.equal(memoryMs(autopilotConfig({ returnMs: 0, vmCooldownMs: 0, hostCooldownMs: 0 })), 3_600_000);
});
