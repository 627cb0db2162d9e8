/** What is expected of a migration before it is begun. */
import type { StrategyName } from './migration.ts';

/** `low` to `high`: from the 10th to the 90th percentile. */
export type Range = { readonly low: number; readonly expected: number; readonly high: number };

/** What the total time would fall with: `fixed` is what no better link, processor or calmer guest would change. */
export type LimitName = 'link' | 'processors' | 'writes' | 'bandwidthLimit' | 'fixed';

export type Prediction = {
  readonly strategy: StrategyName;
  readonly totalMs: Range;
  readonly downtimeMs: Range;
  readonly wireBytes: Range;
  readonly limitedBy: LimitName;
};
