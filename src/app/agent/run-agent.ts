/** `vmferry agent`: the daemon with everything real behind it, until SIGTERM or SIGINT. */
import type { Socket } from 'node:net';
import { assert } from '../../core/base/assert.ts';
import { createLogger } from '../../io/log/logger.ts';
import type { Logger } from '../../io/log/logger.ts';
import { loadIdentity } from '../../io/link/identity.ts';
import { createTlsServer } from '../../io/link/listen.ts';
import type { TlsListener } from '../../io/link/listen.ts';
import { Ferry } from '../ferry/ferry.ts';
import type { FerryHost } from '../ferry/ports.ts';
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
  let service: FerryService | null = null;
  const agent = await startAgent(config, {
    version,
    tls: { certPem: identity.certPem, keyPem: identity.keyPem, caPem: identity.caPem },
    log,
    qemu: new QemuDriver({ binary: config.qemu.binary, accelerator: config.accelerator, log }),
    ferry: {
      start: (_host, request) => ferryOf(service).start(request),
      preflight: async (_host, request) => await ferryOf(service).preflight(request),
      plan: async (_host, request, wish, signal) => await ferryOf(service).plan(request, wish, signal),
      recovered: () => ferryOf(service).recovered,
      arrivals: () => ferryOf(service).arrivals(),
      linkBytesPerS: (peer) => ferryOf(service).linkBytesPerS(peer),
      resolve: (migrationId, word) => ferryOf(service).resolve(migrationId, word),
    },
    peerService: (host) => (service = new FerryService(config, host, log, version)),
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

/** The ferry of this host and the port for other hosts: control connections go to the ferry, the rest is HTTP. */
class FerryService implements PeerService {
  readonly #config: AgentConfig;
  readonly #host: FerryHost;
  readonly #log: Logger;
  readonly #version: string;
  #ferry: Ferry | null = null;
  #listener: TlsListener | null = null;

  constructor(config: AgentConfig, host: FerryHost, log: Logger, version: string) {
    this.#config = config;
    this.#host = host;
    this.#log = log;
    this.#version = version;
  }

  get ferry(): Ferry {
    assert(this.#ferry !== null, 'the journal is opened before anything migrates');
    return this.#ferry;
  }

  async recover(): Promise<void> {
    this.#ferry = await Ferry.open(this.#host, this.#log);
    await this.#ferry.recover();
  }

  async listen(onHttp: (socket: Socket, peerName: string) => void): Promise<void> {
    const { address, port } = this.#config.listen;
    this.#listener = createTlsServer(this.#host.tls, {
      trustedNames: new Set(this.#config.trust),
      onControl: (connection) => this.ferry.accept(connection),
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
    await this.#ferry?.close('The agent was stopped');
    await this.#listener?.close();
  }
}

function ferryOf(service: FerryService | null): Ferry {
  assert(service !== null, 'the port for peers is made before anything migrates');
  return service.ferry;
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
