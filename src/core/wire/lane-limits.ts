/** Bounds of a lane connection. Every length is checked against these before anything is allocated for it. */
import { assert } from '../base/assert.ts';

/** Guest page size of every supported target: pages on the wire are always this long. */
export const LANE_PAGE_BYTES = 4096;
/** A page's lane is a function of its 2 MiB chunk. */
export const LANE_CHUNK_PAGES = 512;
/** Data pages of one PAGES frame: frames of 4 MiB gain half a per cent of ratio and cost latency. */
export const FRAME_DATA_PAGES_MAX = 256;
export const FRAME_DATA_BYTES_MAX = FRAME_DATA_PAGES_MAX * LANE_PAGE_BYTES;
/** A frame of 256 data pages that all stand alone between zero runs, and every page of a chunk one by one in a VERIFY. */
export const FRAME_RUNS_MAX = 512;
/** One run never needs to be longer than a chunk, and is cut there when there are several lanes. */
export const RUN_PAGES_MAX = LANE_CHUNK_PAGES;
/** Shortest delta of a page: one change of one byte. */
export const DELTA_BYTES_MIN = 4;
/** A longer delta would hardly be shorter than the page is when compressed. */
export const DELTA_BYTES_MAX = 2048;
export const LANE_TOKEN_BYTES = 32;
export const PAGE_HASH_BYTES = 8;
/** Text of a REFUSE, for people. */
export const REFUSE_TEXT_BYTES_MAX = 512;
/** Lanes of one migration; the same bound as on the control connection. */
export const LANE_COUNT_MAX = 64;

assert(FRAME_DATA_PAGES_MAX * 2 <= FRAME_RUNS_MAX, 'any mix of data and zero pages of a full batch fits in one table');
assert(FRAME_RUNS_MAX >= LANE_CHUNK_PAGES, 'a chunk can be verified page by page in one frame');
assert(DELTA_BYTES_MAX < LANE_PAGE_BYTES, 'deltas need less room than the pages that they stand for');
