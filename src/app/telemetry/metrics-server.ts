/** `GET /metrics` on a TCP address of its own, for a Prometheus that cannot reach the unix socket. Nothing else is served there. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export type MetricsPage = { readonly contentType: string; readonly text: () => Promise<string> };

/** Questions that are slow to come, or that ask for much, are cut off. */
const REQUEST_TIMEOUT_MS = 5_000;
const CONNECTIONS_MAX = 32;

export class MetricsServer {
  readonly #server: Server;

  constructor(page: MetricsPage) {
    this.#server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
      request.resume();
      const path = request.url?.split('?')[0];
      if (request.method !== 'GET' || path !== '/metrics') {
        response.writeHead(404, { 'content-type': 'text/plain' }).end('Only GET /metrics is served here.\n');
        return;
      }
      page.text().then(
        (text) => response.writeHead(200, { 'content-type': page.contentType }).end(text),
        () => response.writeHead(500, { 'content-type': 'text/plain' }).end('The figures could not be made.\n'),
      );
    });
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** Fulfilled with the port (useful when 0 was asked for). Rejects with Node's error, for example EADDRINUSE. */
  async listen(address: string, port: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    this.#server.listen(port, address, () => resolve());
    await promise;
    this.#server.off('error', reject);
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}
