/** What a source session is made of, and which of its states and effects belong together. */
import type { SourceEffect, SourceState } from '../../core/machine/source-states.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { Links } from './link-rate.ts';
import type { MigrationJournal } from './migration-journal.ts';
import type { MigrationRecord } from './migration-record.ts';
import type { FerryHost, MigrationRequest } from './ports.ts';
import type { PumpThread } from './pump-thread.ts';
import type { Reserved } from './reservation.ts';
import type { SpareThreads } from './spare-threads.ts';
import type { SourceFacts, SourceVm } from './source-vm.ts';

/** Effects that only a migration without decision has. */
export const dataPlane: ReadonlySet<SourceEffect['type']> = new Set([
  'reserve',
  'startFeed',
  'goSwitchover',
  'sendEpilogue',
  'releaseSourceQemu',
]);

/** The guest is stopped here, and stays so unless the migration is aborted. */
export const servingStates: ReadonlySet<SourceState['name']> = new Set([
  'transferring',
  'fencing',
  'committing',
  'inDoubt',
  'handedOver',
  'serving',
]);

export type SourceSessionParts = {
  readonly host: FerryHost;
  readonly journal: MigrationJournal;
  readonly log: Logger;
  readonly threads: SpareThreads;
  readonly links: Links;
  readonly request: MigrationRequest;
  readonly source: SourceVm;
  readonly record: MigrationRecord;
};

/** What the reservation came to, and the threads that were started meanwhile. */
export type Agreed = {
  readonly connection: ControlConnection;
  readonly reserved: Reserved;
  readonly facts: SourceFacts;
  readonly pump: PumpThread;
};
