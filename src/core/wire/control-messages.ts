/**
 * The messages of the control protocol: one connection per migration, opened by the source's agent.
 *
 *     source                                            destination
 *       hello            <------ both, first ------>      hello
 *       preflight        ------------------------->
 *                        <-------------------------       preflightResult
 *       reserve          ------------------------->
 *                        <-------------------------       reserved | refused
 *       prologue         ------------------------->
 *                        <-------------------------       prologueLoaded
 *       ... pre-copy and stop-and-copy on the lanes ...
 *       hotFiles         ------------------------->     only where asked for
 *       sidePart (n)     ------------------------->
 *       pullPages (n)    ------------------------->     only with a pull phase
 *       epilogue (n)     ------------------------->
 *                        <-------------------------       prepared
 *       commit           ------------------------->
 *                        <-------------------------       active | gone
 *       ... with a pull phase, from the epilogue on until `active` without `pulling` ...
 *                        <-------------------------       pull (n)
 *       pulled (n)       ------------------------->
 *       done             ------------------------->
 *                        <-------------------------       released
 *
 * At any time: `ping`/`pong`, `probe`/`probed` and `failed` both ways, `abort` -> `aborted` from the source. After a lost connection either
 * side opens a new one, says hello and goes on where it was: the source with `commit`, `abort` or `done`, a destination
 * in doubt with `query` -> `outcome`. Therefore these name their migration. Specification: docs/wire.md.
 *
 * Objects are strict: an unknown field is refused by name. `hello` and `failed` ignore unknown fields for ever, because
 * they must be understood across versions.
 */
import { z } from 'zod';
import type { GuestWhereabouts, PullReport } from '../model/migration.ts';
import { vmSpecSchema } from '../model/vm.ts';
import {
  BLOCKS_MAX,
  FEATURES_MAX,
  LANES_MAX,
  LEASE_MS_MAX,
  NAME_CHARS_MAX,
  PROBLEMS_MAX,
  PROCESSORS_MAX,
  TEXT_CHARS_MAX,
} from './limits.ts';

/** Version of everything after the hello: control messages and lane frames. */
export const PROTOCOL_VERSION = 2;
/** TLS application protocol of the control connection. It changes only if the hello itself has to change. */
export const CONTROL_ALPN = 'vmferry/1';
/** In the features of a hello: this side answers `load`. */
export const LOAD_FEATURE = 'load';
/** And this one takes `hotFiles`. */
export const WARM_UP_FEATURE = 'warm-up';

const text = z.string().max(TEXT_CHARS_MAX);
const name = z.string().min(1).max(NAME_CHARS_MAX);
const code = z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/, 'must be a code like RESERVATION_REFUSED');
const migrationId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be a migration id');
const port = z.int().min(1).max(65_535);
const durationMs = z.number().min(0).max(Number.MAX_SAFE_INTEGER);
const cpuMs = durationMs.nullable();
const problems = z.array(z.strictObject({ code, message: text })).max(PROBLEMS_MAX);

const pullReport = z.strictObject({
  ms: durationMs,
  faults: z.int().min(0),
  medianMs: durationMs.nullable(),
  p99Ms: durationMs.nullable(),
}) satisfies z.ZodType<PullReport>;

/** Twin of ReservationRequest in app/ferry/ports.ts. The spec passes through its schema again: sizes are bytes by now. */
export const reservationRequestSchema = z.strictObject({
  migrationId,
  sourceHost: name,
  spec: vmSpecSchema,
  qemuVersion: name,
  machine: name,
  leaseMs: z.int().min(1).max(LEASE_MS_MAX),
  /** The guest shall run while pages are still at the source: the destination needs userfaultfd. */
  pull: z.boolean(),
});

const helloSchema = z.object({
  type: z.literal('hello'),
  protocolVersion: z.int().min(1),
  features: z.array(name).max(FEATURES_MAX),
  /** For people: `vmferry 0.1.0`. */
  software: name,
  host: name,
});

const whereabouts = [
  'running at source',
  'running at destination',
  'paused at source',
  'in doubt',
  'lost',
] as const satisfies readonly GuestWhereabouts[];

const failedSchema = z.object({
  type: z.literal('failed'),
  code,
  message: text,
  /** Where the guest is, as far as the failing side knows; null when it does not know or nothing was touched yet. */
  guest: z.enum(whereabouts).nullable().catch(null),
});

