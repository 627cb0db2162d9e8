/**
 * Moves of the same guest by different means, side by side: one sample per move, medians per mode, ratios pair by pair.
 * Pure.
 *
 * A run holds one move of each mode, in turn (A B C A B C), so that a slow drift of the machine meets all modes alike;
 * a ratio is therefore taken within a run first, and the median over the runs then.
 */
import type { Outcome } from '../../core/model/migration.ts';

export const moveModes = ['vmferry', 'qemu-default', 'qemu-multifd-zstd'] as const;
export type MoveMode = (typeof moveModes)[number];

/** What the mover itself says of a move. */
export type MoveFigures = {
  readonly qemuVersion: string;
  readonly outcome: Outcome;
  /** Why it ended, in the mover's words. */
  readonly reason: string;
  /** docs/demo.md says what each mode's total contains; null where the move did not complete. */
  readonly totalMs: number | null;
  readonly downtimeMs: number | null;
  /** Page contents that were sent, repeats included, zero pages excluded; absent where the move did not complete. */
  readonly pagesSent?: number;
  /** Bytes of pages that were sent again; absent where the mover does not say. */
  readonly resentBytes?: number;
  /** Further times of this mode, for a closer look. */
  readonly furtherMs: Readonly<Record<string, number>>;
};

/** One move: the mover's figures, and what was seen from outside, in the same way for every mode. */
export type MoveSample = MoveFigures & {
  readonly mode: MoveMode;
  /** From 1. */
  readonly run: number;
  /** Of the link, both directions, frame headers included. */
  readonly wireBytes: number;
  /** Words of the guest's memory that its writer found damaged, over all pages and since its boot. */
  readonly corruptedWords: number;
  /** Pages that the writer had written when the move began, and once it had checked all of them after it. */
  readonly pagesWritten: { readonly before: number; readonly after: number };
  /** Longest time between two of the guest's heartbeats during the move and shortly after; the rhythm is 1 ms. */
  readonly longestGapMs: number;
  /** The same while the guest was left alone, before the move: what the machine's own noise makes of the rhythm. */
  readonly quietGapMs: number;
};

/** The medians of a mode over all runs. */
export type ModeRow = {
  readonly mode: MoveMode;
  readonly qemuVersion: string;
  readonly totalMs: number | null;
  readonly downtimeMs: number | null;
  readonly wireBytes: number | null;
  /** `completed` if all runs were, else the first other outcome. */
  readonly outcome: Outcome;
  /** The sum: one corrupted word in any run must show. */
  readonly corruptedWords: number;
  readonly longestGapMs: number | null;
};

/** vmferry's figure divided by the other mode's, median over the runs; null where no run has both. */
export type ModeRatio = {
  readonly mode: Exclude<MoveMode, 'vmferry'>;
  readonly totalMs: number | null;
  readonly downtimeMs: number | null;
  readonly wireBytes: number | null;
  readonly longestGapMs: number | null;
};

/** One row per mode that has samples, in the order of `moveModes`. */
export function rowsOf(samples: readonly MoveSample[]): ModeRow[] {
  return moveModes.flatMap((mode) => {
    const own = samples.filter((sample) => sample.mode === mode);
    const [first] = own;
    if (first === undefined) return [];
    return [
      {
        mode,
        qemuVersion: first.qemuVersion,
        totalMs: median(own.map((sample) => sample.totalMs)),
        downtimeMs: median(own.map((sample) => sample.downtimeMs)),
        wireBytes: median(own.map((sample) => sample.wireBytes)),
        outcome: own.find((sample) => sample.outcome !== 'completed')?.outcome ?? 'completed',
        corruptedWords: own.reduce((sum, sample) => sum + sample.corruptedWords, 0),
        longestGapMs: median(own.map((sample) => sample.longestGapMs)),
      },
    ];
  });
}

export function ratiosOf(samples: readonly MoveSample[]): ModeRatio[] {
  const completed = samples.filter((sample) => sample.outcome === 'completed');
  const others = moveModes.filter((mode) => mode !== 'vmferry');
  return others
    .filter((mode) => samples.some((sample) => sample.mode === mode))
    .map((mode) => {
      const pairs = completed
        .filter((sample) => sample.mode === mode)
        .flatMap((other) => {
          const ours = completed.find((sample) => sample.mode === 'vmferry' && sample.run === other.run);
          return ours === undefined ? [] : [{ ours, other }];
        });
      const ratio = (figure: (sample: MoveSample) => number | null): number | null =>
        median(pairs.map(({ ours, other }) => quotient(figure(ours), figure(other))));
      return {
        mode,
        totalMs: ratio((sample) => sample.totalMs),
        downtimeMs: ratio((sample) => sample.downtimeMs),
        wireBytes: ratio((sample) => sample.wireBytes),
        longestGapMs: ratio((sample) => sample.longestGapMs),
      };
    });
}

/** The middle one, or the mean of the two in the middle; values that are null do not count. */
export function median(values: readonly (number | null)[]): number | null {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  return upper === undefined || lower === undefined ? null : (lower + upper) / 2;
}

function quotient(a: number | null, b: number | null): number | null {
  return a === null || b === null || b === 0 ? null : a / b;
}
