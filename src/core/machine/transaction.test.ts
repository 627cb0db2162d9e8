/** The transaction against random schedules with faults, and the simulator against planted bugs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stepDestination } from './destination-machine.ts';
import { recoverDestination, recoverSource } from './recovery.ts';
import { standingSourceEffects, stepSource } from './source-machine.ts';
import type { SourceEvent, SourceState, SourceStep } from './source-states.ts';
import { machines } from './transaction.model.ts';
import type { Machines } from './transaction.model.ts';
import { InvariantError, simulate } from './transaction.simulator.ts';
import type { Fault } from './transaction.simulator.ts';

const SCHEDULES = Number(process.env['VMFERRY_SCHEDULES'] ?? 30_000);

test(`no schedule of ${SCHEDULES} breaks the transaction`, () => {
  const endings = new Map<string, number>();
  const struck = new Set<string>();
  for (let seed = 1; seed <= SCHEDULES; seed++) {
    const ending = simulate({ seed });
    const key = `${ending.source}/${ending.destination}`;
    endings.set(key, (endings.get(key) ?? 0) + 1);
    for (const hit of ending.struck) struck.add(hit);
  }
  // The schedules are worth something only if they get far and hit the short states.
  for (const key of ['done/released', 'aborted/discarded', 'stranded/lost', 'stranded/discarded']) {
    assert.ok((endings.get(key) ?? 0) >= 10, `${key}: ${endings.get(key) ?? 0} of ${SCHEDULES}`);
  }
  for (const state of ['fencing', 'committing', 'handedOver', 'serving', 'inDoubt', 'quitting', 'aborting']) {
    const kinds = new Set([...struck].filter((hit) => hit.split(' ')[1] === state).map((hit) => hit.split(' ')[0]));
    assert.ok(kinds.size >= 12, `source in ${state}: ${[...kinds].join()}`);
  }
  for (const state of [
    'preparing',
    'prepared',
    'inDoubt',
    'committing',
    'committed',
    'activating',
    'pulling',
    'active',
  ]) {
    const kinds = new Set([...struck].filter((hit) => hit.split(' ')[2] === state).map((hit) => hit.split(' ')[0]));
    assert.ok(kinds.size >= 12, `destination in ${state}: ${[...kinds].join()}`);
  }
});

test('without faults every migration completes', () => {
  for (let seed = 1; seed <= 500; seed++) assert.equal(simulate({ seed, faultsMax: 0 }).source, 'done', `seed ${seed}`);
});

test('when nobody kills a QEMU no migration ends stranded or lost', () => {
  const only = ['sourceAgent', 'destinationAgent', 'cut', 'stall', 'clockJump', 'cancel', 'sourceSyncFails'] as const;
  for (let seed = 1; seed <= 3000; seed++) {
    const { source, destination } = simulate({ seed, only });
    assert.ok(['done', 'aborted', '-'].includes(source), `seed ${seed}: ${source}`);
    assert.ok(['released', 'discarded', '-'].includes(destination), `seed ${seed}: ${destination}`);
  }
});

const BUGGY_SCHEDULES = 2000;

/** The codes with which schedules under a planted bug fail, or an empty set if none does. */
function codesOf(bug: Partial<Machines>, only?: readonly Fault[]): Set<string> {
  const codes = new Set<string>();
  for (let seed = 1; seed <= BUGGY_SCHEDULES; seed++) {
    try {
      simulate({ seed, machines: { ...machines, ...bug }, ...(only === undefined ? {} : { only }) });
    } catch (error) {
      assert.ok(error instanceof InvariantError);
      codes.add(error.code);
    }
  }
  return codes;
}

test('the simulator finds COMMIT journalled before SHUT(0)', () => {
  const commit = { type: 'journal', entry: { type: 'commit', data: {} } } as const;
  const codes = codesOf({
    stepSource(state, event) {
      if (state.name === 'transferring' && event.type === 'preparedReceived') {
        return { state: { name: 'committing' }, effects: [commit] };
      }
      const step = stepSource(state, event);
      if (state.name !== 'committing' || step.state.name !== 'handedOver') return step;
      return { state: step.state, effects: [{ type: 'releaseSourceQemu' }, ...step.effects] };
    },
  });
  assert.ok(codes.has('SIM_RAN_AFTER_COMMIT'), [...codes].join());
});

test('the simulator finds a lease that discards what is prepared', () => {
  const codes = codesOf({
    stepDestination(state, event) {
      const cause = { code: 'FERRY_PEER_SILENT', reason: 'planted' };
      const prepared = state.name === 'prepared' || state.name === 'inDoubt';
      if (!prepared || event.type !== 'leaseExpired') return stepDestination(state, event);
      return { state: { name: 'discarding', cause }, effects: [{ type: 'discardIncoming' }] };
    },
  });
  assert.ok(codes.has('SIM_NONE_RUNNING'), [...codes].join());
});

test('the simulator finds a destination that starts by itself when the source is silent', () => {
  const codes = codesOf({
    stepDestination(state, event) {
      return state.name === 'prepared' && event.type === 'linkLost'
        ? stepDestination(state, { type: 'commitReceived' })
        : stepDestination(state, event);
    },
  });
  assert.ok(codes.has('SIM_TWO_RUNNING'), [...codes].join());
});

