/** Evidence for tests of papers. */
import type { Measurement, Sample } from '../samples.ts';
import type { Cell } from '../schedule.ts';
import { sampleOf } from '../testing.ts';
import type { Claim, Evidence, Findings, Paper } from './paper.ts';

/** A completed move of each cell of a paper, with what is given for it. */
export function evidenceOf(
  paper: Paper,
  given: (cell: Cell) => Partial<Sample> = () => ({}),
  values: (measure: string) => Measurement['values'] = () => ({}),
): Evidence {
  return {
    samples: paper.cells.map((cell) => sampleOf({ ...cell, ...given(cell) })),
    measurements: (paper.measures ?? []).map(({ key }) => measurementOf(key, values(key))),
  };
}

export function measurementOf(measure: string, values: Measurement['values']): Measurement {
  const head = { run: 1, measure, definition: 'd', startedAt: '2026-11-21T10:00:00.000Z', tookMs: 1000 };
  return { ...head, outcome: 'completed', reason: 'completed', values };
}

/** The one claim whose text has this. Throws Error. */
export function claimOf({ claims }: Findings, text: string): Claim {
  const [found, ...more] = claims.filter(({ claim }) => claim.includes(text));
  if (found === undefined || more.length > 0) throw new Error(`${more.length + (found ? 1 : 0)} claims have "${text}"`);
  return found;
}

/** Without what cannot be compared: a move that did not end. */
export const endless = {
  outcome: 'failed',
  reason: 'The migration did not become completed within 60000 ms',
  totalMs: null,
  downtimeMs: null,
  clientGapMs: null,
  pagesSent: null,
} as const;
