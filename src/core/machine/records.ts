/**
 * What the journal of a host says about its migrations.
 *
 * The machines speak of *entries* (what is to be remembered); the driver adds the migration's id and the time and has a
 * *record*. One host has one journal; its records are in the order in which they became durable. docs/machine.md has the
 * table of who writes what when.
 *
 *     source       begin ─▶ commit ─▶ done                 begin ─▶ aborted        begin ─▶ commit ─▶ returned ─▶ aborted
 *     destination  reserved ─▶ prepared ─▶ committed ─▶ active ─▶ [pulled] ─▶ released         ... ─▶ discarded      ... ─▶ lost ─▶ released
 */
import { z } from 'zod';

const text = z.string().max(2000);
const name = z.string().min(1).max(255);
/** Which QEMU process it was: pid and start time, never the VM's name, which another process may carry later. */
const qemu = z.string().min(1).max(255);
const nothing = z.strictObject({});

const envelope = {
  migrationId: z.string().min(1).max(128),
  /** ISO 8601, for people; no decision depends on it. */ at: text,
};

const sourceRecords = [
  z.strictObject({ ...envelope, type: z.literal('begin'), data: z.strictObject({ vm: name, peer: name, qemu }) }),
  z.strictObject({ ...envelope, type: z.literal('commit'), data: nothing }),
  z.strictObject({ ...envelope, type: z.literal('aborted'), data: z.strictObject({ code: text, reason: text }) }),
  z.strictObject({ ...envelope, type: z.literal('done'), data: nothing }),
  z.strictObject({ ...envelope, type: z.literal('returned'), data: nothing }),
] as const;

const destinationRecords = [
  z.strictObject({ ...envelope, type: z.literal('reserved'), data: z.strictObject({ vm: name, peer: name }) }),
  z.strictObject({
    ...envelope,
    type: z.literal('prepared'),
    data: z.strictObject({ qemu, pull: z.boolean().default(false) }),
  }),
  z.strictObject({
    ...envelope,
    type: z.literal('committed'),
    data: z.strictObject({ by: z.enum(['source', 'person']) }),
  }),
  z.strictObject({ ...envelope, type: z.literal('active'), data: nothing }),
  z.strictObject({ ...envelope, type: z.literal('pulled'), data: nothing }),
  z.strictObject({ ...envelope, type: z.literal('released'), data: nothing }),
  z.strictObject({ ...envelope, type: z.literal('discarded'), data: z.strictObject({ code: text, reason: text }) }),
  z.strictObject({ ...envelope, type: z.literal('lost'), data: z.strictObject({ mayHaveRun: z.boolean() }) }),
] as const;

const sourceRecordSchema = z.discriminatedUnion('type', sourceRecords);
const destinationRecordSchema = z.discriminatedUnion('type', destinationRecords);
export const journalRecordSchema = z.discriminatedUnion('type', [...sourceRecords, ...destinationRecords]);

export type SourceRecord = z.infer<typeof sourceRecordSchema>;
export type DestinationRecord = z.infer<typeof destinationRecordSchema>;
export type JournalRecord = z.infer<typeof journalRecordSchema>;

/** A record without its envelope: what an effect asks to be remembered. */
export type Entry<R extends JournalRecord> = R extends JournalRecord
  ? { readonly type: R['type']; readonly data: R['data'] }
  : never;
export type SourceEntry = Entry<SourceRecord>;
export type DestinationEntry = Entry<DestinationRecord>;
