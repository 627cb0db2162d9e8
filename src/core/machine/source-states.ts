/**
 * Words of the source machine: its states, the facts it is told, the effects it asks for. The machine itself is
 * source-machine.ts; the page is docs/machine.md.
 */
import type { GuestWhereabouts } from '../model/migration.ts';
import type { SourceEntry } from './records.ts';

/** Why a migration ends without commit: a stable code and one sentence. */
export type Cause = { readonly code: string; readonly reason: string };

/** Whom and what; never changes during a migration. */
export type SourceSetup = { readonly vm: string; readonly peer: string; readonly qemu: string };

export type SourceState =
  /** BEGIN is being written; the destination does not know of the migration. */
  | { readonly name: 'preparing' }
  | { readonly name: 'reserving' }
  /** Pre-copy: the guest runs. */
  | { readonly name: 'copying' }
  /** QEMU has been told to switch over and has not stopped the guest yet. */
  | { readonly name: 'stopping' }
  /** The guest is stopped; the rest is under way, last the epilogue; without PREPARED nothing is decided. */
  | { readonly name: 'transferring'; readonly epilogue: 'waiting' | 'sent' }
  /** PREPARED is here, SHUT(0) was sent to QEMU, which has not reached `postmigrate` yet. */
  | { readonly name: 'fencing' }
  /** QEMU is in `postmigrate`; COMMIT is being written: nothing may be decided until it is known whether it is on disk. */
  | { readonly name: 'committing' }
  /** Writing COMMIT failed in a way that leaves open whether it is on disk. Nobody runs until the journal was reread. */
  | { readonly name: 'inDoubt' }
  /** COMMIT is on disk. The destination is told until it answers ACTIVE. This QEMU never runs again. */
  | { readonly name: 'handedOver' }
  /** The guest runs at the destination, which pulls what it misses from this QEMU's memory. It ends with ACTIVE, not pulling. */
  | { readonly name: 'serving' }
  /** ACTIVE is here; the finished QEMU is being quit. */
  | { readonly name: 'quitting' }
  /** DONE is being written. `pagesLost`: this QEMU ended before the destination had pulled everything. */
  | { readonly name: 'finishing'; readonly pagesLost: boolean }
  | { readonly name: 'done'; readonly pagesLost: boolean }
  /** Committed, but the destination's QEMU is gone. This QEMU is kept, stopped, until a person decides. */
  | { readonly name: 'stranded'; readonly mayHaveRun: boolean }
  /** A person takes the guest back from `stranded`: RETURNED is being written. */
  | { readonly name: 'returning' }
  /** Decided against, not yet known that the guest runs here. There is no way from here to COMMIT. */
  | { readonly name: 'aborting'; readonly cause: Cause }
  /** The guest's whereabouts are known; ABORTED is being written. */
  | { readonly name: 'closing'; readonly cause: Cause; readonly guest: GuestWhereabouts }
  | { readonly name: 'aborted'; readonly cause: Cause; readonly guest: GuestWhereabouts };

