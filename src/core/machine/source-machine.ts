/**
 * The source's side of the transaction: the coordinator.
 *
 * Invariants, checked by transaction.test.ts over random schedules with faults:
 *  - COMMIT is journalled only in `committing`, which is entered only when QEMU said `postmigrate`: COMMIT on disk implies
 *    that this guest is finally stopped here. After it no path leads to `resumeSource` but through a person's word.
 *  - COMMIT is told only when it is on disk. Hence before that any failure may end with `resumeSource`.
 *  - `quitSourceQemu` follows only ACTIVE of a destination that has all pages, or a person's word.
 *  - Once aborting, no path leads to COMMIT. Hence `aborted` is a safe answer to a query.
 *
 * ```mermaid
 * stateDiagram-v2
 *   [*] --> preparing
 *   preparing --> reserving: journalled(begin)
 *   reserving --> copying: reserved
 *   copying --> stopping: switchoverWanted
 *   copying --> transferring: guestStopped
 *   stopping --> transferring: guestStopped
 *   transferring --> fencing: preparedReceived / SHUT(0)
 *   fencing --> committing: postmigrateReached
 *   committing --> handedOver: journalled(commit) / tellCommit
 *   committing --> inDoubt: journalFailed(uncertain)
 *   inDoubt --> handedOver: journalReread(found)
 *   inDoubt --> aborting: journalReread(not found)
 *   committing --> aborting: journalFailed(certain)
 *   handedOver --> quitting: activeReceived
 *   handedOver --> serving: activeReceived(pulling) / servePages
 *   serving --> quitting: activeReceived
 *   serving --> stranded: destinationGone
 *   serving --> finishing: sourceQemuGone
 *   handedOver --> stranded: destinationGone
 *   stranded --> quitting: personDecided(discard)
 *   stranded --> returning: personDecided(run), unless it may have run
 *   returning --> aborting: journalled(returned)
 *   quitting --> finishing: sourceQemuGone
 *   finishing --> done: journalled(done)
 *   preparing --> aborting: any failure, cancel
 *   reserving --> aborting: any failure, cancel
 *   copying --> aborting: any failure, cancel
 *   stopping --> aborting: any failure, cancel
 *   transferring --> aborting: any failure, cancel
 *   fencing --> aborting: any failure, cancel
 *   aborting --> closing: sourceRunning, sourceQemuGone
 *   closing --> aborted: journalled(aborted)
 * ```
 */
import { assert, unreachable } from '../base/assert.ts';
import { MachineError } from './errors.ts';
import type { SourceEntry } from './records.ts';
import type {
  Cause,
  QueryAnswer,
  SourceEffect,
  SourceEvent,
  SourceSetup,
  SourceState,
  SourceStep,
} from './source-states.ts';

/** The machine of a new migration. The first effect writes BEGIN, before the destination hears of it. */
export function startSource(setup: SourceSetup): SourceStep {
  return { state: { name: 'preparing' }, effects: [{ type: 'journal', entry: { type: 'begin', data: setup } }] };
}

/** True while nothing is decided: a cancel is accepted. In `committing` it may be too late, so it is refused. */
export function canCancel(state: SourceState): boolean {
  return undecided.has(state.name);
}

/** The machine has ended: nothing is left to do, and a new migration of this VM may begin. */
export function sourceEnded(state: SourceState): boolean {
  return state.name === 'done' || state.name === 'aborted';
}

/** What a destination in doubt is told. Presumed abort: no COMMIT and no chance of one means aborted. */
export function answerOf(state: SourceState): QueryAnswer {
  switch (state.name) {
    case 'handedOver':
    case 'serving':
    case 'quitting':
    case 'finishing':
    case 'done':
    case 'stranded':
      return 'committed';
    case 'aborting':
    case 'closing':
    case 'aborted':
      return 'aborted';
    case 'preparing':
    case 'reserving':
    case 'copying':
    case 'stopping':
    case 'transferring':
    case 'fencing':
    case 'committing':
    case 'inDoubt':
    case 'returning':
      return 'undecided';
    default:
      return unreachable(state, 'source state');
  }
}

/**
 * The effects that hold as long as a state lasts. The driver runs them again after a restart, when a connection comes back
 * and from time to time. Data-plane effects are not among them: a migration without decision does not survive its agent.
 */
