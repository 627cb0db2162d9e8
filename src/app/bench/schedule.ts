/**
 * In which order the moves are made, and how long they will take. Pure.
 *
 * The modes of a case and link take turns, and each run begins with the next one (A B C, B C A, C A B): a slow drift of the
 * machine meets all alike, and nobody is always the first on a machine that has rested, or the one after a heavy mode. What is done is
 * known by its step alone, so that a bench goes on where it was interrupted, and more runs can be added to one that has ended.
 */
import type { LinkName } from '../lab/plan.ts';

/** One place of the table. */
export type Cell = { readonly case: string; readonly link: LinkName; readonly mode: string };
/** One move; runs count from 1. */
export type Step = Cell & { readonly run: number };

/** What a move took that has been made, start and end of its guest included. */
export type Pace = Cell & { readonly tookMs: number };

/** Of a move on a machine that has not made any yet. */
const FIRST_GUESS_MS = 35_000;

/** Run by run; cells of one case and link stand side by side. */
export function stepsOf(cells: readonly Cell[], runs: number): Step[] {
  const places = [...Map.groupBy(cells, ({ case: name, link }) => `${name} ${link}`).values()];
  return Array.from({ length: runs }, (_, index) =>
    places.flatMap((place) => rotated(place, index).map((cell) => ({ ...cell, run: index + 1 }))),
  ).flat();
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const first = by % list.length;
  return [...list.slice(first), ...list.slice(0, first)];
}

export function cellKey({ case: name, link, mode }: Cell): string {
  return `${name} ${link} ${mode}`;
}

export function stepKey(step: Step): string {
  return `${cellKey(step)} ${step.run}`;
}

/** Steps that are not done yet, in their order. */
export function remainingSteps(steps: readonly Step[], done: readonly Step[]): Step[] {
  const keys = new Set(done.map(stepKey));
  return steps.filter((step) => !keys.has(stepKey(step)));
}

/** By the moves of the same cell, or else of the same case, the same mode, or all. */
export function timeToGoMs(remaining: readonly Step[], paces: readonly Pace[]): number {
  return remaining.reduce((sum, step) => sum + guessMs(step, paces), 0);
}

function guessMs(step: Step, paces: readonly Pace[]): number {
  const rules: readonly ((pace: Pace) => boolean)[] = [
    (pace) => cellKey(pace) === cellKey(step),
    (pace) => pace.case === step.case,
    (pace) => pace.mode === step.mode,
    () => true,
  ];
  for (const rule of rules) {
    const alike = paces.filter(rule);
    if (alike.length > 0) return alike.reduce((sum, { tookMs }) => sum + tookMs, 0) / alike.length;
  }
  return FIRST_GUESS_MS;
}
