/**
 * One move as it was seen, and the file that all of them are appended to (JSON lines): what is in it is done, whatever
 * happens then.
 *
 *     {"plan": HASH, "startedAt": ...}         the first line: the machine and QEMU that they were taken with
 *     {"run": 1, "case": "slow", ...}          then one line for each move
 *     {"run": 1, "measure": "ratio slow", ...} or for each measurement of a paper
 *
 * A sample also names what its case and mode were then: one of a case that has changed since does not count any more.
 * A line that is cut off, because the machine went down while it was written, is no sample.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { predictedMoveSchema } from '../../core/api/schemas.ts';
import { linkNames } from '../lab/plan.ts';
import { BenchError } from './errors.ts';

const figure = z.number().nullable();
const columnSchema = z.array(z.number());
/** One value for each time; times in milliseconds from the request for the move on. */
const workSeriesSchema = z.object({ atMs: columnSchema, perS: columnSchema });
export const seriesSchema = z.object({
  /** Ends of intervals of about a tenth of a second, each `stepMs` long. */
  atMs: columnSchema,
  stepMs: columnSchema,
  /** In the interval: both directions of the link. */
  wireBytes: columnSchema,
  /** In the interval: time of the virtual processors at the source and at the destination, and of the neighbour's. */
  sourceVcpuMs: columnSchema,
  destinationVcpuMs: columnSchema,
  neighbourVcpuMs: columnSchema,
  /** Units per second of the guest's own work, and of the neighbour's; null where it does not work. */
  work: workSeriesSchema.nullable(),
  neighbourWork: workSeriesSchema.nullable(),
});
const cpuSchema = z.object({
  /** Processor time of the agent, of QEMU without its virtual processors, and of these, during the move. */
  agentMs: z.number(),
  qemuMs: z.number(),
  vcpuMs: z.number(),
});
const peakSchema = z.object({ agentBytes: z.number(), qemuBytes: z.number() });
const workSchema = z.object({
  /** Units per second before, during and after the move. */
  before: z.number(),
  during: figure,
  after: figure,
  /** How much longer the guest took for what it did during the move than it would have taken before it. */
  lostMs: figure,
});

export const serverSchema = z.object({
  requests: z.number(),
  failures: z.number(),
  lostConnections: z.number(),
  longestGapMs: z.number(),
});

/** What was expected of a move just before it, and what its report then said of the same figures. */
export const forecastSchema = z.object({
  predicted: predictedMoveSchema,
  measured: z.object({ totalMs: z.number(), downtimeMs: z.number(), wireBytes: z.number() }),
  /** Of the report, for whoever looks for the reason of an error. */
  pages: z.object({ sent: z.number(), resent: z.number(), zero: z.number(), pruned: figure }),
  resentBytes: z.number(),
});

export const sampleSchema = z.object({
  run: z.int().min(1),
  case: z.string(),
  link: z.enum(linkNames),
  mode: z.string(),
  /** Stands for what the case and the mode were. */
  definition: z.string(),
  startedAt: z.string(),
  /** With the start of the guest, its boot and its end. */
  tookMs: z.number(),
  /** `error`: the bench itself failed, and the move will be tried again. */
  outcome: z.enum(['completed', 'aborted', 'failed', 'error']),
  reason: z.string(),
  qemuVersion: z.string(),
  /** Of vmferry: how it came to the switchover, and what it had promised. */
  switchover: z.string().nullable(),
  totalMs: figure,
  /** Until the mover had nothing more to do: vmferry's end of the source, QEMU's preparation included. */
  elapsedMs: figure,
  downtimeMs: figure,
  clientGapMs: figure,
  quietGapMs: figure,
  wireBytes: figure,
  /** Contents of pages that crossed the wire, as the mover says. */
  pagesSent: figure.default(null),
  cpu: z.object({ source: cpuSchema, destination: cpuSchema }).nullable(),
  peak: z.object({ source: peakSchema, destination: peakSchema }).nullable(),
  work: workSchema.nullable(),
  neighbourWork: workSchema.nullable(),
  /** Bytes of what had to be sent at least (limit.ts); null where it was not measured. */
  limitBytes: figure,
  /** Why not, where it was tried. */
  limitProblem: z.string().nullable(),
  /** Words that the guest's writer found damaged, and results that its programs found wrong. */
  damage: z.number(),
  /** Times of the mover's own. */
  furtherMs: z.record(z.string(), z.number().nullable()),
  /** What a client had of the guest's echo service from before the move until after it, where the case has one. */
  echo: z
    .object({ echoedBytes: z.number(), lostConnections: z.number(), wrongEchoes: z.number() })
    .nullable()
    .default(null),
  /** What a client of the guest's server saw from before the move until after it, where the case has one (server-load.ts). */
  server: serverSchema.nullable().default(null),
  /** Only where it was asked for. */
  forecast: forecastSchema.nullable().default(null),
  /** What went on over time; only where it was asked for. */
  series: seriesSchema.nullable().default(null),
});

