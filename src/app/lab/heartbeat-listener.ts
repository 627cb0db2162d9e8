/**
 * The outage of a guest as others see it: the longest time between two of its heartbeats (a UDP packet every millisecond,
 * guests/programs/heartbeat.c), received by a process on a lab host. It is measured alike whatever moves the guest.
 */
import { HostProgram } from './host-program.ts';
import type { LabHostPlan } from './plan.ts';

export const HEARTBEAT_PORT = 9000;
const ANSWER_TIMEOUT_MS = 10_000;

export type HeartbeatRecord = { readonly longestGapMs: number; readonly heartbeats: number };

export class HeartbeatListener {
  readonly #receiver: HostProgram;

  private constructor(receiver: HostProgram) {
    this.#receiver = receiver;
  }

  /** Listens on the host's address. Throws LabError LAB_COMMAND. */
  static async start(host: LabHostPlan): Promise<HeartbeatListener> {
    const program = new URL('./heartbeat-receiver.ts', import.meta.url);
    const argv = [host.address, HEARTBEAT_PORT];
    const name = 'The receiver of heartbeats';
    return new HeartbeatListener(
      await HostProgram.start({ host, program, argv, name, answerTimeoutMs: ANSWER_TIMEOUT_MS }),
    );
  }

  /** What arrived since the last call, and begins anew. Throws LabError LAB_COMMAND where the receiver is gone. */
  async take(): Promise<HeartbeatRecord> {
    return (await this.#receiver.ask('take')) as HeartbeatRecord;
  }

  stop(): void {
    this.#receiver.stop();
  }
}
