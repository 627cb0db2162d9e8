/**
 * What earlier moves make of a prediction. Every host, link and kind of guest has something that no model knows; the moves that were
 * made show it as a ratio, measured / expected. Pure.
 *
 *     factor = exp(weight * median of ln ratio)       weight = n bias² / (n bias² + scatter²)
 *
 * of all moves to the host, then of those with the same strategy. The median, because one move beside a backup says nothing of the
 * next one. It is believed by how many ratios there are and how closely they agree, against how far hosts differ at all
 * (`BIAS`): in times by much, in bytes by little, for these are the guest's. Bounded, because a model that is off by
 * more than that is wrong and must be seen to be. The range becomes as wide as the ratios have been scattered, as far as there
 * are enough of them to say.
 */
import { predictedFigures } from '../model/prediction.ts';
import type { Correction, PastMove, PredictedFigure, Prediction, Range } from '../model/prediction.ts';
import type { StrategyName } from '../model/migration.ts';

/** Moves that count: older ones were made on another network, with another release. */
const MOVES_MAX = 30;
/** A link that was measured to be more than this much faster or slower was another one. */
const LINK_ALIKE = 3;
/** How far hosts differ from the model in each figure, as one standard deviation in ln; strategies differ by half of that. */
const BIAS: Readonly<Record<PredictedFigure, number>> = { totalMs: 0.2, downtimeMs: 0.1, wireBytes: 0.05 };
const STRATEGY_BIAS_SHARE = 0.5;
/** How far moves of one host scatter, and how many moves that is worth, until they show it themselves. */
const SCATTER = { sigma: 0.25, moves: 3 };
/** The median of normally distributed values varies by so much more than their mean, as variance. */
const MEDIAN_VARIANCE = 1.5;
/** So many ratios say as much of the width of a range as the model does. */
const WIDTH_FAITH = 3;
const FACTOR_MAX = 2;
/** A deviation (MAD) of normally distributed values times this is their standard deviation; times the other, 10 % lie beyond. */
const MAD_TO_SIGMA = 1.4826;
const SIGMA_TO_P90 = 1.2816;
/** Widths below this are not to be had: the machine itself varies by so much. */
const WIDTH_MIN = 0.02;
/** Times that one host needs to start a QEMU; the model's own is believed as much as so many moves. */
const TIMES_FAITH = 2;

export type FigureCorrection = {
  readonly factor: number;
  /** Half of the range from the 10th to the 90th percentile, in ln; null where there are too few moves to say. */
  readonly width: number | null;
  readonly moves: number;
};

/** Moves to this host over a link like the one of now, newest first and not too many. */
export function movesTo(
  past: readonly PastMove[],
  destination: string,
  linkBytesPerSecond: number,
): readonly PastMove[] {
  const isAlike = ({ linkBytesPerSecond: then }: PastMove): boolean =>
    then === null || Math.abs(Math.log(then / linkBytesPerSecond)) < Math.log(LINK_ALIKE);
  return past.filter((move) => move.destination === destination && isAlike(move)).slice(0, MOVES_MAX);
}

/** `moves`: to the host in question. */
export function correctionOf(
  moves: readonly PastMove[],
  strategy: StrategyName,
  figure: PredictedFigure,
): FigureCorrection {
  const all = logRatios(moves, figure);
  const own = logRatios(
    moves.filter((move) => move.strategy === strategy),
    figure,
  );
  const bias = BIAS[figure];
  const learned = shrunk(own, shrunk(all, 0, bias), STRATEGY_BIAS_SHARE * bias);
  const center = Math.max(-Math.log(FACTOR_MAX), Math.min(Math.log(FACTOR_MAX), learned));
  return { factor: Math.exp(center), width: all.length < 2 ? null : widthOf(all, center), moves: all.length };
}