function abortingWhen(name: SourceState['name'], type: string): Partial<Machines> {
  return {
    stepSource(state, event) {
      if (state.name !== name || event.type !== type) return stepSource(state, event);
      const next: SourceState = { name: 'aborting', cause: { code: 'FERRY_PEER_SILENT', reason: 'planted' } };
      return { state: next, effects: standingSourceEffects(next) };
    },
  };
}

test('the simulator finds a source that resumes after COMMIT', () => {
  const codes = codesOf(abortingWhen('handedOver', 'linkLost'));
  assert.ok(codes.has('SIM_TWO_RUNNING') || codes.has('SIM_RAN_AFTER_COMMIT'), [...codes].join());
});

test('the simulator finds a source that takes an uncertain COMMIT for none', () => {
  const codes = codesOf(
    {
      stepSource(state, event) {
        const uncertain = event.type === 'journalFailed' && event.entry === 'commit';
        return stepSource(state, uncertain ? { ...event, certain: true } : event);
      },
    },
    ['sourceSyncFails', 'cut', 'sourceAgent'],
  );
  assert.ok(codes.has('SIM_RAN_AFTER_COMMIT'), [...codes].join());
});

test('the simulator finds a source in doubt that gives up when the link is lost', () => {
  const codes = codesOf(abortingWhen('inDoubt', 'linkLost'), ['sourceSyncFails', 'cut']);
  // The machine itself refuses the COMMIT that it then finds in the journal.
  assert.ok(codes.size > 0);
});

test('the simulator finds a source that presumes the abort while it may still commit', () => {
  const codes = codesOf(
    {
      stepSource(state, event) {
        const open = state.name === 'committing' || state.name === 'inDoubt';
        if (event.type !== 'queried' || !open) return stepSource(state, event);
        return { state, effects: [{ type: 'answer', answer: 'aborted' }] };
      },
    },
    ['sourceSyncFails', 'cut'],
  );
  assert.ok(codes.has('SIM_NONE_RUNNING'), [...codes].join());
});

test('the simulator finds a recovery that leaves a guest in postmigrate', () => {
  const codes = codesOf({
    recoverSource(records, observed) {
      const step = recoverSource(records, observed);
      if (step.state.name !== 'aborting' || observed.qemu !== 'postmigrate') return step;
      const { cause } = step.state;
      return { state: { name: 'aborted', cause, guest: 'running at source' }, effects: [] };
    },
  });
  assert.ok(codes.has('SIM_NONE_RUNNING'), [...codes].join());
});

test('the simulator finds a COMMIT that is told before it is on disk', () => {
  const codes = codesOf({
    stepSource(state, event) {
      const step = stepSource(state, event);
      if (step.state.name !== 'committing' || state.name === 'committing') return step;
      return { state: step.state, effects: [{ type: 'tellCommit' }, ...step.effects] };
    },
  });
  assert.ok(codes.has('SIM_TWO_RUNNING'), [...codes].join());
});

test('the simulator finds a source that ends while the destination still pulls', () => {
  const codes = codesOf({
    stepSource(state, event) {
      return stepSource(state, event.type === 'activeReceived' ? { ...event, pulling: false } : event);
    },
  });
  assert.ok(codes.has('SIM_PAGES_LOST'), [...codes].join());
});

test('the simulator finds a destination whose restarted agent forgets that it pulls', () => {
  const codes = codesOf({
    recoverDestination(records, observed) {
      const step = recoverDestination(records, observed);
      if (step.state.name !== 'pulling') return step;
      return { state: { name: 'active' }, effects: [{ type: 'tellActive', pulling: false }] };
    },
  });
  assert.ok(codes.has('SIM_PAGES_LOST'), [...codes].join());
});

test('the simulator finds a source in a pull phase that gives up when the link is lost', () => {
  const codes = codesOf(abortingWhen('serving', 'linkLost'), ['cut']);
  assert.ok(codes.has('SIM_TWO_RUNNING') || codes.has('SIM_RAN_AFTER_COMMIT'), [...codes].join());
});

/** A person who says `run` as soon as a guest is stranded. */
function takenBack(state: SourceState, event: SourceEvent): SourceStep {
  const step = stepSource(state, event);
  return step.state.name === 'stranded' ? stepSource(step.state, { type: 'personDecided', word: 'run' }) : step;
}

const stranding = ['cut', 'destinationAgent', 'personDiscards', 'destinationQemu', 'destinationHost'] as const;

test('a person may take a stranded guest back', () => {
  assert.deepEqual([...codesOf({ stepSource: takenBack })], []);
  assert.deepEqual([...codesOf({ stepSource: takenBack }, stranding)], []);
});

test('the simulator finds a guest that is taken back although it may have run', () => {
  const codes = codesOf(
    {
      stepSource(state, event) {
        return takenBack(state, event.type === 'destinationGone' ? { ...event, mayHaveRun: false } : event);
      },
    },
    stranding,
  );
  assert.ok(codes.has('SIM_LOST_WRITE'), [...codes].join());
});
