/** One sample of every state and of every kind of event, for the tests that walk all pairs. */
import type { DestinationEvent, DestinationState } from './destination-states.ts';
import { MachineError } from './errors.ts';
import type { Cause, SourceEvent, SourceState } from './source-states.ts';

const cause: Cause = { code: 'FERRY_PEER', reason: 'sample' };
const reason = 'sample';

export const sourceStates: Readonly<Record<string, SourceState>> = {
  preparing: { name: 'preparing' },
  reserving: { name: 'reserving' },
  copying: { name: 'copying' },
  stopping: { name: 'stopping' },
  transferring: { name: 'transferring', epilogue: 'sent' },
  'transferring:waiting': { name: 'transferring', epilogue: 'waiting' },
  fencing: { name: 'fencing' },
  committing: { name: 'committing' },
  inDoubt: { name: 'inDoubt' },
  handedOver: { name: 'handedOver' },
  quitting: { name: 'quitting' },
  serving: { name: 'serving' },
  finishing: { name: 'finishing', pagesLost: false },
  'finishing:lost': { name: 'finishing', pagesLost: true },
  done: { name: 'done', pagesLost: false },
  'stranded:clean': { name: 'stranded', mayHaveRun: false },
  'stranded:ran': { name: 'stranded', mayHaveRun: true },
  returning: { name: 'returning' },
  aborting: { name: 'aborting', cause },
  closing: { name: 'closing', cause, guest: 'running at source' },
  aborted: { name: 'aborted', cause, guest: 'running at source' },
} satisfies Record<Exclude<SourceState['name'], 'stranded'>, SourceState> & Record<string, SourceState>;

const sourceFacts: {
  readonly [T in SourceEvent['type']]: Readonly<Record<string, Extract<SourceEvent, { type: T }>>>;
} = {
  journalled: {
    'journalled:begin': { type: 'journalled', entry: 'begin' },
    'journalled:commit': { type: 'journalled', entry: 'commit' },
    'journalled:done': { type: 'journalled', entry: 'done' },
    'journalled:returned': { type: 'journalled', entry: 'returned' },
    'journalled:aborted': { type: 'journalled', entry: 'aborted' },
  },
  journalFailed: {
    'failed:begin': { type: 'journalFailed', entry: 'begin', certain: false, reason },
    'failed:commit:certain': { type: 'journalFailed', entry: 'commit', certain: true, reason },
    'failed:commit:uncertain': { type: 'journalFailed', entry: 'commit', certain: false, reason },
    'failed:done': { type: 'journalFailed', entry: 'done', certain: true, reason },
    'failed:returned': { type: 'journalFailed', entry: 'returned', certain: false, reason },
    'failed:aborted': { type: 'journalFailed', entry: 'aborted', certain: true, reason },
  },
  journalReread: {
    'journalReread:commit': { type: 'journalReread', commitFound: true },
    'journalReread:none': { type: 'journalReread', commitFound: false },
  },
  reserved: { reserved: { type: 'reserved' } },
  switchoverWanted: { switchoverWanted: { type: 'switchoverWanted' } },
  guestStopped: { guestStopped: { type: 'guestStopped' } },
  drained: { drained: { type: 'drained' } },
  preparedReceived: { preparedReceived: { type: 'preparedReceived' } },
  postmigrateReached: { postmigrateReached: { type: 'postmigrateReached' } },
  sourceRunning: { sourceRunning: { type: 'sourceRunning' } },
  sourceQemuGone: { sourceQemuGone: { type: 'sourceQemuGone' } },
  activeReceived: {
    activeReceived: { type: 'activeReceived', pulling: false },
    'activeReceived:pulling': { type: 'activeReceived', pulling: true },
  },
  destinationFailed: { destinationFailed: { type: 'destinationFailed', cause } },
  destinationGone: {
    'destinationGone:clean': { type: 'destinationGone', mayHaveRun: false },
    'destinationGone:ran': { type: 'destinationGone', mayHaveRun: true },
  },
  linkLost: { linkLost: { type: 'linkLost' } },
  failed: { failed: { type: 'failed', cause } },
  cancelled: { cancelled: { type: 'cancelled', reason } },
  queried: { queried: { type: 'queried' } },
  personDecided: {
    'person:run': { type: 'personDecided', word: 'run' },
    'person:discard': { type: 'personDecided', word: 'discard' },
  },
};

export const sourceEvents: Readonly<Record<string, SourceEvent>> = Object.assign({}, ...Object.values(sourceFacts));

