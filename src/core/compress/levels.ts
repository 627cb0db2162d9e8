/**
 * How hard pages can be compressed, from not at all to hard.
 *
 * `cost` and `saving` are relative to level `LZ`: processor time, and bytes saved. They are only where an estimate begins
 * (measured on program code, text-like words and a guest's memory, batches of 1 MiB); what a lane measures replaces them.
 */
type ZstdLevel = {
  readonly level: number;
  readonly minMatch?: number;
  readonly hashLog?: number;
  readonly targetLength?: number;
};

export type CompressionLevel = {
  readonly zstd: ZstdLevel | null;
  readonly cost: number;
  readonly saving: number;
};

/**
 * Node cannot ask for zstd's level -1: that is its mark for "not set". -5 and -20 give the speed of LZ4.
 *
 * Level LZ, measured on the 233 MiB that a guest with a writer needs, in batches of 1 MiB: 88.7 MiB at 376 MB/s; plain level 1:
 * 91.8 at 381; the fast kind before it: 95.6 at 515; level 3: 87.9 at 260. On 53 MiB of program code (pages in order, and
 * shuffled) the fast kind had ratios of 2.86 and 2.25, a level 1 stream flushed every 512 KiB, which is what QEMU's multifd
 * makes, 2.74 and 2.11.
 */
export const compressionLevels: readonly CompressionLevel[] = [
  { zstd: null, cost: 0, saving: 0 },
  { zstd: { level: -20 }, cost: 0.4, saving: 0.5 },
  { zstd: { level: -5 }, cost: 0.7, saving: 0.8 },
  { zstd: { level: 1, minMatch: 5, targetLength: 3 }, cost: 0.8, saving: 0.95 },
  { zstd: { level: 1, minMatch: 5, hashLog: 15 }, cost: 1, saving: 1 },
  { zstd: { level: 3 }, cost: 1.5, saving: 1.04 },
  { zstd: { level: 6 }, cost: 4, saving: 1.08 },
];

export const STORE = 0;
/** The level of `--compress lz`, and the one with which `adaptive` begins. */
export const LZ = 4;
