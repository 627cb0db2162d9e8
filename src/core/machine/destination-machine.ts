/**
 * The destination's side of the transaction.
 *
 * Invariants, checked by transaction.test.ts over random schedules with faults:
 *  - `runGuest` is asked for only when COMMITTED is on disk, and COMMITTED follows only the source's COMMIT or a person.
 *  - From `prepared` on nothing is discarded but by the source's word, a person's word, or because QEMU is gone.
 *  - `tellGone` is said only when DISCARDED or LOST is on disk: the source may then give the guest back to a person.
 *
 * ```mermaid
 * stateDiagram-v2
 *   [*] --> reserving
 *   reserving --> reserved: reservationHeld / tellReserved
 *   reserved --> receiving: feedStarted
 *   receiving --> loading: epilogueReceived
 *   loading --> preparing: loaded
 *   preparing --> prepared: journalled(prepared) / tellPrepared
 *   prepared --> committing: commitReceived
 *   prepared --> inDoubt: linkLost / querySource
 *   inDoubt --> committing: commitReceived, answered(committed), personDecided(run)
 *   committing --> committed: journalled(committed) / cont
 *   committed --> activating: guestRunning
 *   activating --> active: journalled(active) / tellActive
 *   activating --> pulling: journalled(active), pulling / pullPages
 *   activating --> losing: qemuGone while pulling
 *   pulling --> completing: pagesPulled
 *   completing --> active: journalled(pulled) / tellActive
 *   pulling --> losing: qemuGone, doneReceived, personDecided(discard)
 *   active --> releasing: doneReceived
 *   lost --> releasing: doneReceived, personDecided(discard)
 *   releasing --> released: journalled(released)
 *   prepared --> discarding: abortReceived, qemuGone
 *   inDoubt --> discarding: abortReceived, answered(aborted, unknown), qemuGone, personDecided(discard)
 *   reserving --> discarding: any failure
 *   reserved --> discarding: any failure, leaseExpired
 *   receiving --> discarding: any failure, leaseExpired
 *   loading --> discarding: any failure, leaseExpired
 *   preparing --> discarding: any failure
 *   discarding --> forgetting: incomingGone
 *   forgetting --> discarded: journalled(discarded)
 *   committing --> losing: qemuGone
 *   committed --> losing: qemuGone
 *   losing --> lost: journalled(lost) / tellGone
 * ```
 */
import { assert, unreachable } from '../base/assert.ts';
import { MachineError } from './errors.ts';
import type {
  DestinationEffect,
  DestinationEvent,
  DestinationNotice,
  DestinationSetup,
  DestinationState,
  DestinationStep,
} from './destination-states.ts';
import type { DestinationEntry } from './records.ts';
import type { Cause } from './source-states.ts';

/** The machine of a new reservation. RESERVED is written first, so that a restarted agent knows what to clear away. */
export function startDestination(setup: DestinationSetup): DestinationStep {
  return { state: { name: 'reserving' }, effects: [journal({ type: 'reserved', data: setup })] };
}

/** The machine has ended: nothing is left to do, the record may be forgotten. */
export function destinationEnded(state: DestinationState): boolean {
  return state.name === 'released' || state.name === 'discarded';
}

/**
 * The effects that hold as long as a state lasts. The driver runs them again after a restart, when a connection comes back
 * and from time to time.
 */
export function standingDestinationEffects(state: DestinationState): readonly DestinationEffect[] {
  const { name } = state;
  if (name === 'inDoubt') return [{ type: 'querySource' }];
  if (name === 'committed') return [{ type: 'runGuest' }];
  if (name === 'pulling') return pulling;
  if (name === 'active') return [{ type: 'tellActive', pulling: false }];
  if (name === 'discarding') return [{ type: 'discardIncoming' }];
  return name === 'lost' ? [{ type: 'tellGone', mayHaveRun: state.mayHaveRun }] : [];
}

/**
 * The next state and what has to be done, for every pair of state and event. Throws MachineError for facts that cannot be
 * true in the state (the driver is wrong); what the source says at the wrong moment is never such a fact.
 */