export function standingSourceEffects(state: SourceState): readonly SourceEffect[] {
  const { name } = state;
  if (name === 'inDoubt') return [{ type: 'rereadJournal' }];
  if (name === 'handedOver') return [{ type: 'tellCommit' }];
  if (name === 'serving') return [{ type: 'servePages' }];
  if (name === 'quitting') return [{ type: 'quitSourceQemu' }];
  if (name === 'aborting') return [{ type: 'resumeSource' }, { type: 'tellAbort' }];
  return name === 'closing' ? [{ type: 'tellAbort' }] : [];
}

/**
 * The next state and what has to be done, for every pair of state and event. Throws MachineError for facts that cannot be
 * true in the state (the driver is wrong); what a peer says at the wrong moment is never such a fact.
 */
export function stepSource(state: SourceState, event: SourceEvent): SourceStep {
  switch (event.type) {
    case 'queried':
      return stay(state, { type: 'answer', answer: answerOf(state) });
    case 'cancelled':
      if (canCancel(state)) return abort({ code: 'FERRY_CANCELLED', reason: event.reason });
      return stay(state, { type: 'report', notice: 'cancelRefused' });
    case 'personDecided':
      return personDecided(state, event.word);
    case 'journalled':
    case 'journalFailed':
    case 'journalReread':
      return journalSaid(state, event);
    case 'destinationFailed':
    case 'failed':
      return canCancel(state) ? abort(event.cause) : stay(state);
    case 'linkLost':
      if (state.name === 'serving') return stay(state, { type: 'servePages' });
      return canCancel(state) ? abort({ code: 'FERRY_PEER_SILENT', reason: 'The connection was lost' }) : stay(state);
    case 'reserved':
    case 'preparedReceived':
    case 'activeReceived':
    case 'destinationGone':
      return peerSaid(state, event);
    case 'switchoverWanted':
    case 'guestStopped':
    case 'drained':
    case 'postmigrateReached':
    case 'sourceRunning':
    case 'sourceQemuGone':
      return qemuDid(state, event);
    default:
      return unreachable(event, 'source event');
  }
}

const undecided: ReadonlySet<SourceState['name']> = new Set([
  'preparing',
  'reserving',
  'copying',
  'stopping',
  'transferring',
  'fencing',
]);

/** From the decision against the migration on: facts of the data plane still in flight are ignored. */
const aborts: ReadonlySet<SourceState['name']> = new Set(['aborting', 'closing', 'aborted']);

/** Behind COMMIT, or possibly so: this QEMU must not run. */
const fenced: ReadonlySet<SourceState['name']> = new Set([
  'committing',
  'inDoubt',
  'handedOver',
  'serving',
  'quitting',
  'stranded',
]);

type EventOf<T extends SourceEvent['type']> = Extract<SourceEvent, { readonly type: T }>;

function journalSaid(state: SourceState, event: EventOf<'journalled' | 'journalFailed' | 'journalReread'>): SourceStep {
  if (event.type === 'journalReread') {
    if (state.name === 'inDoubt') {
      return event.commitFound ? handOver() : abort(journalCause('The commit record could not be written'));
    }
    // Read twice: the same must have been found.
    const answer = answerOf(state);
    return answer === (event.commitFound ? 'committed' : 'aborted') ? stay(state) : illegal(state, event);
  }
  const { entry } = event;
  // A cancel does not wait for BEGIN; its outcome no longer matters, ABORTED follows it.
  if (entry === 'begin' && aborts.has(state.name)) return stay(state);
  if (writing[entry] !== state.name) return illegal(state, event);
  return event.type === 'journalled' ? written(state) : notWritten(state, event);
}

/** The one state in which each entry is awaited. */
const writing = {
  begin: 'preparing',
  commit: 'committing',
  done: 'finishing',
  returned: 'returning',
  aborted: 'closing',
} as const satisfies Record<SourceEntry['type'], SourceState['name']>;

