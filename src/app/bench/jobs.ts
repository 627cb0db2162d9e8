/**
 * What is to be done in the lab, one after the other: moves, and measurements of papers. The lab is removed at the end,
 * whatever happens, and made anew where something went wrong, so that what is left of it does not meet the next one.
 */
import { describeError } from '../../core/base/errors.ts';
import { formatMs } from '../../core/model/units.ts';
import { HeartbeatListener } from '../lab/heartbeat-listener.ts';
import { labDown, labSetLink, labUp } from '../lab/lab.ts';
import { planLab } from '../lab/plan.ts';
import type { LabPlan, LinkName } from '../lab/plan.ts';
import { BenchError } from './errors.ts';

export type OpenLab = {
  readonly plan: LabPlan;
  readonly heartbeats: HeartbeatListener;
  readonly setLink: (link: LinkName) => Promise<void>;
  readonly close: () => Promise<void>;
};

export type Job = {
  /** For people, "run 1 1gbit slow vmferry-auto". */
  readonly label: string;
  readonly link: LinkName;
  /** How long it will take, by what was done so far. */
  readonly guessMs: () => number;
  /** Does it and keeps what it found; returns that for people, in one line or more. */
  readonly run: (lab: OpenLab) => Promise<readonly string[]>;
  /** Keeps that it could not be done. */
  readonly keepFailure: (error: unknown, tookMs: number) => void;
};

export type JobsOptions = {
  readonly labName: string;
  /** Of all jobs, those included that were done before. */
  readonly count: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
};

/** So many in a row that could not be done: there is something wrong with the machine. */
const ERRORS_MAX = 3;

/** Throws BenchError BENCH_FAILED, LabError; AbortError when `signal` fires: what was done until then is kept. */
export async function runJobs(jobs: readonly Job[], options: JobsOptions): Promise<void> {
  const { labName, count, say, signal } = options;
  const plan = planLab(labName);
  let lab: OpenLab | null = null;
  let errors = 0;
  try {
    for (const [index, job] of jobs.entries()) {
      signal.throwIfAborted();
      lab ??= await openLab(plan, job.link);
      await lab.setLink(job.link);
      const { lines, error } = await tryJob(job, lab, signal);
      const rest = jobs.slice(index + 1);
      const toGo =
        rest.length === 0 ? '' : `  (${formatMs(rest.reduce((sum, { guessMs }) => sum + guessMs(), 0))} to go)`;
      say(`[${count - rest.length}/${count}] ${job.label} ${lines[0] ?? ''}${toGo}`);
      for (const line of lines.slice(1)) say(`  ${line}`);
      errors = error === undefined ? 0 : errors + 1;
      if (errors >= ERRORS_MAX) {
        const text = `${ERRORS_MAX} in a row could not be made, the last (${job.label}) because ${describeError(error)}`;
        throw new BenchError('BENCH_FAILED', text, {}, { cause: error });
      }
      if (error === undefined) continue;
      await lab.close();
      lab = null;
    }
  } finally {
    if (lab === null) await labDown(plan.name);
    else await lab.close();
  }
}

async function tryJob(
  job: Job,
  lab: OpenLab,
  signal: AbortSignal,
): Promise<{ readonly lines: readonly string[]; readonly error?: unknown }> {
  const beginMs = performance.now();
  try {
    return { lines: await job.run(lab) };
  } catch (error) {
    signal.throwIfAborted();
    job.keepFailure(error, performance.now() - beginMs);
    return { lines: [`error: ${describeError(error)}`], error: error ?? new Error('unknown') };
  }
}

async function openLab(plan: LabPlan, first: LinkName): Promise<OpenLab> {
  await labDown(plan.name);
  await labUp({ name: plan.name, link: first });
  const heartbeats = await HeartbeatListener.start(plan.hosts[0]);
  let link = first;
  return {
    plan,
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
