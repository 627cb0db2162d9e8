/** What is expected of a migration before it is begun. */
import type { StrategyName } from './migration.ts';

/** `low` to `high`: from the 10th to the 90th percentile. */
export type Range = { readonly low: number; readonly expected: number; readonly high: number };

/** What the total time would fall with: `fixed` is what no better link, processor or calmer guest would change. */
export type LimitName = 'link' | 'processors' | 'writes' | 'bandwidthLimit' | 'fixed';

export const predictedFigures = ['totalMs', 'downtimeMs', 'wireBytes'] as const;
export type PredictedFigure = (typeof predictedFigures)[number];

/** What earlier moves made of a prediction: `expected` was multiplied by these factors. */
export type Correction = Readonly<Record<PredictedFigure, number>> & {
  /** Moves to the same host that it goes by. */
  readonly moves: number;
};

export type Prediction = {
  readonly strategy: StrategyName;
  readonly totalMs: Range;
  readonly downtimeMs: Range;
  readonly wireBytes: Range;
  readonly limitedBy: LimitName;
  /** Absent where nothing is known of earlier moves. */
  readonly correction?: Correction | undefined;
};

/** A guest that writes `pagesPerMs` pages at random among `hotPages` (core/predict/working-set.ts). */
export type WorkingSet = {
  /** Writes to pages, as if each fell on a page at random. */
  readonly pagesPerMs: number;
  readonly hotPages: number;
};

export type GuestFacts = {
  /** Pages of RAM. */
  readonly pages: number;
  /** Of all pages, those whose content has to travel: neither zero nor left out. */
  readonly contentShare: number;
  /** A page with content, packed. */
  readonly wireBytesPerPage: number;
  /** From the lightest to the hardest packing that the lanes may well choose, on each side of `wireBytesPerPage`. */
  readonly wireBytesRange: { readonly low: number; readonly high: number };
  /** A page that was sent before: its delta, packed. Null without deltas. */
  readonly repeatBytes: number | null;
  readonly workingSet: WorkingSet;
};

export type PathFacts = {
  readonly linkBytesPerSecond: number;
  readonly roundTripMs: number;
  /** Pages with content that one lane gets from memory to memory, were the link no limit. */
  readonly lanePagesPerMs: number;
  readonly feedPagesPerMs: number;
  readonly feedHold: 'strict' | 'paced';
  /** Checks and the start of QEMU at the destination. */
  readonly beforeMs: number;
  /** Of the downtime, what is not the sending of pages: stop, device state, start. */
  readonly switchMs: number;
  /** From the last page to the guest running, and the end of the source. */
  readonly afterMs: number;
};

/** What a prediction was computed from, so that another model can be judged by the same moves later. */
export type MoveFacts = { readonly guest: GuestFacts; readonly path: PathFacts };

/** As the report of a migration keeps it, beside what was measured. */
export type PredictedMove = Prediction & { readonly facts: MoveFacts };

/** A completed move, as far as it can teach something of the next one. */
export type PastMove = {
  readonly strategy: StrategyName;
  readonly destination: string;
  /** As measured before it; null where nothing was. */
  readonly linkBytesPerSecond: number | null;
  /** Until the first page could be sent, and from the guest's start there to the end of the migration. */
  readonly beforeMs: number;
  readonly afterMs: number;
  /** Measured, and as expected without any correction; null where nothing was expected. */
  readonly figures: Readonly<Record<PredictedFigure, { readonly measured: number; readonly range: Range }>> | null;
};
