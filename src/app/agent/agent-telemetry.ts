/** Telemetry of this agent's host: what it samples, and whom it asks. */
import { join } from 'node:path';
import type { Logger } from '../../io/log/logger.ts';
import { PeerClients } from '../client/peer-clients.ts';
import type { TlsIdentity } from '../ferry/ports.ts';
import { Telemetry } from '../telemetry/telemetry.ts';
import type { AgentConfig } from './config.ts';
import { AgentError } from './errors.ts';
import type { Migrations } from './migrations.ts';
import type { Vms } from './vms.ts';

export type AgentTelemetryParts = {
  readonly version: string;
  readonly tls: TlsIdentity;
  readonly vms: Vms;
  readonly migrations: Migrations;
  readonly linkOf: (peer: string) => number | null;
  readonly log: Logger;
};

/** `close` ends all that it opened. Throws AgentError SOCKET_FAILED when the address for metrics cannot be had. */
export async function startTelemetry(
  config: AgentConfig,
  { version, tls, vms, migrations, linkOf, log }: AgentTelemetryParts,
): Promise<{ readonly telemetry: Telemetry; readonly clients: PeerClients; readonly close: () => Promise<void> }> {
  const peers = Object.entries(config.peers).map(([name, place]) => ({ name, ...place }));
  const clients = new PeerClients(tls, peers);
  const metrics = config.metrics ?? null;
  try {
    const telemetry = await Telemetry.start({
      ...{ host: config.name, version, log, linkOf, clients, metrics },
      cores: config.capacity.cores ?? null,
      memoryBytes: config.capacity.memory ?? null,
      vms: () => vms.snapshot(),
      refreshState: async (name) => void (await vms.show(name)),
      migrationsInProgress: () => migrations.list().length,
      storeFile: join(config.stateFolder, 'telemetry.db'),
    });
    const close = async (): Promise<void> => {
      await telemetry.close();
      await clients.close();
    };
    return { telemetry, clients, close };
  } catch (cause) {
    await clients.close();
    const where = metrics === null ? '' : ` (metrics on ${metrics.address} port ${metrics.port})`;
    throw new AgentError('SOCKET_FAILED', `Telemetry of host "${config.name}" cannot start${where}`, {}, { cause });
  }
}
