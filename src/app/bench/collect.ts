/**
 * Makes the moves and measurements that have not been made yet, one after the other in a lab of its own. Each is on disk as
 * soon as it is made, so this may be interrupted and started again.
 */
import { spawnSync } from 'node:child_process';
import { formatBytes, formatMs } from '../../core/model/units.ts';
import type { WatchTools } from '../lab/move-watch.ts';
import { projectFolder } from '../lab/plan.ts';
import { parseWriterLines } from './bench-guest.ts';
import { BenchError } from './errors.ts';
import { runJobs } from './jobs.ts';
import type { Job } from './jobs.ts';
import { examineMachine } from './machine.ts';
import { isValidMeasurement, measureJob, remainingMeasures } from './measures.ts';
import type { Measure } from './measures.ts';
import { limitBytesOf } from './results.ts';
import type { Machine, Versions } from './results.ts';
import { definitionOf, failedSample, takeSample } from './sampler.ts';
import { hashOf, SamplesFile } from './samples.ts';
import type { Measurement, Sample } from './samples.ts';
import { remainingSteps, stepsOf, timeToGoMs } from './schedule.ts';
import type { Cell, Step } from './schedule.ts';

export type CollectOptions = {
  /** Where samples are, and go. */
  readonly samplesFile: string;
  readonly cells: readonly Cell[];
  readonly measures?: readonly Measure[];
  /** Whose measurements count where the file has them; default `measures`. */
  readonly knownMeasures?: readonly Measure[];
  readonly runs: number;
  /** A migration that has not completed by then is given up. */
  readonly timeoutMs: number;
  /** Whether moves keep what went on over time. Default false. */
  readonly wantsSeries?: boolean;
  /** Whether vmferry predicts each move before it. Default false. */
  readonly wantsForecast?: boolean;
  readonly labName: string;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
};

export type Collected = {
  readonly machine: Machine;
  readonly versions: Versions;
  /** Of the first and of the last of them. */
  readonly date: string;
  readonly until: string;
  /** Those that count, in the order of the cells; of cells that were not asked for, too. */
  readonly samples: readonly Sample[];
  readonly measurements: readonly Measurement[];
  /** What was asked for and could not be made; it is tried again the next time. */
  readonly missing: number;
};

/**
 * Throws BenchError, LabError, QemuProcessError; AbortError when `signal` fires: what was measured until then is kept.
 * The lab is removed, whatever happens.
 */
export async function collect(options: CollectOptions): Promise<Collected> {
  setUp();
  const facts = await examineMachine();
  const file = SamplesFile.open(options.samplesFile, planOf(options, facts), new Date().toISOString());
  const { cells, measures = [], runs } = options;
  const count = runs * cells.length + measures.reduce((sum, { runsMax = runs }) => sum + Math.min(runs, runsMax), 0);
  const known = options.knownMeasures ?? measures;
  const jobs = jobsOf(options, file, facts.machine);
  const done = count - jobs.length;
  if (done > 0) options.say(`${done} of ${count} moves were made before and are kept (${options.samplesFile})`);
  if (jobs.length > 0) await runJobs(jobs, { ...options, count });
  return {
    ...facts,
    date: file.head.startedAt,
    until: file.samples.at(-1)?.startedAt ?? file.measurements.at(-1)?.startedAt ?? file.head.startedAt,
    samples: inOrder(file.samples.filter(isValid), options.cells),
    measurements: file.measurements.filter((each) => isValidMeasurement(each, known)),
    missing: jobsOf(options, file, facts.machine).length,
  };
}

/** It was made, and its case and mode are still what they were. */
function isValid(sample: Sample): boolean {
  return sample.outcome !== 'error' && sample.definition === definitionOf(sample);
}

/** Run by run: measurements, then moves. */
function jobsOf(options: CollectOptions, file: SamplesFile, machine: Machine): Job[] {
  const { cells, measures = [], runs } = options;
  const given = { ...options, accelerator: machine.accelerator };
  const steps = remainingSteps(stepsOf(cells, runs), file.samples.filter(isValid));
  return Array.from({ length: runs }, (_, index) => index + 1).flatMap((run) => [
    ...remainingMeasures(measures, run, file.measurements).map((measure) => measureJob(measure, run, file, given)),
    ...steps.filter((step) => step.run === run).map((step) => moveJob(step, file, given)),
  ]);
}

type MoveJobOptions = CollectOptions & Pick<Machine, 'accelerator'>;

function moveJob(
  step: Step,
  file: SamplesFile,
  { accelerator, timeoutMs, wantsSeries, wantsForecast, signal }: MoveJobOptions,
): Job {
  const valid = (): Sample[] => file.samples.filter(isValid);
  return {
    label: `run ${step.run} ${step.link} ${step.case.padEnd(10)} ${step.mode.padEnd(18)}`,
    link: step.link,
    guessMs: () => timeToGoMs([step], valid()),
    run: async ({ plan, heartbeats }) => {
      const tools: WatchTools = { plan, heartbeats, parseWriterLines, signal };
      const wantsLimit = limitBytesOf(step, valid()) === null;
      const wanted = {
        accelerator,
        timeoutMs,
        wantsLimit,
        wantsSeries: wantsSeries === true,
        wantsForecast: wantsForecast === true,
      };
      const sample = await takeSample(step, tools, wanted);
      file.append(sample);
      const { limitProblem } = sample;
      return [figuresOf(sample), ...(limitProblem === null ? [] : [`its limit is not known: ${limitProblem}`])];
    },
    keepFailure: (error, tookMs) => file.append(failedSample(step, error, tookMs)),
  };
}

function figuresOf({ outcome, reason, totalMs, downtimeMs, wireBytes, damage }: Sample): string {
  if (outcome !== 'completed') return `${outcome}: ${reason}`;
  const text = `${formatMs(totalMs ?? 0)}, downtime ${downtimeMs === null ? 'unknown' : formatMs(downtimeMs)}, ${formatBytes(wireBytes ?? 0)}`;
  return damage === 0 ? text : `${text}, ${damage} DAMAGED`;
}

function inOrder(samples: readonly Sample[], cells: readonly Cell[]): Sample[] {
  const order = new Map(cells.map((cell, index) => [`${cell.case} ${cell.link} ${cell.mode}`, index]));
  const placeOf = (cell: Cell): number => order.get(`${cell.case} ${cell.link} ${cell.mode}`) ?? order.size;
  return samples.toSorted((a, b) => placeOf(a) - placeOf(b));
}

/** QEMU 10 and the guest's image, where they are not there yet; what that says goes to standard error. */
function setUp(): void {
  const { status } = spawnSync(process.execPath, ['scripts/setup.ts'], {
    cwd: projectFolder,
    stdio: ['ignore', process.stderr.fd, process.stderr.fd],
  });
  if (status !== 0) throw new BenchError('BENCH_SETUP', 'The set-up failed: "npm run setup" says why');
}

/** What must be alike for samples to stand side by side in one file. More runs, cases and modes may be added to it. */
function planOf(
  { timeoutMs }: CollectOptions,
  { machine, versions }: { readonly machine: Machine; readonly versions: Versions },
): string {
  const { processor, processors, accelerator } = machine;
  return hashOf({ timeoutMs, processor, processors, accelerator, qemu: versions.qemu });
}
