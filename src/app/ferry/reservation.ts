/** The source's first words with the destination: connect, ask whether it could take the VM, reserve. */
import { hasPullPhase } from '../../core/model/migration.ts';
import type { Problem } from '../../core/model/vm.ts';
import type { HostProcessors } from '../../core/predict/processors.ts';
import { LOAD_FEATURE } from '../../core/wire/control-messages.ts';
import type { MessageOf } from '../../core/wire/control-messages.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { dialControl } from '../../io/link/dial.ts';
import { LinkError } from '../../io/link/errors.ts';
import { FerryError } from './errors.ts';
import type { FerryHost, MigrationRequest, Peer, ReservationRequest } from './ports.ts';
import type { SourceFacts } from './source-vm.ts';

const DIAL_TIMEOUT_MS = 10_000;
const PREFLIGHT_TIMEOUT_MS = 30_000;
const LOAD_TIMEOUT_MS = 2_000;
/** The destination starts a QEMU before it answers. */
const RESERVE_TIMEOUT_MS = 60_000;
const LEASE_MS = 60_000;

export type Reserved = MessageOf<'reserved'>;

/** Throws LinkError. */
export async function dialDestination(
  host: FerryHost,
  destination: Peer,
  signal?: AbortSignal,
): Promise<ControlConnection> {
  return await dialControl({
    host: destination.host,
    port: destination.port,
    peerName: destination.name,
    tls: host.tls,
    timeoutMs: DIAL_TIMEOUT_MS,
    signal,
  });
}

export function reservationRequest(host: FerryHost, request: MigrationRequest, facts: SourceFacts): ReservationRequest {
  return {
    migrationId: request.id,
    sourceHost: host.name,
    spec: request.vm.spec,
    qemuVersion: facts.qemuVersion,
    machine: facts.machine,
    leaseMs: LEASE_MS,
    pull: hasPullPhase(request.options),
  };
}

/** Everything that speaks against the move at the destination. Throws LinkError. */
export async function askDestination(connection: ControlConnection, request: ReservationRequest): Promise<Problem[]> {
  await connection.send({ type: 'preflight', request });
  const { message } = await connection.expect(['preflightResult'], { timeoutMs: PREFLIGHT_TIMEOUT_MS });
  return message.problems;
}

/** How busy the destination is; null when its agent does not say, or not in time. Throws AbortError. */
export async function askLoad(connection: ControlConnection, signal: AbortSignal): Promise<HostProcessors | null> {
  if (!connection.peerHello.features.includes(LOAD_FEATURE)) return null;
  try {
    await connection.send({ type: 'load' });
    const { message } = await connection.expect(['loadResult'], { timeoutMs: LOAD_TIMEOUT_MS, signal });
    return { processors: message.processors, idle: message.idle };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof LinkError) return null;
    throw error;
  }
}

export function reserveMessage(host: FerryHost, request: MigrationRequest, facts: SourceFacts): MessageOf<'reserve'> {
  return {
    type: 'reserve',
    request: reservationRequest(host, request, facts),
    lanes: request.options.lanes,
    blocks: facts.ram.blocks.map(({ name, usedBytes }) => ({ name, bytes: usedBytes })),
  };
}

/** Throws FerryError FERRY_REFUSED, LinkError. */
export async function reserveAtDestination(
  connection: ControlConnection,
  reserve: MessageOf<'reserve'>,
  signal: AbortSignal,
): Promise<Reserved> {
  await connection.send(reserve);
  const { message } = await connection.expect(['reserved', 'refused'], { timeoutMs: RESERVE_TIMEOUT_MS, signal });
  if (message.type === 'reserved') return message;
  const reasons = message.problems.map((problem) => problem.message);
  throw new FerryError('FERRY_REFUSED', `Host "${connection.peerName}" refused: ${reasons.join(' ')}`, {
    vm: reserve.request.spec.name,
    problems: reasons,
  });
}
