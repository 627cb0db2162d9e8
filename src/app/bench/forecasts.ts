/**
 * How good the predictions before the moves were. Pure.
 *
 * Compared is what a report says, not what the bench measures around it: that is what was predicted. The error of a move is
 * |measured / expected - 1|, that of a case |median of measured / expected over its runs - 1|: moves of one case differ from run to
 * run by what no prediction can know, and the more runs there are the less of that is left.
 */
import { z } from 'zod';
import { predictionSchema } from '../../core/api/schemas.ts';
import { predictedFigures } from '../../core/model/prediction.ts';
import type { PredictedFigure } from '../../core/model/prediction.ts';
import { median } from '../lab/comparison.ts';
import { linkNames } from '../lab/plan.ts';
import type { Sample } from './samples.ts';

const moveSchema = z.object({
  run: z.int(),
  case: z.string(),
  link: z.enum(linkNames),
  mode: z.string(),
  predicted: predictionSchema,
  measured: z.object({ totalMs: z.number(), downtimeMs: z.number(), wireBytes: z.number() }),
});
const accuracySchema = z.object({
  figure: z.enum(predictedFigures),
  /** Of cases: each link, guest and mode counts once. */
  medianError: z.number(),
  /** Of single moves, with all that the machine does to one of them. */
  medianErrorOfMoves: z.number(),
  /** As `medianError`, without what earlier moves had taught. */
  medianErrorUncorrected: z.number(),
  /** Of the moves, those whose value was within the range. */
  insideShare: z.number(),
});
export const forecastsSchema = z.object({ moves: z.array(moveSchema), accuracy: z.array(accuracySchema) });

export type ForecastMove = z.infer<typeof moveSchema>;
export type Accuracy = z.infer<typeof accuracySchema>;
export type Forecasts = z.infer<typeof forecastsSchema>;

/** What the project wants of its predictions. */
export const errorBars: Readonly<Record<PredictedFigure, number>> = { totalMs: 0.1, downtimeMs: 0.25, wireBytes: 0.1 };
export const INSIDE_BAR = 0.8;

/** Null where no move was predicted. */
export function forecastsOf(samples: readonly Sample[]): Forecasts | null {
  const moves = samples.flatMap(({ run, case: name, link, mode, outcome, forecast }): ForecastMove[] => {
    if (forecast === null || outcome !== 'completed') return [];
    const { facts: _, ...predicted } = forecast.predicted;
    return [{ run, case: name, link, mode, predicted, measured: forecast.measured }];
  });
  return moves.length === 0 ? null : { moves, accuracy: predictedFigures.map((figure) => accuracyOf(moves, figure)) };
}

function accuracyOf(moves: readonly ForecastMove[], figure: PredictedFigure): Accuracy {
  const ratioOf = ({ measured, predicted }: ForecastMove): number => measured[figure] / predicted[figure].expected;
  const uncorrectedOf = (move: ForecastMove): number => ratioOf(move) * (move.predicted.correction?.[figure] ?? 1);
  return {
    figure,
    medianError: medianErrorOf(ratiosOfCases(moves, ratioOf)),
    medianErrorOfMoves: medianErrorOf(moves.map(ratioOf)),
    medianErrorUncorrected: medianErrorOf(ratiosOfCases(moves, uncorrectedOf)),
    insideShare: moves.filter((move) => isInside(move, figure)).length / moves.length,
  };
}

function medianErrorOf(ratios: readonly number[]): number {
  return median(ratios.map((ratio) => Math.abs(ratio - 1))) ?? 0;
}

/** Of each case the median over its runs. */
function ratiosOfCases(moves: readonly ForecastMove[], ratioOf: (move: ForecastMove) => number): number[] {
  const cases = Map.groupBy(moves, ({ link, case: name, mode }) => `${link} ${name} ${mode}`);
  return [...cases.values()].map((runs) => median(runs.map(ratioOf)) ?? 1);
}

export function isInside({ measured, predicted }: ForecastMove, figure: PredictedFigure): boolean {
  return measured[figure] >= predicted[figure].low && measured[figure] <= predicted[figure].high;
}
