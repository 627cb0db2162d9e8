import type { Findings } from './paper.ts';

export const noiseCase = 'mail-pair';
export const userMemoryMb = [0, 500, 1000, 2000] as const;
export const sonicModes = ['qemu-default', 'vmferry-auto:prune=none', 'vmferry-auto'] as const;

export function sweepCase(mb: number): string {
  return `sonic-${mb}`;
}

export function sonicFindings(): Findings {
  return { claims: [], tables: [], charts: [] };
}
