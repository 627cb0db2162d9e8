/**
 * wrk, the HTTP load generator that everyone knows, on a lab host: as many requests as the guest's nginx answers, over
 * connections that it keeps. It compares no content and says what it saw at its end only.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { LabError } from '../lab/errors.ts';
import type { LabHostPlan } from '../lab/plan.ts';

/** wrk ends by itself after this, should nobody end it. */
const DURATION_S = 300;
const REQUEST_TIMEOUT_S = 30;

export type WrkReport = {
  readonly requests: number;
  /** Another status than 2xx or 3xx, or no answer in time. */
  readonly failedRequests: number;
  /** Connections that could not be made, or broke. */
  readonly lostConnections: number;
  /** Of an answer: with a request on each connection at all times, the longest time that the guest answered nobody. */
  readonly longestLatencyMs: number;
};

export type WrkOptions = { readonly url: string; readonly connections: number };

export class WrkLoad {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #output = '';
  #failure: Error | null = null;

  /** Begins at once. That there is no wrk is said at the end. */
  constructor(host: Pick<LabHostPlan, 'namespace'>, { url, connections }: WrkOptions) {
    const wanted = ['--threads', '1', '--connections', String(connections), '--duration', `${DURATION_S}s`];
    const argv = ['netns', 'exec', host.namespace, 'wrk', ...wanted, '--timeout', `${REQUEST_TIMEOUT_S}s`, url];
    this.#child = spawn('ip', argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.on('close', () => resolve());
    this.#child.on('error', (error) => {
      this.#failure = error;
      resolve();
    });
    this.#ended = promise;
  }

  /** Ends it, and returns what it saw. Throws LabError LAB_COMMAND. */
  async finish(): Promise<WrkReport> {
    this.stop();
    await this.#ended;
    const report = parseWrk(this.#output);
    if (report !== null) return report;
    const said = this.#failure?.message ?? this.#output.trim().slice(-300);
    throw new LabError('LAB_COMMAND', `wrk did not say what it saw, but: ${said}`);
  }

  /** wrk says what it saw when it is interrupted. */
  stop(): void {
    this.#child.kill('SIGINT');
  }
}

const MS_OF: Readonly<Record<string, number>> = { us: 1e-3, ms: 1, s: 1e3, m: 60e3, h: 3600e3 };

/** What wrk prints at its end; null where that is not there. Lines about errors are there only when there were any. */
export function parseWrk(text: string): WrkReport | null {
  const requests = /^\s*(\d+) requests in /m.exec(text)?.[1];
  const [, longest, unit] = /^\s*Latency(?:\s+[\d.]+(?:us|ms|s|m|h)){2}\s+([\d.]+)(us|ms|s|m|h)\s/m.exec(text) ?? [];
  if (requests === undefined || longest === undefined || unit === undefined) return null;
  const errors = /^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/m.exec(text);
  const [connect = 0, read = 0, write = 0, timeout = 0] = errors?.slice(1).map(Number) ?? [];
  const refused = Number(/^\s*Non-2xx or 3xx responses: (\d+)/m.exec(text)?.[1] ?? 0);
  return {
    requests: Number(requests),
    failedRequests: refused + timeout,
    lostConnections: connect + read + write,
    longestLatencyMs: Number(longest) * MS_OF[unit]!,
  };
}
