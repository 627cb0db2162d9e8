/**
 * Words of the destination machine: its states, the facts it is told, the effects it asks for. The machine itself is
 * destination-machine.ts; the page is docs/machine.md.
 */
import type { DestinationEntry } from './records.ts';
import type { Cause, QueryAnswer } from './source-states.ts';

export type DestinationSetup = { readonly vm: string; readonly peer: string };

/** Who decided that the guest runs here. */
export type DecidedBy = 'source' | 'person';

export type DestinationState =
  /** RESERVED is being written, then memory, name and QEMU are being got. */
  | { readonly name: 'reserving' }
  /** Held under a lease; QEMU waits for its stream. */
  | { readonly name: 'reserved' }
  | { readonly name: 'receiving' }
  /** The epilogue is complete and QEMU loads it. */
  | { readonly name: 'loading' }
  /** All is loaded; PREPARED is being written; the source has not been told. */
  | { readonly name: 'preparing' }
  /** PREPARED is on disk and told. From here on only the source (or a person) decides. */
  | { readonly name: 'prepared' }
  /** Prepared and the source cannot be heard: asks, and neither starts nor discards by itself. */
  | { readonly name: 'inDoubt' }
  /** The source committed; COMMITTED is being written; the guest has not run here. */
  | { readonly name: 'committing'; readonly by: DecidedBy }
  /** COMMITTED is on disk; `cont` is under way. */
  | { readonly name: 'committed' }
  /** The guest runs here; ACTIVE is being written. `pulling`: pages are still at the source. */
  | { readonly name: 'activating'; readonly pulling: boolean }
  /** ACTIVE is on disk, and pages that the guest may touch are still at the source, which must keep them. */
  | { readonly name: 'pulling' }
  /** All pages are here; PULLED is being written; the source has not been told. */
  | { readonly name: 'completing' }
  /** ACTIVE is on disk and nothing is needed of the source; told until the source says DONE. */
  | { readonly name: 'active' }
  /** RELEASED is being written. */
  | { readonly name: 'releasing' }
  | { readonly name: 'released' }
  /** Decided against; QEMU and reservation are being given back. */
  | { readonly name: 'discarding'; readonly cause: Cause }
  /** Nothing is left of it but the record; DISCARDED is being written. */
  | { readonly name: 'forgetting'; readonly cause: Cause }
  | { readonly name: 'discarded'; readonly cause: Cause }
  /** Committed, but QEMU died: LOST is being written. */
  | { readonly name: 'losing'; readonly mayHaveRun: boolean }
  /** LOST is on disk; told until the source says DONE. */
  | { readonly name: 'lost'; readonly mayHaveRun: boolean };

export type DestinationEvent =
  | { readonly type: 'journalled'; readonly entry: DestinationEntry['type'] }
  | {
      readonly type: 'journalFailed';
      readonly entry: DestinationEntry['type'];
      readonly certain: boolean;
      readonly reason: string;
    }
  /** Memory, name and vCPUs are held and the incoming QEMU waits. */
  | { readonly type: 'reservationHeld' }
  /** The first bytes of the migration came. */
  | { readonly type: 'feedStarted' }
  | { readonly type: 'epilogueReceived' }
  /**
   * The stream is loaded and the guest is paused. `qemu` names the process, as in the PREPARED record; `pull`: all but pages
   * that will be pulled.
   */
  | { readonly type: 'loaded'; readonly qemu: string; readonly pull: boolean }
  | { readonly type: 'commitReceived' }
  | { readonly type: 'abortReceived' }
  /** Answer to `querySource`. */
  | { readonly type: 'answered'; readonly answer: QueryAnswer }
  | { readonly type: 'doneReceived' }
  | { readonly type: 'linkLost' }
  | { readonly type: 'leaseExpired' }
  | { readonly type: 'failed'; readonly cause: Cause }
  /** The QEMU process is gone without having been asked to. */
  | { readonly type: 'qemuGone' }
  /** `discardIncoming` is finished: no process, no reservation. */
  | { readonly type: 'incomingGone' }
  /** QMP said `running`. `pulling`: pages are still at the source. */
  | { readonly type: 'guestRunning'; readonly pulling: boolean }
  /** Every page is here: QEMU said SHUT(0) behind the last one. */
  | { readonly type: 'pagesPulled' }
  | { readonly type: 'personDecided'; readonly word: 'run' | 'discard' };

export type DestinationNotice =
  | 'inDoubt'
  | 'runningHere'
  | 'guestDied'
  | 'pagesLost'
  | 'discarded'
  | 'lost'
  | 'decisionRefused'
  | 'ownershipConflict';

/** Every effect may be carried out more than once. The driver reports what came of it as an event. */
export type DestinationEffect =
  | { readonly type: 'journal'; readonly entry: DestinationEntry }
  /** Take name, memory and vCPUs, start QEMU with `-incoming defer -S`; ends in reservationHeld or failed. */
  | { readonly type: 'holdReservation' }
  | { readonly type: 'tellReserved' }
  /** Ends in loaded, failed or qemuGone. */
  | { readonly type: 'loadEpilogue' }
  | { readonly type: 'tellPrepared' }
  /** Best effort, so that the source aborts at once instead of by a time-out. */
  | { readonly type: 'tellFailed'; readonly cause: Cause }
  /** Ask the source for the outcome, again and again while the state lasts; ends in answered. */
  | { readonly type: 'querySource' }
  /** `cont`, then `announce-self`; repeated (the image lock may be held for a moment) until guestRunning or qemuGone. */
  | { readonly type: 'runGuest' }
  | { readonly type: 'tellActive'; readonly pulling: boolean }
  /** Pull what is missing over whatever connection the source makes; ends in pagesPulled or qemuGone. */
  | { readonly type: 'pullPages' }
  /** "It will never run here": only after DISCARDED or LOST is on disk. */
  | { readonly type: 'tellGone'; readonly mayHaveRun: boolean }
  /** Kill the incoming QEMU, give the reservation back; repeated until incomingGone. */
  | { readonly type: 'discardIncoming' }
  | { readonly type: 'report'; readonly notice: DestinationNotice };

export type DestinationStep = { readonly state: DestinationState; readonly effects: readonly DestinationEffect[] };

/** What a restarted agent sees of the incoming QEMU. `paused`: also still `inmigrate`, or QMP does not answer. */
export type ObservedDestination = 'running' | 'paused' | 'gone';
