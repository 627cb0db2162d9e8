import type { Findings } from './paper.ts';

export const movedCase = 'files';
export const methodCases = ['files', 'mg', 'random'] as const;
export const movedModes = [
  ...['none', 'lz', 'adaptive'].map((compress) => `vmferry-precopy:prune=none:delta=off:compress=${compress}`),
  ...['qemu-multifd', 'qemu-multifd-zstd'],
];

export function compressionFindings(): Findings {
  return { claims: [], tables: [], charts: [] };
}
