/**
 * `vmferry bench`: makes the moves of a set that have not been made yet, one after the other in a lab of its own, and writes
 * what they add up to. Every move is on disk as soon as it is made, so it may be interrupted and started again.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '../../core/base/errors.ts';
import { formatBytes, formatMs } from '../../core/model/units.ts';
import { HeartbeatListener } from '../lab/heartbeat-listener.ts';
import { labDown, labSetLink, labUp } from '../lab/lab.ts';
import type { WatchTools } from '../lab/move-watch.ts';
import { planLab, projectFolder } from '../lab/plan.ts';
import type { LabPlan, LinkName } from '../lab/plan.ts';
import { parseWriterLines } from './bench-guest.ts';
import { comparisonsOf, summariesOf } from './comparisons.ts';
import { BenchError } from './errors.ts';
import { examineMachine } from './machine.ts';
import { limitBytesOf, resultCells } from './results.ts';
import type { BenchResult, Machine, Versions } from './results.ts';
import { writeReports } from './reports.ts';
import { definitionOf, failedSample, takeSample } from './sampler.ts';
import { hashOf, SamplesFile } from './samples.ts';
import type { Sample } from './samples.ts';
import { remainingSteps, stepsOf, timeToGoMs } from './schedule.ts';
import type { Cell, Step } from './schedule.ts';
import type { SetName } from './sets.ts';

export type BenchOptions = {
  readonly set: SetName;
  readonly cells: readonly Cell[];
  readonly runs: number;
  readonly folder: string;
  /** A migration that has not completed by then is given up. */
  readonly timeoutMs: number;
  readonly labName: string;
  /** As it was typed, for the report. */
  readonly command: string;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
};

export type BenchFiles = {
  readonly json: string;
  readonly html: string;
  readonly markdown: string;
  readonly samples: string;
};
export type BenchOutcome = {
  readonly result: BenchResult;
  readonly files: BenchFiles;
  /** Moves that the bench could not make; they are tried again by the next bench of the same folder. */
  readonly missing: number;
};

/** So many moves in a row that the bench could not make: there is something wrong with the machine. */
const ERRORS_MAX = 3;

/**
 * Throws BenchError, LabError, QemuProcessError; AbortError when `signal` fires: what was measured until then is kept.
 * The lab is removed, whatever happens.
 */
export async function runBench(options: BenchOptions): Promise<BenchOutcome> {
  setUp();
  const { machine, versions } = await examineMachine();
  const files = filesOf(options);
  const plan = planOf(options, machine, versions);
  const samples = SamplesFile.open(files.samples, plan, new Date().toISOString());
  const steps = stepsOf(options.cells, options.runs);
  const remaining = remainingSteps(steps, samples.samples.filter(isValid));
  const done = steps.length - remaining.length;
  if (done > 0) options.say(`${done} of ${steps.length} moves were made before and are kept (${files.samples})`);
  if (remaining.length > 0) await new Bench(options, machine, samples, steps.length).run(remaining);
  const result = resultOf(options, { machine, versions }, samples);
  writeFileSync(files.json, `${JSON.stringify(result, null, 2)}\n`);
  await writeReports(result, files);
  return { result, files, missing: remainingSteps(steps, samples.samples.filter(isValid)).length };
}

/** It was made, and its case and mode are still what they were. */
function isValid(sample: Sample): boolean {
  return sample.outcome !== 'error' && sample.definition === definitionOf(sample);
}

class Bench {
  readonly #options: BenchOptions;
  readonly #machine: Machine;
  readonly #samples: SamplesFile;
  readonly #count: number;
  readonly #plan: LabPlan;
  #errors = 0;

  constructor(options: BenchOptions, machine: Machine, samples: SamplesFile, count: number) {
    this.#options = options;
    this.#machine = machine;
    this.#samples = samples;
    this.#count = count;
    this.#plan = planLab(options.labName);
  }