export function stepDestination(state: DestinationState, event: DestinationEvent): DestinationStep {
  switch (event.type) {
    case 'journalled':
    case 'journalFailed':
      return journalSaid(state, event);
    case 'commitReceived':
      return commitReceived(state);
    case 'abortReceived':
      return abortReceived(state);
    case 'answered':
      if (state.name !== 'inDoubt' || event.answer === 'undecided') return stay(state);
      return event.answer === 'committed'
        ? commit('source')
        : discard({ code: 'FERRY_PEER', reason: 'The source aborted' });
    case 'doneReceived':
      if (state.name === 'active' || state.name === 'lost') return to({ name: 'releasing' }, journalReleased);
      // The source has nothing more to give, and pages are missing here.
      if (state.name === 'pulling') return withReport(lose(true), 'pagesLost');
      return stay(state);
    case 'linkLost':
      if (state.name === 'prepared')
        return to({ name: 'inDoubt' }, { type: 'querySource' }, { type: 'report', notice: 'inDoubt' });
      return early.has(state.name)
        ? discard({ code: 'FERRY_PEER_SILENT', reason: 'The connection was lost' })
        : stay(state);
    case 'leaseExpired':
      return leased.has(state.name) ? fail({ code: 'FERRY_PEER_SILENT', reason: 'The lease ended' }) : stay(state);
    case 'failed':
      return early.has(state.name) ? fail(event.cause) : stay(state);
    case 'personDecided':
      return personDecided(state, event.word);
    case 'reservationHeld':
    case 'feedStarted':
    case 'epilogueReceived':
    case 'loaded':
      return advanced(state, event);
    case 'qemuGone':
    case 'incomingGone':
    case 'guestRunning':
    case 'pagesPulled':
      return qemuDid(state, event);
    default:
      return unreachable(event, 'destination event');
  }
}

/** Nothing has been promised: any failure ends here. */
const early: ReadonlySet<DestinationState['name']> = new Set([
  'reserving',
  'reserved',
  'receiving',
  'loading',
  'preparing',
]);
/** A lease runs only while the other side owes us the next step. */
const leased: ReadonlySet<DestinationState['name']> = new Set(['reserved', 'receiving', 'loading']);
/** The guest cannot have pulled all: its device state is not loaded. */
const beforeRun: ReadonlySet<DestinationState['name']> = new Set(['reserving', 'reserved', 'receiving']);
/** Decided against, or past it: facts still in flight are ignored. */
const ending: ReadonlySet<DestinationState['name']> = new Set([
  'discarding',
  'forgetting',
  'discarded',
  'losing',
  'lost',
]);

type EventOf<T extends DestinationEvent['type']> = Extract<DestinationEvent, { readonly type: T }>;

function journalSaid(state: DestinationState, event: EventOf<'journalled' | 'journalFailed'>): DestinationStep {
  const { entry } = event;
  // What was being written when the decision fell: the record of the decision follows it, so that its outcome is idle.
  const idle = entry === 'reserved' || entry === 'prepared' || entry === 'committed' || entry === 'active';
  if (ending.has(state.name) && idle) return stay(state);
  if (writing[entry] !== state.name) return illegal(state, event);
  return event.type === 'journalled' ? written(state) : notWritten(state, event.reason);
}

/** The one state in which each entry is awaited. */
const writing = {
  reserved: 'reserving',
  prepared: 'preparing',
  committed: 'committing',
  active: 'activating',
  pulled: 'completing',
  released: 'releasing',
  discarded: 'forgetting',
  lost: 'losing',
} as const satisfies Record<DestinationEntry['type'], DestinationState['name']>;

function written(state: DestinationState): DestinationStep {
  const { name } = state;
  if (name === 'reserving') return stay(state, { type: 'holdReservation' });
  if (name === 'preparing') return to({ name: 'prepared' }, { type: 'tellPrepared' });
  if (name === 'committing') return to({ name: 'committed' }, { type: 'runGuest' });
  if (name === 'activating' && state.pulling) return to({ name: 'pulling' }, ...pulling);
  if (name === 'activating' || name === 'completing') return to({ name: 'active' }, tellActive);
  if (name === 'releasing') return to({ name: 'released' });
  if (name === 'forgetting') {
    return to({ name: 'discarded', cause: state.cause }, gone(false), { type: 'report', notice: 'discarded' });
  }
  assert(name === 'losing', 'an entry is awaited in this state');
  const { mayHaveRun } = state;
  return to({ name: 'lost', mayHaveRun }, gone(mayHaveRun), { type: 'report', notice: 'lost' });
}

