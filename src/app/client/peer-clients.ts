/** Clients of the agents of all configured peers, by name; each has its connection when it is first asked. */
import type { TlsMaterial } from '../../io/link/identity.ts';
import { AgentClient } from './agent-client.ts';
import { tlsTransport, type PeerPlace } from './tls-transport.ts';

export class PeerClients {
  readonly #clients: ReadonlyMap<string, AgentClient>;

  constructor(tls: TlsMaterial, peers: readonly PeerPlace[]) {
    this.#clients = new Map(peers.map((peer) => [peer.name, new AgentClient(tlsTransport(tls, peer))]));
  }

  get names(): readonly string[] {
    return [...this.#clients.keys()];
  }

  /** Null: the configuration names no such host. */
  of(name: string): AgentClient | null {
    return this.#clients.get(name) ?? null;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
  }
}
