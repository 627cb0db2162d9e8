/** Traffic between a guest and somebody on host b: connections over which everything that is sent comes back. */
import { HostProgram } from '../lab/host-program.ts';
import type { LabHostPlan } from '../lab/plan.ts';

export type EchoLoad = {
  /** Of the guest's echo service (`tcpPort`). */
  readonly port: number;
  readonly connections: number;
  /** In each direction, all connections together. */
  readonly bytesPerS: number;
};

export type EchoReport = {
  readonly echoedBytes: number;
  readonly lostConnections: number;
  readonly wrongEchoes: number;
};

const ANSWER_TIMEOUT_MS = 20_000;

export class EchoClient {
  readonly #program: HostProgram;

  private constructor(program: HostProgram) {
    this.#program = program;
  }

  /** Returns when the first message has come back. Throws LabError LAB_COMMAND. */
  static async start(host: LabHostPlan, guest: string, load: EchoLoad): Promise<EchoClient> {
    const program = new URL('./echo-client.ts', import.meta.url);
    const argv = [guest, load.port, load.connections, load.bytesPerS];
    const name = "The client of the guest's echo service";
    return new EchoClient(await HostProgram.start({ host, program, argv, name, answerTimeoutMs: ANSWER_TIMEOUT_MS }));
  }

  /** Since the start. Throws LabError LAB_COMMAND where the client is gone. */
  async report(): Promise<EchoReport> {
    return (await this.#program.ask('report')) as EchoReport;
  }

  stop(): void {
    this.#program.stop();
  }
}
