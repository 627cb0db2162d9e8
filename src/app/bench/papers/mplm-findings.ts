import type { Findings } from './paper.ts';

/** In the order of how much they write. */
export const kernels = ['bt', 'mg', 'sp', 'is'] as const;
export const downtimeLimitsMs = [300, 1000, 3000, 6000] as const;
export const plainMode = 'vmferry-mplm:prune=none:delta=off:compress=none';

export function limitMode(ms: number): string {
  return `qemu-default:downtime=${ms}`;
}

export function mplmFindings(): Findings {
  return { claims: [], tables: [], charts: [] };
}
