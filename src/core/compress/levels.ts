/**
 * How hard pages can be compressed, from not at all to hard.
 *
 * `cost` and `saving` are relative to level `LZ`: processor time, and bytes saved. They are only where an estimate begins
 * (measured on 32 MiB each of program code and of text-like words, batches of 1 MiB); what a lane measures replaces them.
 */
export type CompressionLevel = {
  readonly zstd: { readonly level: number; readonly minMatch?: number; readonly targetLength?: number } | null;
  readonly cost: number;
  readonly saving: number;
};

/**
 * Node cannot ask for zstd's level -1: that is its mark for "not set". -5 and -20 give the speed of LZ4.
 *
 * Level 1 with minMatch 5: on 53 MiB of program code (pages in order, and shuffled) the ratio was 2.86 and 2.25, against
 * 2.72 and 2.11 of plain level 1 and 2.74 and 2.11 of a level 1 stream flushed every 512 KiB, which is what QEMU's multifd
 * does. It costs about a tenth of the speed.
 */
export const compressionLevels: readonly CompressionLevel[] = [
  { zstd: null, cost: 0, saving: 0 },
  { zstd: { level: -20 }, cost: 0.42, saving: 0.45 },
  { zstd: { level: -5 }, cost: 0.75, saving: 0.8 },
  { zstd: { level: 1, minMatch: 5, targetLength: 3 }, cost: 1, saving: 1 },
  { zstd: { level: 1 }, cost: 1.15, saving: 1.06 },
  { zstd: { level: 3 }, cost: 2, saving: 1.15 },
  { zstd: { level: 6 }, cost: 4.8, saving: 1.2 },
];

export const STORE = 0;
/** The level of `--compress lz`, and the one with which `adaptive` begins. */
export const LZ = 3;
