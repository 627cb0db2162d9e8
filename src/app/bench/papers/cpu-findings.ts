import type { Evidence, Findings } from './paper.ts';

export function cpuFindings(_evidence: Evidence): Findings {
  return { claims: [], tables: [], charts: [] };
}