export const controlMessageSchema = z.discriminatedUnion('type', [
  helloSchema,
  failedSchema,
  z.strictObject({ type: z.literal('preflight'), request: reservationRequestSchema }),
  z.strictObject({ type: z.literal('preflightResult'), problems }),
  /** How busy is the peer? For a prediction; only to peers with the feature `load`. */
  z.strictObject({ type: z.literal('load') }),
  z.strictObject({
    type: z.literal('loadResult'),
    processors: z.int().min(1).max(PROCESSORS_MAX),
    /** Of their time, the share that nobody uses. */
    idle: z.number().min(0).max(1),
  }),
  z.strictObject({
    type: z.literal('reserve'),
    request: reservationRequestSchema,
    lanes: z.int().min(1).max(LANES_MAX),
    /** RAM blocks in the order of QEMU's setup section, which fixes the global page numbers. */
    blocks: z.array(z.strictObject({ name, bytes: z.int().min(1) })).max(BLOCKS_MAX),
  }),
  z.strictObject({
    type: z.literal('reserved'),
    /** Secret of this migration: every lane shows it first. */
    token: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hex digits'),
    lanePorts: z.array(port).min(1).max(LANES_MAX),
    qemuVersion: name,
    /** RAM blocks that lanes may place; the others travel inside the epilogue. */
    directBlocks: z.array(name).max(BLOCKS_MAX),
    leaseMs: z.int().min(1).max(LEASE_MS_MAX),
  }),
  z.strictObject({ type: z.literal('refused'), problems: problems.min(1) }),
  z.strictObject({ type: z.literal('prologue') }),
  z.strictObject({ type: z.literal('prologueLoaded') }),
  /** Paths in the guest, a line each: to be read again there once it runs (app/ferry/warm-up.ts). Only to peers with that feature. */
  z.strictObject({ type: z.literal('hotFiles') }),
  /** A legal RAM section with pages that no lane carries; may come any number of times before the epilogue. */
  z.strictObject({ type: z.literal('sidePart') }),
  /** Pages that are left to be pulled (pull-codec.ts); everything else has been placed. The epilogue is then device state only. */
  z.strictObject({ type: z.literal('pullPages'), ramSectionId: z.int().min(1).max(0xffff_ffff), last: z.boolean() }),
  z.strictObject({ type: z.literal('epilogue'), last: z.boolean() }),
  /** Asks for pages (pull-codec.ts). `urgent`: the guest waits for them. */
  z.strictObject({ type: z.literal('pull'), id: z.int().min(0), urgent: z.boolean() }),
  /** The pages of that `pull`, all of them, in its order. */
  z.strictObject({ type: z.literal('pulled'), id: z.int().min(0), zstd: z.boolean() }),
  z.strictObject({ type: z.literal('prepared'), loadMs: durationMs }),
  z.strictObject({ type: z.literal('commit'), migrationId }),
  /**
   * `resumeMs`: from receiving `commit` to the guest running. `pulling`: pages are still at the source, which must keep them.
   * `pull`: how the pull phase went, when it has ended.
   */
  z.strictObject({
    type: z.literal('active'),
    resumeMs: durationMs,
    pulling: z.boolean(),
    pull: pullReport.nullable(),
  }),
  z.strictObject({ type: z.literal('done'), migrationId }),
  z.strictObject({ type: z.literal('released'), agentCpuMs: cpuMs, qemuCpuMs: cpuMs }),
  z.strictObject({ type: z.literal('abort'), migrationId, code, reason: text }),
  z.strictObject({ type: z.literal('aborted') }),
  /** The destination's durable word that it will never run the guest; `mayHaveRun`: but perhaps did. */
  z.strictObject({ type: z.literal('gone'), migrationId, mayHaveRun: z.boolean() }),
  z.strictObject({ type: z.literal('query'), migrationId }),
  z.strictObject({ type: z.literal('outcome'), outcome: z.enum(['committed', 'aborted', 'undecided', 'unknown']) }),
  z.strictObject({ type: z.literal('ping'), id: z.int().min(0) }),
  z.strictObject({ type: z.literal('pong'), id: z.int().min(0) }),
  /** Bytes that mean nothing, to measure the link by (io/link/link-probe.ts). Only to peers with the feature `probe`. */
  z.strictObject({ type: z.literal('probe'), last: z.boolean() }),
  /** How fast the last `bytes` of a probe arrived. */
  z.strictObject({ type: z.literal('probed'), bytes: z.int().min(0), ms: durationMs }),
]);

export type ControlMessage = z.infer<typeof controlMessageSchema>;
export type ControlMessageType = ControlMessage['type'];
/** One message of the union: `MessageOf<'reserved'>`. */
export type MessageOf<Type extends ControlMessageType> = Extract<ControlMessage, { type: Type }>;
export type Hello = MessageOf<'hello'>;
export type ReserveMessage = MessageOf<'reserve'>;

export const controlMessageTypes: ReadonlySet<string> = new Set(
  controlMessageSchema.options.map((option) => option.shape.type.value),
);

/** These carry bytes behind their JSON; every other message must not. */
export const attachmentTypes: ReadonlySet<string> = new Set<ControlMessageType>([
  'prologue',
  'hotFiles',
  'sidePart',
  'pullPages',
  'epilogue',
  'pull',
  'pulled',
  'probe',
]);