function written(state: SourceState): SourceStep {
  const { name } = state;
  if (name === 'preparing') return to({ name: 'reserving' }, { type: 'reserve' });
  if (name === 'committing') return handOver();
  if (name === 'finishing') {
    const { pagesLost } = state;
    const notice = pagesLost ? 'pagesLost' : 'completed';
    return to({ name: 'done', pagesLost }, { type: 'tellDone' }, { type: 'report', notice });
  }
  if (name === 'returning') {
    return abort({ code: 'FERRY_PEER', reason: 'The destination lost the guest; a person took it back' });
  }
  assert(name === 'closing', 'an entry is awaited in this state');
  return to({ name: 'aborted', cause: state.cause, guest: state.guest }, { type: 'report', notice: 'aborted' });
}

function notWritten(state: SourceState, event: EventOf<'journalFailed'>): SourceStep {
  const { name } = state;
  if (name === 'preparing') return abort(journalCause(event.reason));
  if (name === 'committing') {
    if (event.certain) return abort(journalCause(event.reason));
    return to({ name: 'inDoubt' }, { type: 'rereadJournal' }, { type: 'report', notice: 'outcomeUncertain' });
  }
  // Nothing hangs on when the others are written: try until the disk has room again.
  if (name === 'finishing') return stay(state, journalDone);
  if (name === 'returning') return stay(state, journalReturned);
  assert(name === 'closing', 'an entry is awaited in this state');
  return stay(state, journalAborted(state.cause));
}

function peerSaid(
  state: SourceState,
  event: EventOf<'reserved' | 'preparedReceived' | 'activeReceived' | 'destinationGone'>,
): SourceStep {
  switch (event.type) {
    case 'reserved':
      if (state.name === 'reserving') return to({ name: 'copying' }, { type: 'startFeed' });
      // The abort overtook the request: what was reserved meanwhile is given back.
      if (aborts.has(state.name)) return stay(state, { type: 'tellAbort' });
      return state.name === 'preparing' ? abort(outOfOrder('RESERVED')) : stay(state);
    case 'preparedReceived':
      // Before the epilogue was sent it cannot be true.
      if (state.name === 'transferring' && state.epilogue === 'sent') {
        return to({ name: 'fencing' }, { type: 'releaseSourceQemu' });
      }
      if (aborts.has(state.name)) return stay(state, { type: 'tellAbort' });
      return canCancel(state) && state.name !== 'fencing' ? abort(outOfOrder('PREPARED')) : stay(state);
    case 'activeReceived':
      if (state.name === 'handedOver' || state.name === 'serving') return guestActive(state, event.pulling);
      if (state.name === 'done') return stay(state, { type: 'tellDone' });
      if (state.name === 'quitting' || state.name === 'finishing') return stay(state);
      // ACTIVE without COMMIT: a person decided there, or the peer is broken. Nothing here can be taken back.
      if (canCancel(state)) return withReport(abort(outOfOrder('ACTIVE')));
      return stay(state, { type: 'report', notice: 'ownershipConflict' });
    case 'destinationGone':
      if (canCancel(state)) return abort({ code: 'FERRY_PEER', reason: 'The destination gave the guest up' });
      if (sourceEnded(state)) return stay(state, { type: 'tellDone' });
      if (state.name !== 'handedOver' && state.name !== 'serving') return stay(state);
      // Where pages were served, the guest did run, whatever is said by somebody who has forgotten.
      return to(
        { name: 'stranded', mayHaveRun: event.mayHaveRun || state.name === 'serving' },
        { type: 'report', notice: 'stranded' },
      );
    default:
      return unreachable(event, 'source event');
  }
}

function qemuDid(
  state: SourceState,
  event: EventOf<
    'switchoverWanted' | 'guestStopped' | 'drained' | 'postmigrateReached' | 'sourceRunning' | 'sourceQemuGone'
  >,
): SourceStep {
  switch (event.type) {
    case 'sourceQemuGone':
      return qemuGone(state);
    case 'sourceRunning':
      return qemuRuns(state);
    case 'switchoverWanted':
      if (state.name === 'copying') return to({ name: 'stopping' }, { type: 'goSwitchover' });
      // QEMU may stop the guest in the same moment.
      return state.name === 'transferring' || state.name === 'stopping' || aborts.has(state.name)
        ? stay(state)
        : illegal(state, event);
    case 'guestStopped':
      if (state.name === 'copying' || state.name === 'stopping')
        return to({ name: 'transferring', epilogue: 'waiting' });
      return state.name === 'transferring' || aborts.has(state.name) ? stay(state) : illegal(state, event);
    case 'drained':
      if (state.name === 'transferring') {
        return to({ name: 'transferring', epilogue: 'sent' }, { type: 'sendEpilogue' });
      }
      return aborts.has(state.name) ? stay(state) : illegal(state, event);
    case 'postmigrateReached':
      if (state.name === 'fencing')
        return to({ name: 'committing' }, { type: 'journal', entry: { type: 'commit', data: {} } });
      // Late, while aborting: resumeSource is under way and finds it.
      return aborts.has(state.name) || fenced.has(state.name) ? stay(state) : illegal(state, event);
    default:
      return unreachable(event, 'source event');
  }
}

