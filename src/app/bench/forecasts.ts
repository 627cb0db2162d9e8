/**
 * How good the predictions before the moves were. Pure.
 *
 * Compared is what a report says, not what the bench measures around it: that is what was predicted. The error of a move is
 * |measured / expected - 1|.
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
  medianError: z.number(),
  /** The same without what earlier moves had taught. */
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
  const errors = moves.map((move) => Math.abs(move.measured[figure] / move.predicted[figure].expected - 1));
  const uncorrected = moves.map(({ measured, predicted }) => {
    const expected = predicted[figure].expected / (predicted.correction?.[figure] ?? 1);
    return Math.abs(measured[figure] / expected - 1);
  });
  return {
    figure,
    medianError: median(errors) ?? 0,
    medianErrorUncorrected: median(uncorrected) ?? 0,
    insideShare: moves.filter((move) => isInside(move, figure)).length / moves.length,
  };
}

export function isInside({ measured, predicted }: ForecastMove, figure: PredictedFigure): boolean {
  return measured[figure] >= predicted[figure].low && measured[figure] <= predicted[figure].high;
}
