/**
 * This host as its migrations see it: implements FerryHost of app/ferry/ports.ts with the ledger of reservations, the
 * checks and the machines.
 */
import { ApiError } from '../../core/api/errors.ts';
import type { MigrationReport } from '../../core/model/migration.ts';
import type { Problem } from '../../core/model/vm.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { FerryHost, LocalVm, Peer, ReservationRequest, TlsIdentity } from '../ferry/ports.ts';
import { checkAdmission } from './admission.ts';
import type { AdmissionParts } from './admission.ts';
import type { History } from './history.ts';
import type { Need, Reservations } from './reservations.ts';
import type { Vms } from './vms.ts';

/** A preflight this old says nothing about the disks of now. */
const ADMISSION_FRESH_MS = 5_000;

export type HostParts = {
  readonly vms: Vms;
  readonly reservations: Reservations;
  readonly admission: AdmissionParts;
  readonly history: History;
  readonly log: Logger;
};

export type HostPlace = {
  readonly name: string;
  readonly tls: TlsIdentity;
  readonly stateFolder: string;
  readonly laneAddress: string;
  readonly lanePorts: { readonly first: number; readonly last: number };
  readonly peers: ReadonlyMap<string, Peer>;
};

export class Host implements FerryHost {
  readonly name: string;
  readonly tls: TlsIdentity;
  readonly stateFolder: string;
  readonly laneAddress: string;
  readonly lanePorts: { readonly first: number; readonly last: number };
  readonly #peers: ReadonlyMap<string, Peer>;
  readonly #parts: HostParts;
  /** What the last preflight found good: its reservation follows at once and need not look at every disk again. */
  #admitted: { readonly migrationId: string; readonly atMs: number } | null = null;
  readonly #requests = new Map<string, ReservationRequest>();

  constructor(place: HostPlace, parts: HostParts) {
    this.name = place.name;
    this.tls = place.tls;
    this.stateFolder = place.stateFolder;
    this.laneAddress = place.laneAddress;
    this.lanePorts = place.lanePorts;
    this.#peers = place.peers;
    this.#parts = parts;
  }

  findPeer(name: string): Peer | null {
    return this.#peers.get(name) ?? null;
  }

  findVm(name: string): LocalVm | null {
    return this.#parts.vms.findLocal(name);
  }

  async vmHandedOver(name: string, destination: string): Promise<void> {
    await this.#parts.vms.handedOver(name, destination, new Date().toISOString());
  }

  async preflight(request: ReservationRequest): Promise<Problem[]> {
    const { spec, machine, pull } = request;
    const checked = await checkAdmission({ spec, machine, pull }, this.#parts.admission);
    if (checked.length === 0) this.#admitted = { migrationId: request.migrationId, atMs: performance.now() };
    return [...this.#ledgerProblems(request), ...checked];
  }

  async reserve(request: ReservationRequest): Promise<void> {
    const { spec, machine, pull } = request;
    const isFresh = this.#admitted !== null && performance.now() - this.#admitted.atMs < ADMISSION_FRESH_MS;
    const isAdmitted = isFresh && this.#admitted?.migrationId === request.migrationId;
    const checked = isAdmitted ? [] : await checkAdmission({ spec, machine, pull }, this.#parts.admission);
    // The ledger is asked and written in one turn, after everything that waits: two requests cannot both get the last byte.
    const problems = [...this.#ledgerProblems(request), ...checked];
    if (problems.length > 0) {
      throw new ApiError(
        'RESERVATION_REFUSED',
        `Host "${this.name}" cannot take VM "${request.spec.name}": ${problems.map(({ message }) => message).join(' ')}`,
        { vm: request.spec.name, host: this.name },
        { problems },
      );
    }
    this.#parts.reservations.hold(request.migrationId, needOf(request), request.leaseMs);
    this.#requests.set(request.migrationId, request);
  }

  async startIncoming(migrationId: string): Promise<LocalVm> {
    const request = this.#requests.get(migrationId);
    if (request === undefined || !this.#parts.reservations.pin(migrationId)) {
      throw new ApiError(
        'RESERVATION_REFUSED',
        `Host "${this.name}" holds no reservation for migration ${migrationId}; it may have run out.`,
        { migration: migrationId },
      );
    }
    try {
      return await this.#parts.vms.prepareIncoming(request);
    } catch (error) {
      this.#drop(migrationId);
      throw error;
    }
  }

  findIncoming(migrationId: string): LocalVm | null {
    return this.#parts.vms.incoming().get(migrationId) ?? null;
  }

  incomingMigrations(): readonly string[] {
    return [...this.#parts.vms.incoming().keys()];
  }

  async discard(migrationId: string): Promise<void> {
    await this.#parts.vms.discard(migrationId);
    this.#drop(migrationId);
  }

  async activate(migrationId: string): Promise<void> {
    const name = this.#parts.vms.activate(migrationId);
    this.#drop(migrationId);
    if (name !== null) this.#parts.log.info('vm.started', `VM "${name}" runs here now`, { vm: name, migrationId });
    await Promise.resolve();
  }

  arrivalLost(report: MigrationReport): void {
    const { history } = this.#parts;
    if (history.find(report.id) === null) history.add(report);
  }

  #drop(migrationId: string): void {
    this.#parts.reservations.release(migrationId);
    this.#requests.delete(migrationId);
  }

  #ledgerProblems(request: ReservationRequest): Problem[] {
    const { name } = request.spec;
    const problems = this.#parts.reservations.problems(needOf(request), request.migrationId);
    if (!this.#parts.vms.isTaken(name) || problems.some(({ code }) => code === 'NAME_TAKEN')) return problems;
    return [
      { code: 'NAME_TAKEN', message: `Host "${this.name}" has a VM "${name}" already; stop it or rename it.` },
      ...problems,
    ];
  }
}

function needOf({ spec }: ReservationRequest): Need {
  return { name: spec.name, memoryBytes: spec.memory, vcpus: spec.vcpus };
}