function notWritten(state: DestinationState, reason: string): DestinationStep {
  const { name } = state;
  // Uncertain or not: the source has not been told and can never commit.
  if (name === 'reserving' || name === 'preparing') return fail({ code: 'FERRY_JOURNAL', reason });
  // The others must be written before anything else happens: try until the disk has room again.
  if (name === 'committing') return stay(state, journalCommitted(state.by));
  if (name === 'activating') return stay(state, journalActive);
  if (name === 'completing') return stay(state, journalPulled);
  if (name === 'releasing') return stay(state, journalReleased);
  if (name === 'forgetting') return stay(state, journalDiscarded(state.cause));
  assert(name === 'losing', 'an entry is awaited in this state');
  return stay(state, journalLost(state.mayHaveRun));
}

function commitReceived(state: DestinationState): DestinationStep {
  switch (state.name) {
    case 'prepared':
    case 'inDoubt':
      return commit('source');
    case 'pulling':
    case 'completing':
      return stay(state, { type: 'tellActive', pulling: true });
    case 'active':
    case 'releasing':
    case 'released':
      return stay(state, tellActive);
    case 'discarded':
      return stay(state, gone(false));
    case 'lost':
      return stay(state, gone(state.mayHaveRun));
    case 'reserving':
    case 'reserved':
    case 'receiving':
    case 'loading':
    case 'preparing':
      return fail({ code: 'FERRY_PEER', reason: 'The source sent COMMIT without having been told PREPARED' });
    case 'committing':
    case 'committed':
    case 'activating':
    case 'discarding':
    case 'forgetting':
    case 'losing':
      return stay(state);
    default:
      return unreachable(state, 'destination state');
  }
}

function abortReceived(state: DestinationState): DestinationStep {
  if (early.has(state.name) || state.name === 'prepared' || state.name === 'inDoubt') {
    return discard({ code: 'FERRY_PEER', reason: 'The source aborted' });
  }
  // A person ran the guest here while the source was away, or the peer is broken. Nothing here can be taken back.
  return ending.has(state.name) ? stay(state) : stay(state, { type: 'report', notice: 'ownershipConflict' });
}

function advanced(
  state: DestinationState,
  event: EventOf<'reservationHeld' | 'feedStarted' | 'epilogueReceived' | 'loaded'>,
): DestinationStep {
  if (ending.has(state.name)) return stay(state);
  switch (event.type) {
    case 'reservationHeld':
      return state.name === 'reserving' ? to({ name: 'reserved' }, { type: 'tellReserved' }) : illegal(state, event);
    case 'feedStarted':
      if (state.name === 'reserved') return to({ name: 'receiving' });
      return state.name === 'reserving' ? outOfOrder(state, 'the feed') : stay(state);
    case 'epilogueReceived':
      return state.name === 'receiving'
        ? to({ name: 'loading' }, { type: 'loadEpilogue' })
        : outOfOrder(state, 'the epilogue');
    case 'loaded':
      if (state.name !== 'loading') return illegal(state, event);
      return to({ name: 'preparing' }, journal({ type: 'prepared', data: { qemu: event.qemu, pull: event.pull } }));
    default:
      return unreachable(event, 'destination event');
  }
}

function qemuDid(
  state: DestinationState,
  event: EventOf<'qemuGone' | 'incomingGone' | 'guestRunning' | 'pagesPulled'>,
): DestinationStep {
  switch (event.type) {
    case 'incomingGone':
      if (state.name === 'discarding')
        return to({ name: 'forgetting', cause: state.cause }, journalDiscarded(state.cause));
      return ending.has(state.name) ? stay(state) : illegal(state, event);
    case 'guestRunning':
      if (state.name === 'committed')
        return to({ name: 'activating', pulling: event.pulling }, journalActive, {
          type: 'report',
          notice: 'runningHere',
        });
      if (
        state.name === 'activating' ||
        state.name === 'pulling' ||
        state.name === 'completing' ||
        state.name === 'active' ||
        state.name === 'releasing' ||
        state.name === 'released'
      )
        return stay(state);
      // Died right after: LOST says that it may have run. Anywhere else only a hand at QEMU's monitor can have done it.
      if (state.name === 'losing' || state.name === 'lost') return stay(state);
      return stay(state, { type: 'report', notice: 'ownershipConflict' });
    case 'pagesPulled':
      return pagesPulled(state, event);
    case 'qemuGone':
      return qemuGone(state);
    default:
      return unreachable(event, 'destination event');
  }
}

