/** What was found of the paper on a CPU threshold, in the order of its tables. Pure. */
import { capFindings } from './cpu-cap-findings.ts';
import { hostFindings } from './cpu-host-findings.ts';
import { moveFindings } from './cpu-move-findings.ts';
import type { Evidence, Findings } from './paper.ts';

export function cpuFindings(evidence: Evidence): Findings {
  const parts = [capFindings(evidence), hostFindings(evidence), moveFindings(evidence)];
  return {
    claims: parts.flatMap(({ claims }) => claims),
    tables: parts.flatMap(({ tables }) => tables),
    charts: parts.flatMap(({ charts }) => charts),
  };
}
