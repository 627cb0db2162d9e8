/**
 * What crosses the HTTP API of an agent, as schemas: the agent checks what comes in, the client checks what comes back,
 * and the OpenAPI document is made from the same objects.
 *
 * Requests are strict, so that a misspelt field is an error with its name. Responses are open: an older client reads the
 * answer of a newer agent.
 */
import { z } from 'zod';
import {
  compressModes,
  defaultMigrationOptions,
  deltaModes,
  pruneModes,
  stageNames,
  strategyNames,
} from '../model/migration.ts';
import type { MigrationOptions, MigrationReport, MigrationView } from '../model/migration.ts';
import type { MovePlan } from '../model/plan.ts';
import type { LimitName, MoveFacts, PredictedMove, Prediction } from '../model/prediction.ts';
import { vmNameSchema, vmSpecSchema, vmStates } from '../model/vm.ts';
import type { HostView, Problem, VmView } from '../model/vm.ts';
import {
  DELTA_CACHE_BYTES_MAX,
  DOWNTIME_MS_MAX,
  GRACE_MS_DEFAULT,
  GRACE_MS_MAX,
  HISTORY_ROWS_DEFAULT,
  HISTORY_ROWS_MAX,
  INTERVAL_MS_MAX,
  INTERVAL_MS_MIN,
  LANES_MAX,
  PATH_CHARS_MAX,
  PLAN_MS_DEFAULT,
  PLAN_MS_MAX,
  PLAN_MS_MIN,
  ROUNDS_MAX,
  STALL_MS_MAX,
  STALL_MS_MIN,
} from './limits.ts';

const millis = z.number().min(0);
const count = z.int().min(0);
const absolutePath = z
  .string()
  .max(PATH_CHARS_MAX)
  .regex(/^\/[^\n\0]*$/, 'must be an absolute path');

export const hostNameSchema = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/, 'must be a host name like host-a');
export const migrationIdSchema = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be a migration id');

/** The options of a migration as a request gives them: each may be missing and has the documented default. */
export const migrationOptionsSchema = z.strictObject({
  strategy: z.enum(strategyNames).default(defaultMigrationOptions.strategy),
  prune: z.enum(pruneModes).default(defaultMigrationOptions.prune),
  keepCache: z.boolean().default(defaultMigrationOptions.keepCache),
  dropSlabs: z.boolean().default(defaultMigrationOptions.dropSlabs),
  warmUp: z.boolean().default(defaultMigrationOptions.warmUp),
  compress: z.enum(compressModes).default(defaultMigrationOptions.compress),
  delta: z.enum(deltaModes).default(defaultMigrationOptions.delta),
  deltaCacheBytes: z.int().min(0).max(DELTA_CACHE_BYTES_MAX).default(defaultMigrationOptions.deltaCacheBytes),
  /** Null: as many as the source's processors are good for. */
  lanes: z.int().min(1).max(LANES_MAX).nullable().default(null),
  maxBandwidthBytesPerSecond: z.int().min(1).nullable().default(defaultMigrationOptions.maxBandwidthBytesPerSecond),
  downtimeTargetMs: z.number().min(1).max(DOWNTIME_MS_MAX).default(defaultMigrationOptions.downtimeTargetMs),
  maxRounds: z.int().min(1).max(ROUNDS_MAX).default(defaultMigrationOptions.maxRounds),
  /** Strategy mplm: time between two dirty syncs. */
  intervalMs: z.int().min(INTERVAL_MS_MIN).max(INTERVAL_MS_MAX).default(defaultMigrationOptions.intervalMs),
  verify: z.boolean().default(defaultMigrationOptions.verify),
  /** Null: as the strategy needs it, which is only `postcopy`. */
  pull: z.boolean().nullable().default(null),
  stallTimeoutMs: z.int().min(STALL_MS_MIN).max(STALL_MS_MAX).default(defaultMigrationOptions.stallTimeoutMs),
}) satisfies z.ZodType<
  Omit<MigrationOptions, 'lanes' | 'pull'> & { readonly lanes: number | null; readonly pull: boolean | null }
>;

