/**
 * A client of a guest's server, as a process of its own on a lab host: what it sees is what somebody on the network sees.
 *
 *     const load = await startWebLoad(host, { address: '198.18.1.10', connections: 8 });
 *     await load.take();                     what it saw so far, which is not of interest
 *     ... the guest moves ...
 *     const { failedRequests, lostConnections, longestGapMs } = await load.finish();
 */
import { HostProgram } from '../lab/host-program.ts';
import type { LabHostPlan } from '../lab/plan.ts';
import type { LoadQuestion, RedisReport, WebReport } from './load-report.ts';

/** The end of a Redis client reads all of its keys. */
const ANSWER_TIMEOUT_MS = 60_000;

type Host = Pick<LabHostPlan, 'namespace'>;

export type WebLoadOptions = {
  readonly address: string;
  /** Default 80. */
  readonly port?: number;
  /** Default 8. */
  readonly connections?: number;
  /** Over all connections; 0, the default: each asks again as soon as it is answered. */
  readonly requestsPerS?: number;
};

export type RedisLoadOptions = {
  readonly address: string;
  /** Default 6379. */
  readonly port?: number;
  /** Default 4; each has keys of its own. */
  readonly connections?: number;
  /** Over all connections; 0, the default: each goes on as soon as it is answered. */
  readonly commandsPerS?: number;
};

/** Files of the Debian guest's nginx, asked for in turn. Throws LabError LAB_COMMAND where the server does not answer. */
export async function startWebLoad(host: Host, options: WebLoadOptions): Promise<LoadProcess<WebReport>> {
  const { address, port = 80, connections = 8, requestsPerS = 0 } = options;
  const program = new URL('./web-client.ts', import.meta.url);
  return await LoadProcess.start<WebReport>(host, program, [address, port, connections, requestsPerS]);
}

/** Writes and reads of a Redis server. Throws LabError LAB_COMMAND where it does not answer. */
export async function startRedisLoad(host: Host, options: RedisLoadOptions): Promise<LoadProcess<RedisReport>> {
  const { address, port = 6379, connections = 4, commandsPerS = 0 } = options;
  const program = new URL('./redis-client.ts', import.meta.url);
  return await LoadProcess.start<RedisReport>(host, program, [address, port, connections, commandsPerS]);
}

export class LoadProcess<Report> {
  readonly #client: HostProgram;

  private constructor(client: HostProgram) {
    this.#client = client;
  }

  static async start<Report>(
    host: Host,
    program: URL,
    argv: readonly (string | number)[],
  ): Promise<LoadProcess<Report>> {
    const name = 'The client that loads the guest';
    return new LoadProcess(await HostProgram.start({ host, program, argv, name, answerTimeoutMs: ANSWER_TIMEOUT_MS }));
  }

  /** What it saw since the last call. Throws LabError LAB_COMMAND where the client is gone. */
  async take(): Promise<Report> {
    return await this.#ask('take');
  }

  /** The last report: it asks nothing more, checks what it can check at the end, and ends. */
  async finish(): Promise<Report> {
    const report = await this.#ask('finish');
    this.stop();
    return report;
  }

  stop(): void {
    this.#client.stop();
  }

  async #ask(question: LoadQuestion): Promise<Report> {
    return (await this.#client.ask(question)) as Report;
  }
}
