/**
 * One worker thread as a pool sees it. Whatever happens to the thread, its pool hears of exactly one end: `closed`, or
 * `failed` with a reason. Nothing comes after it, and nothing after `terminate`.
 */
import type { Worker } from 'node:worker_threads';
import { type LaneError, toLaneError } from './errors.ts';
import type { FromDestinationLane, FromSourceLane } from './lane-protocol.ts';

/**
 * Small heaps: hardly any objects. But V8 collects garbage whenever the buffers outside of the heap have grown by half of
 * its old generation. Garbage collection in a profiled destination lane: 27 % of its busy time with 48 MiB, 15 % with 96.
 * An agent that sent 8 GiB peaked at 298 MB with 96 MiB and at 268 MB with 64.
 */
export const LANE_RESOURCE_LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 } as const;

type Failed = Extract<FromSourceLane & FromDestinationLane, { type: 'failed' }>;

export class LaneThread<Out, In extends FromSourceLane | FromDestinationLane> {
  readonly #worker: Worker;
  readonly #onMessage: (message: In | Failed) => void;
  #over = false;
  /** Fulfilled when the thread is gone, whatever the reason. */
  readonly exited: Promise<void>;

  constructor(worker: Worker, onMessage: (message: In | Failed) => void) {
    this.#worker = worker;
    this.#onMessage = onMessage;
    this.exited = new Promise((resolve) => {
      worker.once('exit', () => resolve());
    });
    worker.on('message', (message: In) => this.#receive(message));
    worker.on('messageerror', (error) => this.#receive(failed(toLaneError(error, 'LANE_WORKER'))));
    worker.on('error', (error) => this.#receive(failed(toLaneError(error, 'LANE_WORKER'))));
    worker.on('exit', (code) =>
      this.#receive({ type: 'failed', code: 'LANE_WORKER', message: `The lane's thread ended with code ${code}` }),
    );
  }

  post(message: Out, transfer: readonly ArrayBuffer[] = []): void {
    if (!this.#over) this.#worker.postMessage(message, transfer);
  }

  async terminate(): Promise<void> {
    this.#over = true;
    await this.#worker.terminate();
  }

  #receive(message: In | Failed): void {
    if (this.#over) return;
    this.#over = message.type === 'failed' || message.type === 'closed';
    this.#onMessage(message);
  }
}

function failed({ code, message }: LaneError): Failed {
  return { type: 'failed', code, message };
}