export const startVmRequestSchema = z.strictObject({ spec: vmSpecSchema });
export const stopVmRequestSchema = z.strictObject({
  /** End QEMU at once instead of asking the guest to power off. */
  force: z.boolean().default(false),
  /** How long the guest may take to power off before its QEMU is ended. */
  graceMs: z.int().min(0).max(GRACE_MS_MAX).default(GRACE_MS_DEFAULT),
});
export const adoptVmRequestSchema = z.strictObject({
  name: vmNameSchema,
  qmp: absolutePath,
  qga: absolutePath.optional(),
  spec: vmSpecSchema,
});
export const startMigrationRequestSchema = z.strictObject({
  vm: vmNameSchema,
  destination: hostNameSchema,
  options: migrationOptionsSchema.prefault({}),
  /** Whether to look at the guest for a moment before, and say what to expect: one or two seconds, which are no part of the migration. */
  plan: z.boolean().default(false),
});
/** How long a guest is looked at for a plan. */
export const planRequestSchema = z.strictObject({
  ...startMigrationRequestSchema.omit({ plan: true }).shape,
  measureMs: z.int().min(PLAN_MS_MIN).max(PLAN_MS_MAX).default(PLAN_MS_DEFAULT),
  /** Null: all that the options allow. */
  strategies: z.array(z.enum(strategyNames)).min(1).nullable().default(null),
});
/** Of a person, about this host's part of a migration in doubt: the guest shall run here, or what is here be dropped. */
export const resolveWords = ['run', 'discard'] as const;
export const resolveRequestSchema = z.strictObject({ word: z.enum(resolveWords) });
export const vmParamsSchema = z.strictObject({ name: vmNameSchema });
export const migrationParamsSchema = z.strictObject({ id: migrationIdSchema });
export const historyQuerySchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(HISTORY_ROWS_MAX).default(HISTORY_ROWS_DEFAULT),
  vm: vmNameSchema.optional(),
});

export const problemSchema = z.object({ code: z.string(), message: z.string() }) satisfies z.ZodType<Problem>;

/** The spec in answers: sizes are bytes by then. */
const specViewSchema = vmSpecSchema.safeExtend({ memory: count });
const amountsSchema = z.object({ capacity: count, used: count, reserved: count });

export const vmViewSchema = z.object({
  name: z.string(),
  state: z.enum(vmStates),
  pid: count.nullable(),
  qemuVersion: z.string().nullable(),
  accelerator: z.enum(['kvm', 'tcg']).nullable(),
  machine: z.string(),
  vcpus: count,
  memoryBytes: count,
  adopted: z.boolean(),
  migration: z.string().nullable(),
  spec: specViewSchema,
  runFolder: z.string(),
}) satisfies z.ZodType<VmView>;
export const vmListSchema = z.object({ vms: z.array(vmViewSchema) });

export const hostViewSchema = z.object({
  name: z.string(),
  version: z.string(),
  qemuVersion: z.string().nullable(),
  memoryBytes: amountsSchema,
  vcpus: amountsSchema,
  vms: count,
  peers: z.array(z.string()),
}) satisfies z.ZodType<HostView>;

const outcomeSchema = z.enum(['completed', 'aborted', 'failed']);

const rangeSchema = z.object({ low: z.number(), expected: z.number(), high: z.number() });
const limitNames = ['link', 'processors', 'writes', 'bandwidthLimit', 'fixed'] as const satisfies readonly LimitName[];
export const predictionSchema = z.object({
  strategy: z.enum(strategyNames),
  totalMs: rangeSchema,
  downtimeMs: rangeSchema,
  wireBytes: rangeSchema,
  limitedBy: z.enum(limitNames),
  correction: z.object({ totalMs: z.number(), downtimeMs: z.number(), wireBytes: z.number(), moves: count }).optional(),
}) satisfies z.ZodType<Prediction>;
const moveFactsSchema = z.object({
  guest: z.object({
    pages: z.number(),
    contentShare: z.number(),
    wireBytesPerPage: z.number(),
    wireBytesRange: z.object({ low: z.number(), high: z.number() }),
    repeatBytes: z.number().nullable(),
    workingSet: z.object({ pagesPerMs: z.number(), hotPages: z.number() }),
  }),
  path: z.object({
    linkBytesPerSecond: z.number(),
    roundTripMs: z.number(),
    lanePagesPerMs: z.number(),
    feedPagesPerMs: z.number(),
    feedHold: z.enum(['strict', 'paced']),
    beforeMs: z.number(),
    switchMs: z.number(),
    afterMs: z.number(),
  }),
}) satisfies z.ZodType<MoveFacts>;
export const predictedMoveSchema = predictionSchema.extend({
  facts: moveFactsSchema,
}) satisfies z.ZodType<PredictedMove>;

export const migrationViewSchema = z.object({
  id: z.string(),
  vm: z.string(),
  source: z.string(),
  destination: z.string(),
  stage: z.enum([...stageNames, 'ended']),
  outcome: outcomeSchema.nullable(),
  reason: z.string().nullable(),
  elapsedMs: millis,
  progress: z.number().min(0).max(1),
  timeToGoMs: millis.nullable(),
  round: count,
  boundMs: millis.nullable(),
  pagesTotal: count,
  pagesPending: count,
  pagesUndecided: count,
  dirtyPagesPerSecond: z.number().min(0),
  wireBytes: count,
  wireBytesPerSecond: z.number().min(0),
  directory: z
    .object({
      unnamed: count,
      pending: count,
      withheld: count,
      spared: count,
      missing: count,
      inFlight: count,
      placed: count,
      zero: count,
    })
    .nullable(),
  predicted: predictionSchema.nullable().default(null),
}) satisfies z.ZodType<MigrationView>;
export const migrationListSchema = z.object({ migrations: z.array(migrationViewSchema) });