  async run(remaining: readonly Step[]): Promise<void> {
    let lab: OpenLab | null = null;
    try {
      for (const [index, step] of remaining.entries()) {
        this.#options.signal.throwIfAborted();
        lab ??= await openLab(this.#plan, step.link);
        await lab.setLink(step.link);
        const sample = await this.#sample(step, lab);
        this.#tell(sample, remaining.slice(index + 1));
        if (sample.outcome !== 'error') continue;
        // Whatever is left of that move must not meet the next one.
        await lab.close();
        lab = null;
      }
    } finally {
      if (lab === null) await labDown(this.#plan.name);
      else await lab.close();
    }
  }

  async #sample(step: Step, lab: OpenLab): Promise<Sample> {
    const { signal, timeoutMs } = this.#options;
    const { accelerator } = this.#machine;
    const tools: WatchTools = { plan: this.#plan, heartbeats: lab.heartbeats, parseWriterLines, signal };
    const beginMs = performance.now();
    try {
      const wantsLimit = limitBytesOf(step, this.#samples.samples.filter(isValid)) === null;
      const sample = await takeSample(step, tools, { accelerator, timeoutMs, wantsLimit });
      this.#samples.append(sample);
      this.#errors = 0;
      return sample;
    } catch (error) {
      signal.throwIfAborted();
      const sample = failedSample(step, error, performance.now() - beginMs);
      this.#samples.append(sample);
      if (++this.#errors < ERRORS_MAX) return sample;
      const text = `${ERRORS_MAX} moves in a row could not be made, the last (${step.case}, ${step.mode}) because`;
      throw new BenchError('BENCH_FAILED', `${text} ${describeError(error)}`, {}, { cause: error });
    }
  }

  #tell(sample: Sample, remaining: readonly Step[]): void {
    const toGo = timeToGoMs(remaining, this.#samples.samples.filter(isValid));
    const place = `[${this.#count - remaining.length}/${this.#count}]`;
    const what = `run ${sample.run} ${sample.link} ${sample.case.padEnd(10)} ${sample.mode.padEnd(18)}`;
    const rest = remaining.length === 0 ? '' : `  (${formatMs(toGo)} to go)`;
    this.#options.say(`${place} ${what} ${figuresOf(sample)}${rest}`);
    if (sample.limitProblem !== null) this.#options.say(`  its limit is not known: ${sample.limitProblem}`);
  }
}

type OpenLab = {
  readonly heartbeats: HeartbeatListener;
  readonly setLink: (link: LinkName) => Promise<void>;
  readonly close: () => Promise<void>;
};

async function openLab(plan: LabPlan, first: LinkName): Promise<OpenLab> {
  await labDown(plan.name);
  await labUp({ name: plan.name, link: first });
  const heartbeats = await HeartbeatListener.start(plan.hosts[0]);
  let link = first;
  return {
    heartbeats,
    setLink: async (wanted) => {
      if (wanted !== link) await labSetLink(wanted, 0, plan.name);
      link = wanted;
    },
    close: async () => {
      heartbeats.stop();
      await labDown(plan.name);
    },
  };
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
function planOf({ timeoutMs }: BenchOptions, machine: Machine, versions: Versions): string {
  const { processor, processors, accelerator } = machine;
  return hashOf({ timeoutMs, processor, processors, accelerator, qemu: versions.qemu });
}

function filesOf({ folder, set }: BenchOptions): BenchFiles {
  const file = (end: string): string => join(folder, `${set}.${end}`);
  return { json: file('json'), html: file('html'), markdown: file('md'), samples: file('samples.jsonl') };
}

function resultOf(
  { command, cells }: BenchOptions,
  facts: { readonly machine: Machine; readonly versions: Versions },
  { samples, head }: SamplesFile,
): BenchResult {
  const order = new Map(cells.map((cell, index) => [`${cell.case} ${cell.link} ${cell.mode}`, index]));
  const placeOf = (cell: Cell): number => order.get(`${cell.case} ${cell.link} ${cell.mode}`) ?? order.size;
  const inOrder = samples.filter(isValid).sort((a, b) => placeOf(a) - placeOf(b));
  const comparisons = comparisonsOf(inOrder);
  const until = samples.at(-1)?.startedAt ?? head.startedAt;
  const figures = { cells: resultCells(inOrder), comparisons, summaries: summariesOf(comparisons) };
  return { ...facts, date: head.startedAt, until, command, ...figures };
}

function figuresOf({ outcome, reason, totalMs, downtimeMs, wireBytes, damage }: Sample): string {
  if (outcome !== 'completed') return `${outcome}: ${reason}`;
  const text = `${formatMs(totalMs ?? 0)}, downtime ${downtimeMs === null ? 'unknown' : formatMs(downtimeMs)}, ${formatBytes(wireBytes ?? 0)}`;
  return damage === 0 ? text : `${text}, ${damage} DAMAGED`;
}