export type SourceEvent =
  /** The entry is on disk. */
  | { readonly type: 'journalled'; readonly entry: SourceEntry['type'] }
  /** `certain`: the entry is surely not on disk. Otherwise it may be there or not. */
  | {
      readonly type: 'journalFailed';
      readonly entry: SourceEntry['type'];
      readonly certain: boolean;
      readonly reason: string;
    }
  /** The journal was reopened (which rewrites and syncs it): what it says is on disk. */
  | { readonly type: 'journalReread'; readonly commitFound: boolean }
  | { readonly type: 'reserved' }
  | { readonly type: 'switchoverWanted' }
  /** QEMU began its END section: the guest's CPUs are stopped. Also when QEMU stopped it without being asked (7.2). */
  | { readonly type: 'guestStopped' }
  /** All pages are placed and acknowledged (and verified, if asked for), the device state is complete in our hands. */
  | { readonly type: 'drained' }
  /** The destination said PREPARED. */
  | { readonly type: 'preparedReceived' }
  /** QMP said `postmigrate`. */
  | { readonly type: 'postmigrateReached' }
  /** QMP said `running` and that no migration is active. Told when `resumeSource` is finished or when QEMU resumed by itself. */
  | { readonly type: 'sourceRunning' }
  /** The QEMU process is gone, by whatever cause. */
  | { readonly type: 'sourceQemuGone' }
  /** The guest runs at the destination. `pulling`: this QEMU's memory is still needed. */
  | { readonly type: 'activeReceived'; readonly pulling: boolean }
  /** The destination refused, failed or broke the protocol. */
  | { readonly type: 'destinationFailed'; readonly cause: Cause }
  /** The destination's durable word that it will never run the guest from now on; `mayHaveRun`: but perhaps did. */
  | { readonly type: 'destinationGone'; readonly mayHaveRun: boolean }
  | { readonly type: 'linkLost' }
  /** Anything that failed here: feed, verify, lanes, a time-out, shutdown of the agent. */
  | { readonly type: 'failed'; readonly cause: Cause }
  | { readonly type: 'cancelled'; readonly reason: string }
  /** The destination asks for the outcome. */
  | { readonly type: 'queried' }
  | { readonly type: 'personDecided'; readonly word: 'run' | 'discard' };

/** Answer to a `query`. `unknown` is given by the agent for an id of which its journal says nothing; it means aborted. */
export type QueryAnswer = 'committed' | 'aborted' | 'undecided' | 'unknown';

export type SourceNotice =
  | 'cancelRefused'
  | 'outcomeUncertain'
  | 'handedOver'
  | 'serving'
  | 'pagesLost'
  | 'stranded'
  | 'decisionRefused'
  | 'ownershipConflict'
  | 'completed'
  | 'aborted';

/** Every effect may be carried out more than once. The driver reports what came of it as an event. */
export type SourceEffect =
  /** Append and sync; ends in journalled or journalFailed. A poisoned journal is reopened first; retries are spaced out. */
  | { readonly type: 'journal'; readonly entry: SourceEntry }
  /** Reopen the journal until that succeeds; ends in journalReread. */
  | { readonly type: 'rereadJournal' }
  | { readonly type: 'reserve' }
  | { readonly type: 'startFeed' }
  | { readonly type: 'goSwitchover' }
  | { readonly type: 'sendEpilogue' }
  /** SHUT(0), then poll QMP; ends in postmigrateReached, sourceRunning, sourceQemuGone or failed (time-out). */
  | { readonly type: 'releaseSourceQemu' }
  /** COMMIT to the destination on any connection, again and again while the state lasts. */
  | { readonly type: 'tellCommit' }
  /**
   * Keep a connection on which the destination can pull pages, again and again while the state lasts: COMMIT on a new one
   * makes it ours. Ends in activeReceived, destinationGone or (this QEMU is not there) sourceQemuGone.
   */
  | { readonly type: 'servePages' }
  /** Best effort: a destination that misses it asks. */
  | { readonly type: 'tellAbort' }
  /** Tells the destination that it may forget the migration. */
  | { readonly type: 'tellDone' }
  | { readonly type: 'answer'; readonly answer: QueryAnswer }
  /**
   * Make sure that the guest runs: close the migration socket; wait while QEMU is in `finish-migrate`; `running` is fine;
   * `cont` in `postmigrate` or `paused`. Repeated until it ends in sourceRunning or sourceQemuGone.
   */
  | { readonly type: 'resumeSource' }
  /** QMP `stop`: somebody else started a QEMU that no longer owns the guest. */
  | { readonly type: 'haltSource' }
  /** Quit exactly the process of the BEGIN record; ends in sourceQemuGone. */
  | { readonly type: 'quitSourceQemu' }
  | { readonly type: 'report'; readonly notice: SourceNotice };

export type SourceStep = { readonly state: SourceState; readonly effects: readonly SourceEffect[] };

/** What a restarted agent sees of the QEMU of the BEGIN record. `unreachable`: the process lives, QMP does not answer. */
export type ObservedSource = 'running' | 'finish-migrate' | 'postmigrate' | 'paused' | 'unreachable' | 'gone';

export type { SourceEntry } from './records.ts';
