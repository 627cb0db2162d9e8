/** Which of the predicted strategies to take, in a sentence. Pure. */
import type { StrategyName } from '../model/migration.ts';
import type { LimitName, Prediction } from '../model/prediction.ts';
import { formatMs } from '../model/units.ts';

/** Less than this is no reason to leave `auto`, which sees more of the guest while it copies than any prediction. */
const CLEARLY = 0.85;

const limitWords: Readonly<Record<LimitName, string>> = {
  link: 'the link is what limits it',
  processors: 'the processors of the hosts are what limits it',
  writes: 'what the guest writes is what limits it',
  bandwidthLimit: 'the bandwidth limit is what limits it',
  fixed: 'most of it is checks and the start of QEMU',
};

/** The quickest that keeps the downtime target, or else the one with the shortest downtime; `auto` unless another is clearly better. */
export function recommend(
  predictions: readonly Prediction[],
  downtimeTargetMs: number,
): { readonly strategy: StrategyName; readonly why: string } {
  const keeping = predictions.filter(({ downtimeMs }) => downtimeMs.expected <= downtimeTargetMs);
  const figure = keeping.length > 0 ? 'totalMs' : 'downtimeMs';
  const [best] = [...(keeping.length > 0 ? keeping : predictions)].sort(
    (a, b) => a[figure].expected - b[figure].expected,
  );
  if (best === undefined) return { strategy: 'auto', why: 'nothing was predicted' };
  const auto = (keeping.length > 0 ? keeping : predictions).find(({ strategy }) => strategy === 'auto');
  const chosen = auto !== undefined && best[figure].expected > CLEARLY * auto[figure].expected ? auto : best;
  const target = formatMs(downtimeTargetMs);
  const reason =
    keeping.length > 0
      ? `it takes about ${formatMs(chosen.totalMs.expected)} and keeps the downtime target of ${target}`
      : `none keeps the downtime target of ${target}, and it stops the guest for about ${formatMs(chosen.downtimeMs.expected)}`;
  return { strategy: chosen.strategy, why: `${chosen.strategy}: ${reason}; ${limitWords[chosen.limitedBy]}.` };
}
