/**
 * The daemon of one host, put together and taken apart.
 *
 * Start: lock the state folder, find the QEMUs of an earlier run, take up the migrations that the journal says are open
 * (they hold their machines; settling them may need the other host and goes on in the background), listen for peers and
 * on the unix socket. Stop: abort what is not committed, finish what is, close. QEMUs keep running.
 */
import { lstatSync, mkdirSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import type { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MigrationReport } from '../../core/model/migration.ts';
import type { Logger } from '../../io/log/logger.ts';
import { cpuCount, hostMemory } from '../../io/hoststat/host-stat.ts';
import type { FerryHost, Peer, TlsIdentity } from '../ferry/ports.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { createAutopilot } from './agent-autopilot.ts';
import { startTelemetry } from './agent-telemetry.ts';
import type { AgentConfig } from './config.ts';
import { AgentError } from './errors.ts';
import { Host } from './ferry-host.ts';
import { createHandlers } from './handlers.ts';
import { History } from './history.ts';
import { createHttpApi } from './http-server.ts';
import type { Handlers, HttpApi } from './http-server.ts';
import { SHUTDOWN_MS_MAX, VCPUS_PER_CPU, WATCH_INTERVAL_MS } from './limits.ts';
import { Migrations } from './migrations.ts';
import type { FerryPort } from './migrations.ts';
import type { QemuPort } from './qemu-port.ts';
import { Reservations } from './reservations.ts';
import { lockStateFolder } from './state-lock.ts';
import { VmFolders } from './vm-record.ts';
import { Vms } from './vms.ts';

/** The destination side of app/ferry and the port for peers: bound to real ones in run-agent.ts. */
export type PeerService = {
  /** Opens the journal and takes up what an earlier run left undone; returns before that is settled. */
  recover(): Promise<void>;
  /** Listens for other hosts; `onHttp` gets the connections that speak HTTP. */
  listen(onHttp: (socket: Socket, peerName: string) => void): Promise<void>;
  close(): Promise<void>;
};

export type AgentParts = {
  readonly version: string;
  readonly tls: TlsIdentity;
  readonly log: Logger;
  readonly qemu: QemuPort;
  readonly ferry: FerryPort;
  readonly peerService: (host: FerryHost) => PeerService;
};

export type RunningAgent = {
  /** Idempotent; returns when everything is closed. */
  readonly stop: () => Promise<void>;
};

/** Throws AgentError, or what the parts throw; nothing is left open then. */
export async function startAgent(config: AgentConfig, parts: AgentParts): Promise<RunningAgent> {
  const open: (() => unknown)[] = [lockStateFolder(config.stateFolder)];
  const closeAll = async (): Promise<void> => {
    for (const close of open.splice(0).reverse()) await close();
  };
  try {
    const history = new History(join(config.stateFolder, 'history.db'));
    open.push(() => history.close());
    return await assemble(config, parts, { history, open, closeAll });
  } catch (error) {
    await closeAll();
    throw error;
  }
}

type Frame = {
  readonly history: History;
  /** What has to be closed, in the order of opening. */
  readonly open: (() => unknown)[];
  readonly closeAll: () => Promise<void>;
};

async function assemble(config: AgentConfig, parts: AgentParts, frame: Frame): Promise<RunningAgent> {
  const { log, qemu } = parts;
  const { history, open } = frame;
  const vms = new Vms({ folders: new VmFolders(config.stateFolder), qemu, history, log });
  vms.restore();
  const reservations = new Reservations(
    capacityOf(config),
    () => vms.used(),
    () => performance.now(),
  );
  const admission = { host: config.name, qemu, qemuImg: config.qemu.img, accelerator: config.accelerator };
  const host = hostOf(config, parts.tls, { vms, reservations, admission, history, log });
  const peers = Object.keys(config.peers);
  let telemetry: Telemetry | null = null;
  const onEnded = (report: MigrationReport): void => telemetry?.migrationEnded(report);
  const migrations = new Migrations({ host, peers, vms, history, ferry: parts.ferry, log, onEnded });
  const service = parts.peerService(host);
  open.push(() => atMost(SHUTDOWN_MS_MAX, service.close()));
  await service.recover();
  migrations.takeUp();
  const linkOf = (peer: string): number | null => parts.ferry.linkBytesPerS(peer);
  const started = await startTelemetry(config, { ...parts, vms, migrations, linkOf });
  open.push(() => started.close());
  telemetry = started.telemetry;
  const autopilot = createAutopilot(config, {
    ...{ tls: parts.tls, vms, migrations, reservations, log },
    handlers: () => handlers,
  });
  open.push(() => atMost(SHUTDOWN_MS_MAX, autopilot.close()));
  const handlers: Handlers = createHandlers({
    host: config.name,
    version: parts.version,
    peers,
    vms,
    migrations,
    reservations,
    admission,
    history,
    telemetry,
    autopilot,
  });
  await listen(config, { handlers, service, open, log });
  autopilot.restore();
  // Booting a test guest takes seconds: found out now, not while a migration waits for it.
  if (config.accelerator === 'auto') void qemu.kvmWorks().catch(() => undefined);
  const watch = setInterval(() => vms.watch(), WATCH_INTERVAL_MS);
  open.push(() => clearInterval(watch));
  let stopped: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    await atMost(SHUTDOWN_MS_MAX, Promise.all([autopilot.halt(), migrations.shutdown()]));
    await frame.closeAll();
  };
  return { stop: async () => await (stopped ??= stop()) };
}