const cpuMsSchema = z.object({ agent: millis.nullable(), qemu: millis.nullable() });
const roundSchema = z.object({
  round: count,
  stage: z.enum(['preCopy', 'stopAndCopy', 'activation']),
  ms: millis,
  pagesSent: count,
  wireBytes: count,
  pagesDirtied: count,
});

export const migrationReportSchema = z.object({
  id: z.string(),
  vm: z.string(),
  source: z.string(),
  destination: z.string(),
  startedAt: z.string(),
  strategy: z.enum(strategyNames),
  options: z.object({
    prune: z.enum(pruneModes),
    keepCache: z.boolean(),
    dropSlabs: z.boolean(),
    // Reports of former versions have none.
    warmUp: z.boolean().default(false),
    compress: z.enum(compressModes),
    delta: z.string().nullable(),
    lanes: count,
    maxBandwidth: count.nullable(),
    downtimeTargetMs: millis,
    verify: z.boolean(),
    pull: z.boolean(),
  }),
  outcome: outcomeSchema,
  reason: z.string(),
  code: z.string().nullable(),
  guest: z.enum(['running at source', 'running at destination', 'paused at source', 'in doubt', 'lost']),
  totalMs: millis,
  downtimeMs: millis.nullable(),
  stagesMs: z.object({
    preMigration: millis,
    reservation: millis,
    preCopy: millis,
    stopAndCopy: millis,
    commitment: millis,
    activation: millis,
  }),
  rounds: z.array(roundSchema),
  pages: z.object({
    total: count,
    sent: count,
    resent: count,
    zero: count,
    pruned: count.nullable(),
    delta: count.nullable(),
    unchanged: count.nullable(),
    pulled: count.nullable(),
  }),
  bytes: z.object({ wire: count, resent: count, raw: count }),
  cpuMs: z.object({ source: cpuMsSchema, destination: cpuMsSchema }),
  verified: z.boolean(),
  notes: z.array(z.string()),
  switchover: z
    .object({
      reason: z.string(),
      afterMs: millis,
      rounds: count,
      boundMs: millis.nullable(),
      expectedDowntimeMs: millis.nullable(),
    })
    .nullable(),
  pull: z.object({ ms: millis, faults: count, medianMs: millis.nullable(), p99Ms: millis.nullable() }).nullable(),
  predicted: predictedMoveSchema.nullable(),
}) satisfies z.ZodType<MigrationReport>;

export const movePlanSchema = z.object({
  vm: vmNameSchema,
  destination: hostNameSchema,
  problems: z.array(problemSchema),
  guest: z.object({
    memoryBytes: z.number(),
    zeroBytes: z.number(),
    leftOutBytes: z.number(),
    contentBytes: z.number(),
    packedShare: z.number(),
    writtenBytesPerS: z.number(),
    writtenToBytes: z.number(),
    deltaBytesPerPage: z.number().nullable(),
  }),
  link: z.object({ bytesPerS: z.number().nullable(), roundTripMs: z.number().nullable() }),
  idle: z.object({ source: z.number(), destination: z.number().nullable() }),
  facts: moveFactsSchema,
  measuredMs: z.number(),
  predictions: z.array(predictionSchema),
  recommended: z.enum(strategyNames),
  why: z.string(),
  notes: z.array(z.string()),
}) satisfies z.ZodType<MovePlan>;

/** A migration of this host: its view, and its report once it has ended. */
export const migrationStateSchema = z.object({ view: migrationViewSchema, report: migrationReportSchema.nullable() });
export const historySchema = z.object({ reports: z.array(migrationReportSchema) });
export const cancelResultSchema = z.object({
  /** false: the migration had been committed (or had ended), it can no longer be aborted. */
  accepted: z.boolean(),
  view: migrationViewSchema,
});
export const resolveResultSchema = z.object({ id: z.string(), word: z.enum(resolveWords) });
export const healthSchema = z.object({ status: z.literal('ok'), name: z.string() });

export type MigrationState = z.infer<typeof migrationStateSchema>;
export type CancelResult = z.infer<typeof cancelResultSchema>;
export type ResolveWord = (typeof resolveWords)[number];
export type PlanRequest = z.infer<typeof planRequestSchema>;
export type StartMigrationRequest = z.infer<typeof startMigrationRequestSchema>;
export type AdoptVmRequest = z.infer<typeof adoptVmRequestSchema>;
export type StopVmRequest = z.infer<typeof stopVmRequestSchema>;
