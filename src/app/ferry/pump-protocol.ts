/**
 * The messages between a source session (main thread) and its pump (worker thread).
 *
 * The pump owns the data plane of one migration at the source: QEMU's migration socket, the page table, the scheduler
 * and the lanes. The session owns QMP, the control connection and the transaction.
 */
import type {
  ByteCounts,
  MigrationOptions,
  PageCounts,
  PageDirectory,
  RoundReport,
} from '../../core/model/migration.ts';
import type { ReportOrder } from '../../core/strategy/pruning.ts';
import type { SwitchoverReport } from '../../core/model/switchover.ts';
import type { LaneTls, MemoryMap } from '../../io/lanes/lane-protocol.ts';

export type PumpBlock = {
  readonly name: string;
  readonly usedBytes: number;
  /** Lanes read this block themselves; otherwise its pages are taken from QEMU's stream ("side block"). */
  readonly direct: boolean;
  /** False: the destination's copy may hold something at first, so that zero pages count as content (R6). */
  readonly startsZero: boolean;
};

/** What the thread is started with, before anything else is known. */
export type PumpBoot = { readonly lanes: number };

export type PumpInit = {
  /** Unix socket on which the pump waits for QEMU. */
  readonly socketPath: string;
  /** RAM blocks in QEMU's visiting order. */
  readonly blocks: readonly PumpBlock[];
  readonly memory: MemoryMap;
  readonly options: MigrationOptions;
  /** `strict`: QEMU waits for our switchover ack (>= 8.1). `paced`: it decides by itself; keep it in step with the lanes. */
  readonly feedHold: 'strict' | 'paced';
  /** The guest is being asked which pages it can do without. */
  readonly prune: boolean;
  /** Pages to be looked at again when the guest has stopped. */
  readonly recheckPages: number;
  /** First guess of the downtime that does not depend on memory, from the round-trip time. */
  readonly fixedDowntimeMs: number;
  readonly lanes: {
    readonly host: string;
    readonly ports: readonly number[];
    readonly peerName: string;
    readonly tls: LaneTls;
    readonly token: string;
    readonly linkMemory: SharedArrayBuffer;
  };
};

export type PumpProgress = {
  readonly progress: number;
  readonly timeToGoMs: number | null;
  readonly round: number;
  readonly boundMs: number | null;
  readonly pagesTotal: number;
  readonly pagesPending: number;
  readonly pagesUndecided: number;
  readonly dirtyPagesPerSecond: number;
  readonly wireBytes: number;
  readonly wireBytesPerSecond: number;
  readonly directory: PageDirectory;
};

export type PumpTotals = {
  /** How the pre-copy ended; null before. */
  readonly switchover: SwitchoverReport | null;
  readonly rounds: readonly RoundReport[];
  readonly pages: PageCounts;
  readonly directory: PageDirectory;
  readonly bytes: ByteCounts;
};

/** What came of asking the guest which pages it can do without. */
export type PruneAnswer =
  | { readonly type: 'agentAnswered' }
  | { readonly type: 'agentReady'; readonly isProof: boolean }
  | { readonly type: 'cacheDropped' }
  | { readonly type: 'pageReport'; readonly firstPage: number; readonly unneeded: Uint32Array }
  | { readonly type: 'pruningFailed' };

/** What is left to the pull phase, and how to tell the destination's QEMU. */
export type PullSet = {
  readonly ramSectionId: number;
  /** Pairs [first global page, page count]. */
  readonly runs: Uint32Array<ArrayBuffer>;
  /** What precedes the DISCARDs: the last side pages, SWITCHOVER_START where the source sent it. */
  readonly beforeDiscards: Uint8Array<ArrayBuffer>;
};

export type ToPump =
  /** First: go to work. */
  | { readonly type: 'init'; readonly init: PumpInit }
  | PruneAnswer
  /** The destination waits for pages: from now on lanes may place them. */
  | { readonly type: 'prologueLoaded' }
  /** The strategy's wish to switch over has been put to QEMU: send the ack when the return path knows it. */
  | { readonly type: 'goSwitchover' }
  /** Compare every page with the destination; only while the guest is stopped and the lanes are drained. */
  | { readonly type: 'verify' }
  /** SHUT(0): the source QEMU may finish and never resumes by itself again. */
  | { readonly type: 'shut' }
  /** Closes everything. Without a SHUT before it the source QEMU fails the migration and resumes. */
  | { readonly type: 'close' };

export type FromPump =
  | { readonly type: 'listening' }
  | { readonly type: 'prologue'; readonly bytes: Uint8Array<ArrayBuffer> }
  /** Pages of side blocks as a legal RAM section part, to be fed to the destination QEMU as it is. */
  | { readonly type: 'sidePart'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly type: 'progress'; readonly progress: PumpProgress }
  /** To be asked of the guest. */
  | { readonly type: 'reportWanted'; readonly order: ReportOrder }
  | { readonly type: 'switchoverWanted'; readonly switchover: SwitchoverReport }
  /** QEMU began its END section: the guest's CPUs are stopped. `atMs` is in performance.timeOrigin + now() time. */
  | { readonly type: 'guestStopped'; readonly atMs: number }
  /**
   * Every page is placed at the destination and the device state is complete. With a pull phase the pages of `pull` are left,
   * and the epilogue is the device state alone.
   */
  | {
      readonly type: 'drained';
      readonly epilogue: Uint8Array<ArrayBuffer>;
      readonly pull: PullSet | null;
      readonly totals: PumpTotals;
    }
  | { readonly type: 'verified'; readonly pages: number; readonly mismatches: readonly number[] }
  | { readonly type: 'shutSent' }
  /** QEMU closed its socket. */
  | { readonly type: 'feedClosed' }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
  | { readonly type: 'closed'; readonly totals: PumpTotals };