type Listening = {
  readonly handlers: Handlers;
  readonly service: PeerService;
  readonly open: (() => unknown)[];
  readonly log: Logger;
};

async function listen(config: AgentConfig, { handlers, service, open, log }: Listening): Promise<void> {
  const opened = async (audience: 'local' | 'peers'): Promise<HttpApi> => {
    const api = await createHttpApi(audience, handlers, log);
    open.push(() => api.close());
    return api;
  };
  const forPeers = await opened('peers');
  await service.listen((socket, peerName) => forPeers.serve(socket, peerName));
  const local = await opened('local');
  await makeWayFor(config.socket);
  try {
    await local.listenUnix(config.socket);
  } catch (cause) {
    const text = `The agent of host "${config.name}" cannot listen on ${config.socket}`;
    throw new AgentError('SOCKET_FAILED', text, { socket: config.socket }, { cause });
  }
}

function hostOf(config: AgentConfig, tls: TlsIdentity, parts: ConstructorParameters<typeof Host>[1]): Host {
  const peers = new Map<string, Peer>(Object.entries(config.peers).map(([name, peer]) => [name, { name, ...peer }]));
  const { name, stateFolder, lanes } = config;
  return new Host({ name, tls, stateFolder, laneAddress: lanes.address, lanePorts: lanes.ports, peers }, parts);
}

function capacityOf({ capacity }: AgentConfig): { memoryBytes: number; vcpus: number } {
  return {
    memoryBytes: capacity.memory ?? hostMemory().totalBytes,
    vcpus: capacity.vcpus ?? cpuCount() * VCPUS_PER_CPU,
  };
}

/** Waits for the work, but no longer than this: a migration in doubt may wait for the other host for ever. */
async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  await Promise.race([work, sleep(ms, undefined, { ref: false })]);
}

/** Removes the socket of an agent that died. Throws AgentError SOCKET_IN_USE when someone answers on it. */
async function makeWayFor(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new AgentError('SOCKET_IN_USE', `${path} exists and is no socket; give this agent another one.`, {
      socket: path,
    });
  }
  const socket = createConnection(path);
  const answered = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  });
  socket.destroy();
  if (answered) {
    throw new AgentError('SOCKET_IN_USE', `Another program serves ${path}; give this agent a socket of its own.`, {
      socket: path,
    });
  }
  rmSync(path, { force: true });
}
