/** Limits of the page table. A global page number must fit 32 bits on the wire and in bit arithmetic. */

/** Pages of one lane chunk: 2 MiB, the size of a huge page. */
export const CHUNK_PAGES = 512;
/** 4 TiB of guest RAM. */
export const PAGES_MAX = 2 ** 30;
export const BLOCKS_MAX = 4096;
/** One byte holds a lane number beside one reserved value. */
export const LANES_MAX = 64;
