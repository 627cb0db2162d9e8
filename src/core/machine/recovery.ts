/**
 * What an agent does after a restart: from the records of one migration and from what QEMU is seen to do, the state to go
 * on in and the effects to run. The records must come from a journal that was opened (hence rewritten and synced): what
 * they say is on disk. No query may be answered and no COMMIT believed before this ran for every open migration.
 *
 * A migration without decision does not survive its agent: the data plane died with it, so it is aborted. That is safe,
 * because without COMMIT record the destination was never told, and from here on never will be.
 */
import { MachineError } from './errors.ts';
import { standingDestinationEffects } from './destination-machine.ts';
import { answerOf, standingSourceEffects } from './source-machine.ts';
import type {
  DestinationEffect,
  DestinationState,
  DestinationStep,
  ObservedDestination,
} from './destination-states.ts';
import type { DestinationRecord, JournalRecord, SourceRecord } from './records.ts';
import type { Cause, ObservedSource, QueryAnswer, SourceState, SourceStep } from './source-states.ts';

const restarted: Cause = { code: 'FERRY_SHUTDOWN', reason: 'The agent restarted before the migration was decided' };

/** `records`: those of one migration at its source, oldest first, at least one. */
export function recoverSource(
  records: readonly SourceRecord[],
  observed: { readonly qemu: ObservedSource },
): SourceStep {
  const { qemu } = observed;
  const aborted = records.findLast((record) => record.type === 'aborted');
  if (aborted !== undefined) {
    return { state: { name: 'aborted', cause: aborted.data, guest: whereabouts(qemu) }, effects: [] };
  }
  if (has(records, 'done')) return { state: { name: 'done', pagesLost: false }, effects: [] };
  if (has(records, 'commit') && !has(records, 'returned')) {
    const state: SourceState = { name: 'handedOver' };
    const effects = standingSourceEffects(state);
    if (qemu !== 'running') return { state, effects };
    // Only a hand at QEMU's monitor can have started it.
    return { state, effects: [{ type: 'haltSource' }, { type: 'report', notice: 'ownershipConflict' }, ...effects] };
  }
  if (records.length === 0) throw new MachineError('MACHINE_RECORDS', 'There is no record of this migration');
  const state: SourceState = { name: 'aborting', cause: restarted };
  return { state, effects: standingSourceEffects(state) };
}

/** `records`: those of one migration at its destination, oldest first, at least one. */
export function recoverDestination(
  records: readonly DestinationRecord[],
  observed: { readonly qemu: ObservedDestination },
): DestinationStep {
  if (records.length === 0) throw new MachineError('MACHINE_RECORDS', 'There is no record of this migration');
  const state = recoveredDestination(records, observed.qemu);
  const effects: DestinationEffect[] = [...standingDestinationEffects(state)];
  if (state.name === 'losing') {
    effects.push({ type: 'journal', entry: { type: 'lost', data: { mayHaveRun: state.mayHaveRun } } });
  }
  if (state.name === 'activating') effects.push({ type: 'journal', entry: { type: 'active', data: {} } });
  // Whether the host was told before its agent ended is not written anywhere; telling it again does no harm.
  if (state.name === 'activating' || state.name === 'pulling' || state.name === 'active')
    effects.push({ type: 'report', notice: 'runningHere' });
  if (state.name === 'inDoubt') {
    effects.push({ type: 'report', notice: observed.qemu === 'running' ? 'ownershipConflict' : 'inDoubt' });
  }
  return { state, effects };
}

function recoveredDestination(records: readonly DestinationRecord[], qemu: ObservedDestination): DestinationState {
  const discarded = records.findLast((record) => record.type === 'discarded');
  const lost = records.findLast((record) => record.type === 'lost');
  if (has(records, 'released')) return { name: 'released' };
  if (discarded !== undefined) return { name: 'discarded', cause: discarded.data };
  if (lost !== undefined) return { name: 'lost', mayHaveRun: lost.data.mayHaveRun };
  const prepared = records.find((record) => record.type === 'prepared');
  const pulling = prepared?.data.pull === true && !has(records, 'pulled');
  // A guest that died while it pulled is lost: whatever the source still holds is of no use.
  if (has(records, 'active') && pulling)
    return qemu === 'gone' ? { name: 'losing', mayHaveRun: true } : { name: 'pulling' };
  if (has(records, 'active')) return { name: 'active' };
  if (has(records, 'committed')) {
    if (qemu === 'running') return { name: 'activating', pulling };
    // Gone: whether `cont` had been given is not written anywhere.
    return qemu === 'gone' ? { name: 'losing', mayHaveRun: true } : { name: 'committed' };
  }
  // Without COMMITTED it never ran here, so that a QEMU that is gone took nothing with it.
  if (has(records, 'prepared') && qemu !== 'gone') return { name: 'inDoubt' };
  return { name: 'discarding', cause: restarted };
}

