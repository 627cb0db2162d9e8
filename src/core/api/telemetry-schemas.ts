/** Telemetry as it crosses the API of an agent: see schemas.ts. */
import { z } from 'zod';
import { dirtyClasses, type HostTelemetry, type PeerTelemetry, type VmTelemetry } from '../model/telemetry.ts';
import type { TelemetryHistory, TelemetryPoint } from '../model/telemetry-history.ts';
import { placementSchema, vmNameSchema, vmStates } from '../model/vm.ts';
import { TELEMETRY_MINUTES_DEFAULT, TELEMETRY_MINUTES_MAX } from './limits.ts';

const amount = z.number().min(0);
const known = amount.nullable();
const networkSchema = z.object({ receivedBytesPerS: known, sentBytesPerS: known });
const diskSchema = z.object({ readBytesPerS: known, writtenBytesPerS: known });

const vmTelemetrySchema = z.object({
  name: z.string(),
  state: z.enum(vmStates),
  vcpus: amount,
  guestCores: known,
  overheadCores: known,
  capCores: known,
  memory: z.object({ assignedBytes: amount, residentBytes: amount, usedBytes: known }),
  dirty: z.enum(dirtyClasses).nullable(),
  dirtyBytesPerS: known,
  network: networkSchema,
  disk: diskSchema,
  migration: z.string().nullable(),
  placement: placementSchema.optional(),
}) satisfies z.ZodType<VmTelemetry>;

const peerTelemetrySchema = z.object({
  name: z.string(),
  reachable: z.boolean(),
  roundTripMs: known,
  linkBytesPerS: known,
}) satisfies z.ZodType<PeerTelemetry>;

export const hostTelemetrySchema = z.object({
  host: z.string(),
  atMs: amount,
  ageMs: amount,
  cpu: z.object({ cores: amount, usedCores: known, guestCores: amount }),
  memory: z.object({ totalBytes: amount, availableBytes: amount }),
  network: networkSchema,
  disk: diskSchema,
  peers: z.array(peerTelemetrySchema),
  vms: z.array(vmTelemetrySchema),
}) satisfies z.ZodType<HostTelemetry>;

export const telemetryQuerySchema = z.strictObject({
  /** Without it: of the host. */
  vm: vmNameSchema.optional(),
  /** Up to an hour by seconds, beyond by minutes. */
  minutes: z.coerce.number().int().min(1).max(TELEMETRY_MINUTES_MAX).default(TELEMETRY_MINUTES_DEFAULT),
});

const telemetryPointSchema = z.object({
  atMs: amount,
  cores: known,
  otherCores: known,
  memoryBytes: known,
  dirtyBytesPerS: known,
  receivedBytesPerS: known,
  sentBytesPerS: known,
  readBytesPerS: known,
  writtenBytesPerS: known,
}) satisfies z.ZodType<TelemetryPoint>;

export const telemetryHistorySchema = z.object({
  vm: z.string().nullable(),
  spanMs: amount,
  points: z.array(telemetryPointSchema),
}) satisfies z.ZodType<TelemetryHistory>;
