/** `vmferry agent`: the daemon with everything real behind it, until SIGTERM or SIGINT. */
import type { Socket } from 'node:net';
import { createLogger } from '../../io/log/logger.ts';
import type { Logger } from '../../io/log/logger.ts';
import { loadIdentity } from '../../io/link/identity.ts';
import { createTlsServer } from '../../io/link/listen.ts';
import type { TlsListener } from '../../io/link/listen.ts';
import { DestinationService } from '../ferry/destination-service.ts';
import type { FerryHost, TlsIdentity } from '../ferry/ports.ts';
import { recoverMigrations } from '../ferry/source-recovery.ts';
import { preflightMigration, startMigration } from '../ferry/source-session.ts';
import { startAgent } from './agent.ts';
import type { PeerService } from './agent.ts';
import { loadConfig } from './config.ts';
import type { AgentConfig } from './config.ts';
import { AgentError } from './errors.ts';
import { packageVersion } from './package-version.ts';
import { QemuDriver } from './qemu-driver.ts';

/** Runs until it is told to stop. Throws AgentError, IdentityError and whatever keeps it from starting. */
export async function runAgent(configFile: string): Promise<void> {
  const config = loadConfig(configFile);
  const version = packageVersion();
  const { cert, key, ca } = config.tls;
  const identity = await loadIdentity({ certFile: cert, keyFile: key, caFile: ca });
  if (identity.name !== config.name) {
    const text = `The certificate ${cert} is that of host "${identity.name}", the configuration says name: ${config.name}.`;
    throw new AgentError('CONFIG_INVALID', text, { file: configFile });
  }
  const { file } = config.log;
  const log = createLogger({ level: config.log.level, destination: file === undefined ? 'stderr' : { file } });
  const stopped = stopSignal(log);
  const agent = await startAgent(config, {
    version,
    tls: { certPem: identity.certPem, keyPem: identity.keyPem, caPem: identity.caPem },
    log,
    qemu: new QemuDriver({ binary: config.qemu.binary, accelerator: config.accelerator, log }),
    ferry: { start: startMigration, preflight: preflightMigration, recover: recoverMigrations },
    peerService: (host) => new FerryService(config, host, log, version),
  });
  log.info('agent.started', `Agent of host "${config.name}" is ready`, {
    socket: config.socket,
    version,
    pid: process.pid,
    certificateUntil: identity.notAfter.toISOString(),
  });
  const signal = await stopped;
  log.info('agent.stopping', `Stopping on ${signal}; guests keep running`);
  await agent.stop();
  log.info('agent.stopped', 'Stopped');
  log.flush();
}

/** The port for other hosts: control connections to the ferry, the rest to HTTP. */
class FerryService implements PeerService {
  readonly #config: AgentConfig;
  readonly #tls: TlsIdentity;
  readonly #log: Logger;
  readonly #version: string;
  readonly #destination: DestinationService;
  #listener: TlsListener | null = null;

  constructor(config: AgentConfig, host: FerryHost, log: Logger, version: string) {
    this.#config = config;
    this.#tls = host.tls;
    this.#log = log;
    this.#version = version;
    this.#destination = new DestinationService(host, log);
  }

  async recover(): Promise<void> {
    await this.#destination.recover();
  }

  async listen(onHttp: (socket: Socket, peerName: string) => void): Promise<void> {
    const { address, port } = this.#config.listen;
    this.#listener = createTlsServer(this.#tls, {
      trustedNames: new Set(this.#config.trust),
      onControl: (connection, peerName) => this.#destination.accept(connection, peerName),
      onHttp,
      onRefused: (reason) => this.#log.warn('link.refused', reason.message, { code: reason.code, ...reason.fields }),
      hello: { software: `vmferry ${this.#version}` },
    });
    try {
      await this.#listener.listen(port, address);
    } catch (cause) {
      const text = `The agent of host "${this.#config.name}" cannot listen on ${address} port ${port}`;
      throw new AgentError('SOCKET_FAILED', text, { address, port }, { cause });
    }
    this.#log.info('link.listening', `Listening for other hosts on ${address} port ${port}`, { address, port });
  }

  async close(): Promise<void> {
    await this.#listener?.close();
  }
}

function stopSignal(log: Logger): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        log.debug('agent.stopping', `Got ${signal}`);
        resolve(signal);
      });
    }
  });
}