/** One migration of one side, as the journal tells it. */
export type History =
  | { readonly role: 'source'; readonly migrationId: string; readonly records: readonly SourceRecord[] }
  | { readonly role: 'destination'; readonly migrationId: string; readonly records: readonly DestinationRecord[] };

/**
 * The journal sorted by migration, in the order of their first records. Throws MachineError MACHINE_RECORDS if a migration
 * has records of both sides, or if one VM is in two migrations that have not ended: resuming the older one could start a
 * QEMU that the newer one has given away. Nobody may begin a migration of a VM before its last one has ended.
 */
export function historiesOf(records: readonly JournalRecord[]): History[] {
  const sources = new Map<string, SourceRecord[]>();
  const destinations = new Map<string, DestinationRecord[]>();
  for (const record of records) {
    if (isSource(record)) (sources.get(record.migrationId) ?? put(sources, record.migrationId)).push(record);
    else (destinations.get(record.migrationId) ?? put(destinations, record.migrationId)).push(record);
  }
  const histories: History[] = [];
  for (const [migrationId, own] of sources) histories.push({ role: 'source', migrationId, records: own });
  for (const [migrationId, own] of destinations) histories.push({ role: 'destination', migrationId, records: own });
  checkHistories(histories);
  return histories;
}

/** The migrations that may be dropped from the journal: neither side will ever ask for them again. */
export function endedMigrations(records: readonly JournalRecord[]): Set<string> {
  return new Set(
    historiesOf(records)
      .filter(hasEnded)
      .map((history) => history.migrationId),
  );
}

/** Answer to a query at the source when no machine is in memory: from the journal alone. */
export function answerFromRecords(records: readonly SourceRecord[]): QueryAnswer {
  return records.length === 0 ? 'unknown' : answerOf(recoverSource(records, { qemu: 'postmigrate' }).state);
}

function hasEnded(history: History): boolean {
  if (history.role === 'source') return has(history.records, 'done') || has(history.records, 'aborted');
  return has(history.records, 'released') || has(history.records, 'discarded');
}

function checkHistories(histories: readonly History[]): void {
  const roles = new Map<string, string>();
  const open = new Map<string, string>();
  for (const history of histories) {
    const { migrationId } = history;
    if (roles.has(migrationId))
      throw new MachineError('MACHINE_RECORDS', `Migration ${migrationId} has two roles on this host`);
    roles.set(migrationId, history.role);
    if (hasEnded(history)) continue;
    const first = history.records[0];
    const vm = first?.type === 'begin' || first?.type === 'reserved' ? first.data.vm : undefined;
    if (vm === undefined)
      throw new MachineError('MACHINE_RECORDS', `Migration ${migrationId} has no beginning in the journal`);
    const other = open.get(vm);
    if (other !== undefined) {
      throw new MachineError('MACHINE_RECORDS', `Migrations ${other} and ${migrationId} of ${vm} are both open`, {
        vm,
      });
    }
    open.set(vm, migrationId);
  }
}

const sourceTypes: ReadonlySet<string> = new Set(['begin', 'commit', 'aborted', 'done', 'returned']);

function isSource(record: JournalRecord): record is SourceRecord {
  return sourceTypes.has(record.type);
}

function put<R>(map: Map<string, R[]>, key: string): R[] {
  const list: R[] = [];
  map.set(key, list);
  return list;
}

function has(records: readonly JournalRecord[], type: JournalRecord['type']): boolean {
  return records.some((record) => record.type === type);
}

function whereabouts(qemu: ObservedSource): 'running at source' | 'paused at source' | 'lost' {
  return qemu === 'running' ? 'running at source' : qemu === 'gone' ? 'lost' : 'paused at source';
}
