/** Telemetry of one host, put together: the sampler, and what its samples go to. */
import type { MigrationReport } from '../../core/model/migration.ts';
import type { HostTelemetry } from '../../core/model/telemetry.ts';
import type { TelemetryHistory } from '../../core/model/telemetry-history.ts';
import type { PeerClients } from '../client/peer-clients.ts';
import { Metrics } from './metrics.ts';
import { MetricsServer, type MetricsPage } from './metrics-server.ts';
import { PeerWatch } from './peer-watch.ts';
import { Sampler, type SamplerOptions } from './sampler.ts';
import { TelemetryStore } from './store.ts';

export type TelemetryOptions = Omit<SamplerOptions, 'peers'> & {
  readonly version: string;
  readonly storeFile: string;
  readonly clients: PeerClients;
  /** The rate of the link to a peer as last measured, bytes per second. */
  readonly linkOf: (peer: string) => number | null;
  readonly migrationsInProgress: () => number;
  /** Where metrics are served over TCP; null: nowhere. */
  readonly metrics: { readonly address: string; readonly port: number } | null;
};

export class Telemetry {
  readonly #sampler: Sampler;
  readonly #store: TelemetryStore;
  readonly #peers: PeerWatch;
  readonly #metrics: Metrics;
  readonly #server: MetricsServer | null;

  private constructor(parts: {
    readonly sampler: Sampler;
    readonly store: TelemetryStore;
    readonly peers: PeerWatch;
    readonly metrics: Metrics;
    readonly server: MetricsServer | null;
  }) {
    this.#sampler = parts.sampler;
    this.#store = parts.store;
    this.#peers = parts.peers;
    this.#metrics = parts.metrics;
    this.#server = parts.server;
  }

  /** Throws what listening and SQLite throw; nothing is left open then. */
  static async start(options: TelemetryOptions): Promise<Telemetry> {
    const metrics = new Metrics(options.version, options.migrationsInProgress);
    const server = options.metrics === null ? null : new MetricsServer(metricsPage(metrics));
    if (options.metrics !== null) await server?.listen(options.metrics.address, options.metrics.port);
    let store: TelemetryStore;
    try {
      store = new TelemetryStore(options.storeFile);
    } catch (error) {
      await server?.close();
      throw error;
    }
    const peers = new PeerWatch(options.clients, options.linkOf);
    const sampler = await Sampler.start({ ...options, peers: () => peers.view() });
    sampler.listen((sample, { elapsedMs, tookMs }) => metrics.sampled(sample, elapsedMs, tookMs));
    sampler.listen((sample) => store.add(sample));
    return new Telemetry({ sampler, store, peers, metrics, server });
  }

  /** The look of the last second; waits for the first one. */
  async latest(): Promise<HostTelemetry> {
    return await this.#sampler.latest();
  }

  /** Of the host when `vm` is not given. */
  history(vm: string | undefined, minutes: number): TelemetryHistory {
    return this.#store.history(vm, minutes, Date.now());
  }

  /** What Prometheus is shown. */
  get page(): MetricsPage {
    return metricsPage(this.#metrics);
  }

  migrationEnded(report: MigrationReport): void {
    this.#metrics.migrationEnded(report);
  }

  async close(): Promise<void> {
    this.#peers.close();
    await this.#server?.close();
    await this.#sampler.close();
    this.#store.close();
  }
}

function metricsPage(metrics: Metrics): MetricsPage {
  return { contentType: metrics.contentType, text: () => metrics.text() };
}
