import type { Findings } from './paper.ts';

export function dsmFindings(): Findings {
  return { claims: [], tables: [], charts: [] };
}
