/**
 * The outage of a guest as others see it: the longest time between two of its heartbeats (a UDP packet every millisecond,
 * guests/programs/heartbeat.c), received by a process on a lab host. It is measured alike whatever moves the guest.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { LabError } from './errors.ts';
import type { LabHostPlan } from './plan.ts';

export const HEARTBEAT_PORT = 9000;
const ANSWER_TIMEOUT_MS = 10_000;

export type HeartbeatRecord = { readonly longestGapMs: number; readonly heartbeats: number };

export class HeartbeatListener {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Listens on the host's address. Throws LabError LAB_COMMAND. */
  static async start(host: LabHostPlan): Promise<HeartbeatListener> {
    const program = fileURLToPath(new URL('./heartbeat-receiver.ts', import.meta.url));
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', program];
    const argv = ['netns', 'exec', host.namespace, ...node, host.address, String(HEARTBEAT_PORT)];
    const listener = new HeartbeatListener(spawn('ip', argv, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }));
    listener.#child.on('error', () => undefined);
    await listener.#answer();
    return listener;
  }

  /** What arrived since the last call, and begins anew. Throws LabError LAB_COMMAND where the receiver is gone. */
  async take(): Promise<HeartbeatRecord> {
    const answer = this.#answer();
    this.#child.send('take', () => undefined);
    return (await answer) as HeartbeatRecord;
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  async #answer(): Promise<unknown> {
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]);
    const end = (): void => ended.abort();
    this.#child.once('exit', end);
    try {
      const [message] = (await once(this.#child, 'message', { signal })) as [unknown];
      return message;
    } catch (cause) {
      throw new LabError('LAB_COMMAND', 'The receiver of heartbeats does not answer', {}, { cause });
    } finally {
      this.#child.off('exit', end);
    }
  }
}