function pagesPulled(state: DestinationState, event: EventOf<'pagesPulled'>): DestinationStep {
  if (state.name === 'pulling') return to({ name: 'completing' }, journalPulled);
  // The last page may come before `cont` has, or before ACTIVE is on disk.
  if (state.name === 'activating' && state.pulling) return to({ name: 'activating', pulling: false });
  return beforeRun.has(state.name) ? illegal(state, event) : stay(state);
}

function qemuGone(state: DestinationState): DestinationStep {
  if (early.has(state.name) || state.name === 'prepared') return fail(qemuCause);
  if (state.name === 'inDoubt') return discard(qemuCause);
  if (state.name === 'committing') return lose(false);
  if (state.name === 'committed') return lose(true);
  // What the source still holds is of no use any more, and it must not wait for ever.
  if (state.name === 'pulling' || (state.name === 'activating' && state.pulling)) return lose(true);
  // It had been handed over before it died: the same as any guest that dies on its host.
  if (state.name === 'activating' || state.name === 'completing' || state.name === 'active')
    return stay(state, { type: 'report', notice: 'guestDied' });
  return stay(state);
}

function personDecided(state: DestinationState, word: 'run' | 'discard'): DestinationStep {
  if (word === 'discard') {
    // The source is gone for good, says somebody who has looked: the first word gives the guest up, the second the record of it.
    if (state.name === 'pulling') return withReport(lose(true), 'pagesLost');
    if (state.name === 'lost') return to({ name: 'releasing' }, journalReleased);
  }
  if (state.name !== 'inDoubt') return stay(state, { type: 'report', notice: 'decisionRefused' });
  return word === 'run'
    ? commit('person')
    : discard({ code: 'FERRY_CANCELLED', reason: 'Discarded by a person while in doubt' });
}

const qemuCause: Cause = { code: 'FERRY_INCOMING', reason: 'The destination QEMU ended' };
const journalActive = journal({ type: 'active', data: {} });
const journalPulled = journal({ type: 'pulled', data: {} });
const journalReleased = journal({ type: 'released', data: {} });

function journal(entry: DestinationEntry): DestinationEffect {
  return { type: 'journal', entry };
}

function journalCommitted(by: 'source' | 'person'): DestinationEffect {
  return journal({ type: 'committed', data: { by } });
}

function journalDiscarded(cause: Cause): DestinationEffect {
  return journal({ type: 'discarded', data: cause });
}

function journalLost(mayHaveRun: boolean): DestinationEffect {
  return journal({ type: 'lost', data: { mayHaveRun } });
}

const tellActive: DestinationEffect = { type: 'tellActive', pulling: false };
const pulling: readonly DestinationEffect[] = [{ type: 'pullPages' }, { type: 'tellActive', pulling: true }];

function lose(mayHaveRun: boolean): DestinationStep {
  return to({ name: 'losing', mayHaveRun }, journalLost(mayHaveRun));
}

function withReport(step: DestinationStep, notice: DestinationNotice): DestinationStep {
  return { state: step.state, effects: [...step.effects, { type: 'report', notice }] };
}

function gone(mayHaveRun: boolean): DestinationEffect {
  return { type: 'tellGone', mayHaveRun };
}

function commit(by: 'source' | 'person'): DestinationStep {
  return to({ name: 'committing', by }, journalCommitted(by));
}

function discard(cause: Cause): DestinationStep {
  return to({ name: 'discarding', cause }, { type: 'discardIncoming' });
}

function fail(cause: Cause): DestinationStep {
  return to({ name: 'discarding', cause }, { type: 'discardIncoming' }, { type: 'tellFailed', cause });
}

function outOfOrder(state: DestinationState, what: string): DestinationStep {
  const cause = { code: 'FERRY_PEER', reason: `The source sent ${what} out of order` };
  return early.has(state.name) ? fail(cause) : stay(state);
}

function to(state: DestinationState, ...effects: DestinationEffect[]): DestinationStep {
  return { state, effects };
}

function stay(state: DestinationState, ...effects: DestinationEffect[]): DestinationStep {
  return { state, effects };
}

function illegal(state: DestinationState, event: DestinationEvent): never {
  throw new MachineError('MACHINE_ILLEGAL_EVENT', `The destination was told ${event.type} in state ${state.name}`, {
    state: state.name,
    event: event.type,
  });
}
