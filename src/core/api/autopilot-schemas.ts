/** What crosses the HTTP API about the autopilot and draining; types are in core/model/autopilot.ts. */
import { z } from 'zod';
import { autopilotStates, drainLineStates, logKinds, moveOutcomes } from '../model/autopilot.ts';
import type { AutopilotLogEntry, AutopilotRound, AutopilotStatus, DrainView, LeaseAnswer } from '../model/autopilot.ts';
import { vmNameSchema } from '../model/vm.ts';
import { LEASE_MS_MAX, LOG_ROWS_DEFAULT, LOG_ROWS_MAX, PLAN_MS_DEFAULT, PLAN_MS_MAX, PLAN_MS_MIN } from './limits.ts';
import { hostNameSchema, migrationIdSchema } from './schemas.ts';

const count = z.int().min(0);
const millis = z.number().min(0);
const leaseIdSchema = z.string().regex(/^[A-Za-z0-9-]{8,64}$/, 'must be the id of a lease');

/** Names and ranges of the numbers are the policy's (core/policy/config.ts) and the loop's: it says what is wrong with one. */
export const autopilotSettingsSchema = z.record(z.string().max(64), z.union([z.number(), z.string().max(64)]));

/** `ttlMs` 0: gives the lease back, and only asks who has it. */
export const leaseRequestSchema = z.strictObject({ id: leaseIdSchema, ttlMs: z.int().min(0).max(LEASE_MS_MAX) });
export const leaseAnswerSchema = z.object({
  granted: z.boolean(),
  holder: z.string().nullable(),
  leftMs: millis,
  obeys: z.boolean(),
  draining: z.boolean(),
  capacityBytes: count,
}) satisfies z.ZodType<LeaseAnswer>;

export const moveOrderSchema = z.strictObject({ lease: leaseIdSchema, vm: vmNameSchema, destination: hostNameSchema });
export const planOrderSchema = z.strictObject({
  vm: vmNameSchema,
  destination: hostNameSchema,
  measureMs: z.int().min(PLAN_MS_MIN).max(PLAN_MS_MAX).default(PLAN_MS_DEFAULT),
});
export const moveParamsSchema = z.strictObject({ id: migrationIdSchema });

export const autopilotOnSchema = z.strictObject({
  dryRun: z.boolean().default(false),
  settings: autopilotSettingsSchema.default({}),
});
export const autopilotRoundRequestSchema = z.strictObject({ settings: autopilotSettingsSchema.default({}) });

const costSchema = z.object({ totalMs: millis, downtimeMs: millis, wireBytes: millis });
const loggedMoveSchema = z.object({
  vm: z.string(),
  from: z.string(),
  to: z.string(),
  predicted: costSchema,
  migration: z.string().nullable(),
  outcome: z.enum(moveOutcomes).nullable(),
  endedAtMs: z.number().nullable(),
  measured: costSchema.nullable(),
  error: z.string().nullable(),
});
export const autopilotLogEntrySchema = z.object({
  sequence: count,
  kind: z.enum(logKinds),
  dryRun: z.boolean(),
  host: z.string().nullable(),
  sentence: z.string(),
  details: z.array(z.string()),
  atMs: z.number(),
  times: count,
  lastAtMs: z.number(),
  move: loggedMoveSchema.nullable(),
}) satisfies z.ZodType<AutopilotLogEntry>;

/** `after`: only entries with a higher sequence, oldest first; without it the newest ones, oldest first. */
export const autopilotLogQuerySchema = z.strictObject({
  after: z.coerce.number().int().min(0).optional(),
  limit: z.coerce.number().int().min(1).max(LOG_ROWS_MAX).default(LOG_ROWS_DEFAULT),
});
export const autopilotLogSchema = z.object({ entries: z.array(autopilotLogEntrySchema) });

const share = z.number().nullable();
export const autopilotStatusSchema = z.object({
  host: z.string(),
  state: z.enum(autopilotStates),
  because: z.string(),
  settings: z.record(z.string(), z.union([z.number(), z.string()])),
  hosts: z.array(
    z.object({
      name: z.string(),
      lease: z.enum(['held', 'other', 'free', 'silent']),
      holder: z.string().nullable(),
      obeys: z.boolean(),
      draining: z.boolean(),
      cpuShare: share,
      memoryShare: share,
      vms: count.nullable(),
      figuresAgeMs: z.number().nullable(),
      problem: z.string().nullable(),
      sentence: z.string().nullable(),
    }),
  ),
  moves: z.array(loggedMoveSchema),
  rounds: count,
  lastRoundAtMs: z.number().nullable(),
}) satisfies z.ZodType<AutopilotStatus>;

export const autopilotRoundSchema = z.object({
  notes: z.array(z.string()),
  decisions: z.array(
    z.object({
      kind: z.enum(['stay', 'move']),
      host: z.string(),
      sentence: z.string(),
      details: z.array(z.string()),
    }),
  ),
}) satisfies z.ZodType<AutopilotRound>;

export const drainRequestSchema = z.strictObject({
  host: hostNameSchema,
  /** Plans, and changes nothing. */
  dryRun: z.boolean().default(false),
  settings: autopilotSettingsSchema.default({}),
});
export const drainHostSchema = z.strictObject({ host: hostNameSchema });
export const drainViewSchema = z.object({
  host: z.string(),
  draining: z.boolean(),
  sinceMs: z.number().nullable(),
  running: z.boolean(),
  empty: z.boolean(),
  plans: count,
  lines: z.array(
    z.object({
      vm: z.string(),
      state: z.enum(drainLineStates),
      to: z.string().nullable(),
      migration: z.string().nullable(),
      progress: z.number().min(0).max(1),
      measured: costSchema.nullable(),
      sentence: z.string(),
    }),
  ),
  problem: z.string().nullable(),
}) satisfies z.ZodType<DrainView>;
