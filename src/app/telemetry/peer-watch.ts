/** Asks every peer now and then whether it answers, and how soon; one that does not answer is asked more rarely. */
import type { PeerTelemetry } from '../../core/model/telemetry.ts';
import type { PeerClients } from '../client/peer-clients.ts';
import { Schedule } from './schedule.ts';
import { PEER_INTERVAL_MS, PEER_RETRY_MS_MAX, PEER_TIMEOUT_MS, SAMPLE_INTERVAL_MS } from './limits.ts';

/** Weight of a new round trip, as TCP does it (RFC 6298). */
const RTT_WEIGHT = 1 / 8;

type Answer = { readonly reachable: boolean; readonly roundTripMs: number | null };

export class PeerWatch {
  readonly #clients: PeerClients;
  readonly #linkOf: (peer: string) => number | null;
  readonly #answers = new Map<string, Answer>();
  readonly #schedules: ReadonlyMap<string, Schedule>;
  readonly #asking = new Set<string>();
  readonly #timer: NodeJS.Timeout;

  /** `linkOf`: the rate of the link to a peer as last measured, bytes per second. */
  constructor(clients: PeerClients, linkOf: (peer: string) => number | null) {
    this.#clients = clients;
    this.#linkOf = linkOf;
    this.#schedules = new Map(clients.names.map((name) => [name, new Schedule(PEER_INTERVAL_MS, PEER_RETRY_MS_MAX)]));
    this.#timer = setInterval(() => this.#askAll(), SAMPLE_INTERVAL_MS);
    this.#askAll();
  }

  /** Peers that have not answered yet count as not reachable. */
  view(): PeerTelemetry[] {
    return this.#clients.names.map((name) => {
      const { reachable, roundTripMs } = this.#answers.get(name) ?? { reachable: false, roundTripMs: null };
      return { name, reachable, roundTripMs, linkBytesPerS: this.#linkOf(name) };
    });
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #askAll(): void {
    for (const [name, schedule] of this.#schedules) {
      if (this.#asking.has(name) || !schedule.isDue(performance.now())) continue;
      this.#asking.add(name);
      void this.#ask(name).finally(() => this.#asking.delete(name));
    }
  }

  async #ask(name: string): Promise<void> {
    const before = this.#answers.get(name);
    try {
      // The first question opens the connection, which takes several round trips.
      if (before?.reachable !== true) await this.#roundTripMs(name);
      const sample = await this.#roundTripMs(name);
      const known = before?.roundTripMs ?? null;
      const roundTripMs = known === null ? sample : known + (sample - known) * RTT_WEIGHT;
      this.#answers.set(name, { reachable: true, roundTripMs });
      this.#schedules.get(name)?.succeeded(performance.now());
    } catch {
      this.#answers.set(name, { reachable: false, roundTripMs: null });
      this.#schedules.get(name)?.failed(performance.now());
    }
  }

  async #roundTripMs(name: string): Promise<number> {
    const startMs = performance.now();
    await this.#clients.of(name)?.call('health', {}, { timeoutMs: PEER_TIMEOUT_MS });
    return performance.now() - startMs;
  }
}