export const destinationStates: Readonly<Record<string, DestinationState>> = {
  reserving: { name: 'reserving' },
  reserved: { name: 'reserved' },
  receiving: { name: 'receiving' },
  loading: { name: 'loading' },
  preparing: { name: 'preparing' },
  prepared: { name: 'prepared' },
  inDoubt: { name: 'inDoubt' },
  committing: { name: 'committing', by: 'source' },
  committed: { name: 'committed' },
  activating: { name: 'activating', pulling: false },
  'activating:pulling': { name: 'activating', pulling: true },
  pulling: { name: 'pulling' },
  completing: { name: 'completing' },
  active: { name: 'active' },
  releasing: { name: 'releasing' },
  released: { name: 'released' },
  discarding: { name: 'discarding', cause },
  forgetting: { name: 'forgetting', cause },
  discarded: { name: 'discarded', cause },
  losing: { name: 'losing', mayHaveRun: true },
  lost: { name: 'lost', mayHaveRun: true },
} satisfies Record<DestinationState['name'], DestinationState> & Record<string, DestinationState>;

const destinationFacts: {
  readonly [T in DestinationEvent['type']]: Readonly<Record<string, Extract<DestinationEvent, { type: T }>>>;
} = {
  journalled: {
    'journalled:reserved': { type: 'journalled', entry: 'reserved' },
    'journalled:prepared': { type: 'journalled', entry: 'prepared' },
    'journalled:committed': { type: 'journalled', entry: 'committed' },
    'journalled:active': { type: 'journalled', entry: 'active' },
    'journalled:pulled': { type: 'journalled', entry: 'pulled' },
    'journalled:released': { type: 'journalled', entry: 'released' },
    'journalled:discarded': { type: 'journalled', entry: 'discarded' },
    'journalled:lost': { type: 'journalled', entry: 'lost' },
  },
  journalFailed: {
    'failed:reserved': { type: 'journalFailed', entry: 'reserved', certain: true, reason },
    'failed:prepared': { type: 'journalFailed', entry: 'prepared', certain: false, reason },
    'failed:committed': { type: 'journalFailed', entry: 'committed', certain: false, reason },
    'failed:active': { type: 'journalFailed', entry: 'active', certain: true, reason },
    'failed:pulled': { type: 'journalFailed', entry: 'pulled', certain: true, reason },
    'failed:released': { type: 'journalFailed', entry: 'released', certain: true, reason },
    'failed:discarded': { type: 'journalFailed', entry: 'discarded', certain: true, reason },
    'failed:lost': { type: 'journalFailed', entry: 'lost', certain: true, reason },
  },
  reservationHeld: { reservationHeld: { type: 'reservationHeld' } },
  feedStarted: { feedStarted: { type: 'feedStarted' } },
  epilogueReceived: { epilogueReceived: { type: 'epilogueReceived' } },
  loaded: { loaded: { type: 'loaded', qemu: '2:2', pull: false } },
  commitReceived: { commitReceived: { type: 'commitReceived' } },
  abortReceived: { abortReceived: { type: 'abortReceived' } },
  answered: {
    'answered:committed': { type: 'answered', answer: 'committed' },
    'answered:aborted': { type: 'answered', answer: 'aborted' },
    'answered:unknown': { type: 'answered', answer: 'unknown' },
    'answered:undecided': { type: 'answered', answer: 'undecided' },
  },
  doneReceived: { doneReceived: { type: 'doneReceived' } },
  linkLost: { linkLost: { type: 'linkLost' } },
  leaseExpired: { leaseExpired: { type: 'leaseExpired' } },
  failed: { failed: { type: 'failed', cause } },
  qemuGone: { qemuGone: { type: 'qemuGone' } },
  incomingGone: { incomingGone: { type: 'incomingGone' } },
  guestRunning: {
    guestRunning: { type: 'guestRunning', pulling: false },
    'guestRunning:pulling': { type: 'guestRunning', pulling: true },
  },
  pagesPulled: { pagesPulled: { type: 'pagesPulled' } },
  personDecided: {
    'person:run': { type: 'personDecided', word: 'run' },
    'person:discard': { type: 'personDecided', word: 'discard' },
  },
};

export const destinationEvents: Readonly<Record<string, DestinationEvent>> = Object.assign(
  {},
  ...Object.values(destinationFacts),
);

type Described = {
  readonly pulling?: boolean;
  readonly type: string;
  readonly entry?: { readonly type: string };
  readonly notice?: string;
  readonly answer?: string;
};

/** What a pair does, in one line: "state: effects", "ignored", "stays: effects" or "illegal". */
export function cell<S extends { readonly name: string }, E>(
  step: (state: S, event: E) => { readonly state: S; readonly effects: readonly Described[] },
  state: S,
  event: E,
): string {
  try {
    const next = step(state, event);
    const effects = next.effects.map((effect) => {
      const detail =
        effect.entry?.type ?? effect.notice ?? effect.answer ?? (effect.pulling === true ? 'pulling' : undefined);
      return detail === undefined ? effect.type : `${effect.type}(${detail})`;
    });
    const where = next.state === state ? (effects.length === 0 ? 'ignored' : 'stays') : next.state.name;
    return effects.length === 0 ? where : `${where}: ${effects.join(' ')}`;
  } catch (error) {
    if (error instanceof MachineError && error.code === 'MACHINE_ILLEGAL_EVENT') return 'illegal';
    throw error;
  }
}
