/**
 * The messages between a lane pool and its worker threads, both directions and both sides of a migration.
 *
 * Invariant (R2): a lane is a FIFO. Batches of one lane are read, framed, placed and acknowledged in the order in which
 * they were posted, and a page is only ever posted to the lane that `laneOf` names.
 */

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
};

export type LaneTls = { readonly certPem: string; readonly keyPem: string; readonly caPem: string };

/** Most pages in one batch: 1 MiB. */
export const BATCH_PAGES_MAX = 256;

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
  readonly compress: 'none' | 'lz';
};

/** `runs` holds pairs [first global page, page count], at most BATCH_PAGES_MAX pages in all. */
export type ToSourceLane =
  | { readonly type: 'batch'; readonly id: number; readonly runs: Uint32Array }
  | { readonly type: 'verify'; readonly id: number; readonly runs: Uint32Array }
  | { readonly type: 'close' };

export type FromSourceLane =
  | { readonly type: 'connected' }
  /** The batch's content has been read and queued on the connection. */
  | {
      readonly type: 'sent';
      readonly id: number;
      readonly dataPages: number;
      readonly zeroPages: number;
      readonly rawBytes: number;
      readonly wireBytes: number;
    }
  /** The destination has placed this batch and every earlier one of the lane. */
  | { readonly type: 'acked'; readonly id: number }
  /** Pages of a verify whose hash differs at the destination; empty = all equal. */
  | { readonly type: 'verified'; readonly id: number; readonly pages: number; readonly mismatches: Uint32Array }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
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

export type ToDestinationLane = { readonly type: 'close' };

export type FromDestinationLane =
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'connected' }
  | {
      readonly type: 'progress';
      readonly dataPages: number;
      readonly zeroPages: number;
      readonly rawBytes: number;
      readonly wireBytes: number;
    }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
  | { readonly type: 'closed' };
