/**
 * The messages between a lane pool and its worker threads, both directions and both sides of a migration.
 *
 * Invariant (R2): a lane is a FIFO. Batches of one lane are read, framed, placed and acknowledged in the order in which
 * they were posted, and a page is only ever posted to the lane that `laneOf` names.
 */
import type { LaneErrorCode } from './errors.ts';

/** Where guest RAM can be read or written from outside QEMU. */
export type MemoryMap = readonly MemoryBlock[];

export type MemoryBlock = {
  readonly name: string;
  /** Global number of the block's first page, a multiple of 512. */
  readonly firstPage: number;
  readonly pageCount: number;
  /** `/proc/PID/mem`, or the file behind shared guest memory. */
  readonly path: string;
  /** Position of the block's first byte in that file: a host virtual address, or an offset. */
  readonly offsetBytes: number;
  /**
   * Destination: the block may hold something before the first page is placed (flash, NVDIMM, an existing backing file),
   * so that zero pages must be written too. Default: fresh memory, which reads as zero (R6).
   */
  readonly preloaded?: boolean;
};

export type LaneTls = { readonly certPem: string; readonly keyPem: string; readonly caPem: string };

/** Most pages in one batch: 1 MiB. */
export const BATCH_PAGES_MAX = 256;
/** Most `zeroRuns` in one batch, each of at most 512 pages. */
export const BATCH_ZERO_RUNS_MAX = 256;
/** A good size of one verify: 64 MiB are some 20 ms of work by the rates of reading and hashing. Larger ones are cut into such pieces. */
export const VERIFY_PAGES_MAX = 16_384;

export type LaneCompress = 'none' | 'lz' | 'adaptive';

export type SourceLaneInit = {
  readonly lane: number;
  readonly lanes: number;
  readonly host: string;
  readonly port: number;
  /** Name that the destination's certificate must carry. */
  readonly peerName: string;
  readonly tls: LaneTls;
  /** Secret of this migration, 64 hex digits: proves that the connection belongs to the reservation. */
  readonly token: string;
  readonly memory: MemoryMap;
  readonly compress: LaneCompress;
  /** Bytes of page versions kept over all lanes, for deltas; 0 = every page travels whole. */
  readonly deltaCacheBytes: number;
  /** Of all lanes together, as far as there is a limit: `adaptive` counts with it. Whoever gives batches keeps to it. */
  readonly maxBandwidthBytesPerSecond: number | null;
  /** What is known of the link to this peer (`LinkMemory`). */
  readonly linkMemory: SharedArrayBuffer;
};

/** Lets go of everything and ends the thread, whatever is queued. Nothing is answered. */
export type StopLane = { readonly type: 'stop' };

/**
 * `runs` holds pairs [first global page, page count], at most BATCH_PAGES_MAX pages in all. `zeroRuns` are pages that
 * shall be zero at the destination whatever the source holds (R4): they are not read. `heats` has a byte for each page of
 * `runs`, in their order: how often the guest has been seen to write to it; without it all are cold. A page stands in a
 * batch once.
 */
export type ToSourceLane =
  | {
      readonly type: 'batch';
      readonly id: number;
      readonly runs: Uint32Array;
      readonly zeroRuns?: Uint32Array;
      readonly heats?: Uint8Array;
    }
  /** Any number of pages; answered when everything queued before has been placed. */
  | { readonly type: 'verify'; readonly id: number; readonly runs: Uint32Array }
  /** Waits until everything is acknowledged, then says goodbye. */
  | { readonly type: 'close' }
  | StopLane;

/**
 * `rawBytes` are those of the data pages before deltas and compression, `wireBytes` those of the frames, without TLS
 * overhead.
 */
export type LaneCounts = {
  /** Pages whose content was sent, whole or as a delta. */
  readonly dataPages: number;
  /** Of `dataPages`, those that travelled as a delta. */
  readonly deltaPages: number;
  readonly zeroPages: number;
  /** Pages that were not sent, because the destination holds the same; the destination itself does not know of them. */
  readonly unchangedPages: number;
  readonly rawBytes: number;
  readonly wireBytes: number;
};

/** What only the side that sends can tell. */
export type SentCounts = LaneCounts & {
  /** Of `dataPages`, those whose page this lane had sent before. */
  readonly resentPages: number;
  /** Of `wireBytes`, those of pages sent before: whole ones, deltas, frames of unchanged pages (`sent-pages.ts`). */
  readonly resentBytes: number;
};

export type FromSourceLane =
  | { readonly type: 'connected' }
  /** The batch's content has been read and queued on the connection. */
  | ({ readonly type: 'sent'; readonly id: number } & SentCounts)
  /** The destination has placed this batch and every earlier one of the lane. */
  | { readonly type: 'acked'; readonly id: number }
  /** Pages of a verify whose hash differs at the destination; empty = all equal. */
  | { readonly type: 'verified'; readonly id: number; readonly pages: number; readonly mismatches: Uint32Array }
  | { readonly type: 'failed'; readonly code: LaneErrorCode; readonly message: string }
  | { readonly type: 'closed' };

export type DestinationLaneInit = {
  readonly lane: number;
  readonly lanes: number;
  readonly address: string;
  /** Ports to try, inclusive; the first free one is used. */
  readonly ports: { readonly first: number; readonly last: number };
  readonly peerName: string;
  readonly tls: LaneTls;
  readonly token: string;
  readonly memory: MemoryMap;
};

export type ToDestinationLane = StopLane;

export type FromDestinationLane =
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'connected' }
  /** Somebody connected who is not the expected source; the lane listens on. */
  | { readonly type: 'refused'; readonly message: string }
  /** Totals since the beginning, a few times a second and before `closed`. */
  | ({ readonly type: 'progress' } & LaneCounts)
  | { readonly type: 'failed'; readonly code: LaneErrorCode; readonly message: string }
  | { readonly type: 'closed' };