/** Around `center`; what the correction leaves of the ratios' median belongs to it. */
function widthOf(ratios: readonly number[], center: number): number {
  const middle = median(ratios);
  const deviation = deviationOf(ratios);
  // Few ratios lie closer together than many of the same kind would, and the next one is not among them.
  const wider = 1.3 + 3 / ratios.length;
  return Math.max(WIDTH_MIN, Math.hypot(deviation * MAD_TO_SIGMA * SIGMA_TO_P90 * wider, middle - center));
}

/** The prediction as it was without any moves, corrected by them. Without moves that tell anything it stays what it was. */
export function corrected(prediction: Prediction, moves: readonly PastMove[]): Prediction {
  const found = predictedFigures.map((figure) => correctionOf(moves, prediction.strategy, figure));
  const [total, downtime, bytes] = found as [FigureCorrection, FigureCorrection, FigureCorrection];
  if (total.moves === 0) return prediction;
  const correction: Correction = {
    ...{ totalMs: total.factor, downtimeMs: downtime.factor, wireBytes: bytes.factor },
    moves: total.moves,
  };
  return {
    ...prediction,
    totalMs: correctedRange(prediction.totalMs, total),
    downtimeMs: correctedRange(prediction.downtimeMs, downtime),
    wireBytes: correctedRange(prediction.wireBytes, bytes),
    correction,
  };
}

/** The range that was expected before its correction: what a ratio is taken of. */
export function uncorrected(prediction: Prediction, figure: PredictedFigure): Range {
  const factor = prediction.correction?.[figure] ?? 1;
  const { low, expected, high } = prediction[figure];
  return { low: low / factor, expected: expected / factor, high: high / factor };
}

/** Moves of this host's own start of QEMU and end, drawn towards what is usual elsewhere. */
export function usualTimes(
  moves: readonly PastMove[],
  usual: { readonly beforeMs: number; readonly afterMs: number },
): { readonly beforeMs: number; readonly afterMs: number } {
  const weight = moves.length / (moves.length + TIMES_FAITH);
  const mixed = (values: readonly number[], otherwise: number): number =>
    values.length === 0 ? otherwise : weight * median(values) + (1 - weight) * otherwise;
  return {
    beforeMs: mixed(
      moves.map(({ beforeMs }) => beforeMs),
      usual.beforeMs,
    ),
    afterMs: mixed(
      moves.map(({ afterMs }) => afterMs),
      usual.afterMs,
    ),
  };
}

function correctedRange({ low, expected, high }: Range, { factor, width, moves }: FigureCorrection): Range {
  if (expected <= 0 || moves === 0) return { low, expected, high };
  const weight = width === null ? 0 : moves / (moves + WIDTH_FAITH);
  const side = (end: number): number => {
    const own = Math.abs(Math.log(Math.max(end, expected * Number.EPSILON) / expected));
    return weight === 0 ? own : Math.sqrt((1 - weight) * own ** 2 + weight * width! ** 2);
  };
  const middle = expected * factor;
  return { low: middle * Math.exp(-side(low)), expected: middle, high: middle * Math.exp(side(high)) };
}

function logRatios(moves: readonly PastMove[], figure: PredictedFigure): number[] {
  return moves.flatMap(({ figures }) => {
    const { measured, range } = figures?.[figure] ?? { measured: 0, range: { expected: 0 } };
    return measured > 0 && range.expected > 0 ? [Math.log(measured / range.expected)] : [];
  });
}

/** `bias`: how far from `towards` it may be expected to be. */
function shrunk(ratios: readonly number[], towards: number, bias: number): number {
  const { length } = ratios;
  if (length === 0) return towards;
  const seen = (deviationOf(ratios) * MAD_TO_SIGMA) ** 2;
  const variance = (SCATTER.moves * SCATTER.sigma ** 2 + length * seen) / (SCATTER.moves + length);
  const weight = (length * bias ** 2) / (length * bias ** 2 + MEDIAN_VARIANCE * variance);
  return weight * median(ratios) + (1 - weight) * towards;
}

function deviationOf(values: readonly number[]): number {
  const middle = median(values);
  return median(values.map((value) => Math.abs(value - middle)));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