/** The guest runs there; whether this QEMU is needed any longer is the destination's word. */
function guestActive(state: SourceState, pulling: boolean): SourceStep {
  if (!pulling) return to({ name: 'quitting' }, { type: 'quitSourceQemu' }, { type: 'report', notice: 'handedOver' });
  if (state.name === 'serving') return stay(state);
  return to({ name: 'serving' }, { type: 'servePages' }, { type: 'report', notice: 'serving' });
}

function qemuRuns(state: SourceState): SourceStep {
  if (state.name === 'aborting') return close(state.cause, 'running at source');
  if (state.name === 'transferring' || state.name === 'fencing') {
    return abort({ code: 'FERRY_QEMU', reason: 'QEMU resumed the guest by itself' });
  }
  // Only a hand at QEMU's monitor can do this. What it wrote meanwhile is lost, but there will be one owner.
  if (fenced.has(state.name))
    return stay(state, { type: 'haltSource' }, { type: 'report', notice: 'ownershipConflict' });
  return stay(state);
}

function qemuGone(state: SourceState): SourceStep {
  if (canCancel(state)) return abort({ code: 'FERRY_QEMU', reason: 'The source QEMU ended' });
  if (state.name === 'aborting') return close(state.cause, 'lost');
  if (state.name === 'quitting') return to({ name: 'finishing', pagesLost: false }, journalDone);
  if (state.name === 'serving') return to({ name: 'finishing', pagesLost: true }, journalDone);
  // `committing`: postmigrate was reached. Whether it had anything left to give shows in `serving`.
  return stay(state);
}

function personDecided(state: SourceState, word: 'run' | 'discard'): SourceStep {
  if (state.name !== 'stranded') return stay(state, { type: 'report', notice: 'decisionRefused' });
  if (word === 'discard') return to({ name: 'quitting' }, { type: 'quitSourceQemu' });
  // The disks have moved on: running this memory again would destroy them.
  if (state.mayHaveRun) return stay(state, { type: 'report', notice: 'decisionRefused' });
  return to({ name: 'returning' }, journalReturned);
}

const journalDone: SourceEffect = { type: 'journal', entry: { type: 'done', data: {} } };
const journalReturned: SourceEffect = { type: 'journal', entry: { type: 'returned', data: {} } };

function journalAborted(cause: Cause): SourceEffect {
  return { type: 'journal', entry: { type: 'aborted', data: cause } };
}

function handOver(): SourceStep {
  return to({ name: 'handedOver' }, { type: 'tellCommit' });
}

function abort(cause: Cause): SourceStep {
  const state: SourceState = { name: 'aborting', cause };
  return { state, effects: standingSourceEffects(state) };
}

function close(cause: Cause, guest: 'running at source' | 'lost'): SourceStep {
  return to({ name: 'closing', cause, guest }, journalAborted(cause));
}

function journalCause(reason: string): Cause {
  return { code: 'FERRY_JOURNAL', reason };
}

function outOfOrder(message: string): Cause {
  return { code: 'FERRY_PEER', reason: `The destination sent ${message} out of order` };
}

function withReport(step: SourceStep): SourceStep {
  return { state: step.state, effects: [...step.effects, { type: 'report', notice: 'ownershipConflict' }] };
}

function to(state: SourceState, ...effects: SourceEffect[]): SourceStep {
  return { state, effects };
}

function stay(state: SourceState, ...effects: SourceEffect[]): SourceStep {
  return { state, effects };
}

function illegal(state: SourceState, event: SourceEvent): never {
  throw new MachineError('MACHINE_ILLEGAL_EVENT', `The source was told ${event.type} in state ${state.name}`, {
    state: state.name,
    event: event.type,
  });
}
