/** A moment for tests of strategies: the end of a first round of which nothing is known, but for what is given. */
import type { Moment } from './strategy.ts';

export function momentOf(known: Partial<Moment>): Moment {
  return {
    at: 'roundEnd',
    round: 1,
    leftPages: null,
    predictedDowntimeMs: null,
    neverDirtiedPages: 0,
    dirtyPagesPerMsMin: 0,
    pagesPerMs: 10,
    repeatCost: 1,
    boundLeftMs: null,
    feedHold: 'strict',
    ...known,
  };
}
