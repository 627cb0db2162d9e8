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
};

export type CompressionLevel = {
  readonly zstd: ZstdLevel | null;
  readonly cost: number;
  readonly saving: number;
};

/**
 * Level LZ, measured on the 233 MiB that a guest with a writer needs, in batches of 1 MiB: 88.7 MiB at 376 MB/s; plain level 1:
 * 91.8 at 381; level 3: 87.9 at 260.
 *
 * Nothing between none and LZ: at 10 Gbit/s none is quicker than zstd -20 and -5, and at 1 Gbit/s moves at these are no quicker than at LZ
 * beyond what moves scatter, with 1.2 to 1.8 times the bytes (docs/compression.md).
 */
export const compressionLevels: readonly CompressionLevel[] = [
  { zstd: null, cost: 0, saving: 0 },
  { zstd: { level: 1, minMatch: 5, hashLog: 15 }, cost: 1, saving: 1 },
  { zstd: { level: 3 }, cost: 1.5, saving: 1.04 },
  { zstd: { level: 6 }, cost: 4, saving: 1.08 },
];

export const STORE = 0;
/** The level of `--compress lz`, and the one with which `adaptive` begins unless it knows of a link that is faster than packing. */
export const LZ = 1;
/** 376 MB/s. */
export const LZ_MS_PER_BYTE = 1 / 376e3;
