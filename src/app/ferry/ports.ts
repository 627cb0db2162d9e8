/**
 * What one migration needs of the host it runs on, and what it gives back. Declared here, in the consumer; the agent
 * implements them structurally. The ferry knows nothing of HTTP, of configuration files or of other migrations.
 */
import type { MigrationOptions, MigrationReport, MigrationView } from '../../core/model/migration.ts';
import type { PredictedMove } from '../../core/model/prediction.ts';
import type { Problem, VmSpec } from '../../core/model/vm.ts';

/** A QEMU process on this host that the ferry may talk to. */
export type LocalVm = {
  readonly name: string;
  readonly spec: VmSpec;
  readonly pid: number;
  /** With the pid it names the process for ever: field 22 of /proc/PID/stat. */
  readonly startTicks: number;
  readonly qmpPath: string;
  readonly qgaPath: string | null;
  readonly runFolder: string;
};

export type TlsIdentity = { readonly certPem: string; readonly keyPem: string; readonly caPem: string };

/** Another host, by the name in its certificate. */
export type Peer = { readonly name: string; readonly host: string; readonly port: number };

/** What a reservation asks of the destination, checked as a whole: every problem is reported, not only the first. */
export type ReservationRequest = {
  readonly migrationId: string;
  readonly sourceHost: string;
  readonly spec: VmSpec;
  readonly qemuVersion: string;
  /** Concrete, versioned machine type of the running QEMU. */
  readonly machine: string;
  readonly leaseMs: number;
  /** The guest shall run while pages are still at the source: needs userfaultfd. */
  readonly pull: boolean;
};

/** This host, as its migrations see it. */
export type FerryHost = {
  readonly name: string;
  readonly tls: TlsIdentity;
  readonly stateFolder: string;
  /** Address that lane listeners bind to, and the ports they may use (inclusive). */
  readonly laneAddress: string;
  readonly lanePorts: { readonly first: number; readonly last: number };
  /** Where another host's agent listens, by the name in its certificate. */
  findPeer(name: string): Peer | null;

  // as a source
  findVm(name: string): LocalVm | null;
  /** The guest runs elsewhere and its QEMU has been quit: forget it. Idempotent. */
  vmHandedOver(name: string, destination: string): Promise<void>;

  // as a destination
  /** Everything that speaks against taking this VM, without changing anything. */
  preflight(request: ReservationRequest): Promise<Problem[]>;
  /** Holds name, memory and vCPUs under a lease. Throws an AppError RESERVATION_REFUSED whose `problems` say why. */
  reserve(request: ReservationRequest): Promise<void>;
  /** Starts QEMU with `-incoming defer -S` for a reservation. */
  startIncoming(migrationId: string): Promise<LocalVm>;
  /** The incoming machine of a migration, also after a restart of the agent; null when there is none. */
  findIncoming(migrationId: string): LocalVm | null;
  /** Migrations of which an incoming machine is here. */
  incomingMigrations(): readonly string[];
  /** Ends the incoming QEMU, if any, and gives the reservation back. Idempotent. */
  discard(migrationId: string): Promise<void>;
  /** The guest runs here from now on: the reservation becomes a VM of this host. Idempotent. */
  activate(migrationId: string): Promise<void>;
  /** The guest came here without all of its pages, and the others were lost: keeps the report, unless it has one already. */
  arrivalLost(report: MigrationReport): void;
};

export type MigrationRequest = {
  readonly id: string;
  readonly vm: LocalVm;
  readonly destination: Peer;
  readonly options: MigrationOptions;
  /** What was expected of it, where that was asked for. */
  readonly predicted: PredictedMove | null;
};

/** A migration in progress at the source. */
export type RunningMigration = {
  readonly id: string;
  readonly view: () => MigrationView;
  /** Asks for an abort; returns false when the commit has been reached and it is too late. */
  readonly cancel: (reason: string) => boolean;
  /** Always fulfilled: a migration that failed is a report with outcome "failed" or "aborted". */
  readonly done: Promise<MigrationReport>;
};