/** Something that a paper measures without a move, or beside its moves (papers/paper.ts). */
export const measurementSchema = z.object({
  run: z.int().min(1),
  measure: z.string(),
  /** Stands for what it depended on. */
  definition: z.string(),
  startedAt: z.string(),
  tookMs: z.number(),
  /** `error`: it could not be taken, and will be tried again. */
  outcome: z.enum(['completed', 'error']),
  reason: z.string(),
  values: z.record(z.string(), z.union([figure, z.array(z.number())])),
});

export type Sample = z.infer<typeof sampleSchema>;
export type Forecast = z.infer<typeof forecastSchema>;
export type Series = z.infer<typeof seriesSchema>;
export type WorkSeries = z.infer<typeof workSeriesSchema>;
export type Measurement = z.infer<typeof measurementSchema>;
export type MeasuredValues = Measurement['values'];
export type CpuTimes = z.infer<typeof cpuSchema>;
export type PeakMemory = z.infer<typeof peakSchema>;
export type GuestWork = z.infer<typeof workSchema>;

const headSchema = z.object({ plan: z.string(), startedAt: z.string() });
export type SamplesHead = z.infer<typeof headSchema>;

/** Stands for values: equal ones have equal hashes. */
export function hashOf(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

export class SamplesFile {
  readonly file: string;
  readonly head: SamplesHead;
  readonly #samples: Sample[];
  readonly #measurements: Measurement[];

  private constructor(file: string, head: SamplesHead, lines: readonly string[]) {
    this.file = file;
    this.head = head;
    this.#samples = lines.flatMap((line) => parse(sampleSchema, line) ?? []);
    this.#measurements = lines.flatMap((line) => parse(measurementSchema, line) ?? []);
  }

  /**
   * Opens the file of this plan, or begins it. Throws BenchError BENCH_OUT when it holds samples of another plan: taken on
   * another machine, or with another QEMU.
   */
  static open(file: string, plan: string, startedAt: string): SamplesFile {
    if (!existsSync(file)) {
      mkdirSync(dirname(file), { recursive: true });
      const head = { plan, startedAt };
      writeFileSync(file, `${JSON.stringify(head)}\n`);
      return new SamplesFile(file, head, []);
    }
    const text = readFileSync(file, 'utf8');
    const [first = '', ...lines] = text.split('\n');
    const head = parse(headSchema, first);
    if (head === null)
      throw new BenchError('BENCH_OUT', `${file} does not hold samples: choose another --out`, { file });
    if (head.plan !== plan) {
      const what = 'holds samples that were taken on another machine, with another QEMU or another time-out';
      throw new BenchError('BENCH_OUT', `${file} ${what}: choose another --out, or remove that file`, { file });
    }
    // A cut-off line must not swallow the next one.
    if (!text.endsWith('\n')) appendFileSync(file, '\n');
    return new SamplesFile(file, head, lines);
  }

  append(sample: Sample): void {
    appendFileSync(this.file, `${JSON.stringify(sample)}\n`);
    this.#samples.push(sample);
  }

  appendMeasurement(measurement: Measurement): void {
    appendFileSync(this.file, `${JSON.stringify(measurement)}\n`);
    this.#measurements.push(measurement);
  }

  get samples(): readonly Sample[] {
    return this.#samples;
  }

  get measurements(): readonly Measurement[] {
    return this.#measurements;
  }
}

function parse<T>(schema: z.ZodType<T>, line: string): T | null {
  try {
    return schema.parse(JSON.parse(line));
  } catch {
    return null;
  }
}
