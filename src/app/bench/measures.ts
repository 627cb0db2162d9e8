/**
 * Measurements that are no moves: a paper's own steps (papers/paper.ts), made in the lab like moves, kept and resumed
 * like them.
 */
import { describeError } from '../../core/base/errors.ts';
import type { WatchTools } from '../lab/move-watch.ts';
import type { LinkName } from '../lab/plan.ts';
import { parseWriterLines } from './bench-guest.ts';
import type { Accelerator } from './bench-guest.ts';
import type { Job, OpenLab } from './jobs.ts';
import { hashOf } from './samples.ts';
import type { MeasuredValues, Measurement, SamplesFile } from './samples.ts';

export type MeasureTools = WatchTools & {
  readonly accelerator: Accelerator;
  /** A migration that has not completed by then is given up. */
  readonly timeoutMs: number;
  readonly run: number;
};

export type Measure = {
  /** Its name, unique within its paper: "mg, 512M, cap 25 %". */
  readonly key: string;
  /** Of whom it is; `--case` chooses by it. */
  readonly case: string;
  /** Default `1gbit`. */
  readonly link?: LinkName;
  /** What it depends on: a measurement of another definition does not count any more. Plain data. */
  readonly definition: unknown;
  /** It is taken in so many runs at most: one that has all the values it needs in itself need not be repeated. Default: in all. */
  readonly runsMax?: number;
  /** Starts what it needs on the lab's hosts, ends it, and returns plain figures. Throws what that throws. */
  readonly run: (tools: MeasureTools) => Promise<MeasuredValues>;
};

/** Of a measurement on a machine that has not made any yet. */
const FIRST_GUESS_MS = 30_000;

/** It was taken, and its measure is still what it was. */
export function isValidMeasurement(measurement: Measurement, measures: readonly Measure[]): boolean {
  const measure = measures.find(({ key }) => key === measurement.measure);
  return (
    measure !== undefined &&
    measurement.outcome === 'completed' &&
    measurement.definition === hashOf(measure.definition)
  );
}

/** Those of one run that are not done yet, in their order. */
export function remainingMeasures(
  measures: readonly Measure[],
  run: number,
  done: readonly Measurement[],
): readonly Measure[] {
  const valid = done.filter((each) => each.run === run && isValidMeasurement(each, measures));
  const due = measures.filter(({ runsMax = run }) => run <= runsMax);
  return due.filter(({ key }) => !valid.some(({ measure }) => measure === key));
}

export function measureJob(
  measure: Measure,
  run: number,
  file: SamplesFile,
  options: Pick<MeasureTools, 'accelerator' | 'timeoutMs' | 'signal'>,
): Job {
  const head = { run, measure: measure.key, definition: hashOf(measure.definition) };
  return {
    label: `run ${run} measure ${measure.key}:`,
    link: measure.link ?? '1gbit',
    guessMs: () => guessMs(measure.key, file.measurements),
    run: async (lab: OpenLab) => {
      const [startedAt, beginMs] = [new Date().toISOString(), performance.now()];
      const { plan, heartbeats } = lab;
      const values = await measure.run({ plan, heartbeats, parseWriterLines, ...options, run });
      const tookMs = performance.now() - beginMs;
      file.appendMeasurement({ ...head, startedAt, tookMs, outcome: 'completed', reason: 'completed', values });
      return [valuesText(values)];
    },
    keepFailure: (error, tookMs) => {
      const startedAt = new Date().toISOString();
      file.appendMeasurement({
        ...head,
        startedAt,
        tookMs,
        outcome: 'error',
        reason: describeError(error),
        values: {},
      });
    },
  };
}

function guessMs(key: string, taken: readonly Measurement[]): number {
  const done = taken.filter(({ outcome }) => outcome === 'completed');
  const same = done.filter(({ measure }) => measure === key);
  const alike = same.length > 0 ? same : done;
  return alike.length === 0 ? FIRST_GUESS_MS : alike.reduce((sum, { tookMs }) => sum + tookMs, 0) / alike.length;
}

/** Long rows are for the file. */
function valuesText(values: MeasuredValues): string {
  const plain = Object.entries(values).filter(([, value]) => !Array.isArray(value));
  return plain
    .map(([name, value]) => `${name} ${value === null ? '-' : Number(Number(value).toPrecision(4))}`)
    .join(', ');
}
