/**
 * One worker thread as a pool sees it. Whatever happens to the thread, its pool hears of exactly one end: `closed`, or
 * `failed` with a reason. Nothing comes after it, and nothing after `stop`.
 */
import type { Worker } from 'node:worker_threads';
import { type LaneError, toLaneError } from './errors.ts';
import type { FromDestinationLane, FromSourceLane, StopLane } from './lane-protocol.ts';

/**
 * Small heaps: hardly any objects. But V8 collects garbage whenever the buffers outside of the heap have grown by half of
 * its old generation. Garbage collection in a profiled destination lane: 27 % of its busy time with 48 MiB, 15 % with 96.
 * An agent that sent 8 GiB peaked at 298 MB with 96 MiB and at 268 MB with 64.
 */
export const LANE_RESOURCE_LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 } as const;

/** A thread that has not ended by itself is stuck: a batch of 1 MiB takes 0.1 s at the hardest level. */
const STOP_MS_MAX = 10_000;

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

  post(message: Out | StopLane, transfer: readonly ArrayBuffer[] = []): void {
    if (!this.#over) this.#worker.postMessage(message, transfer);
  }

  /**
   * Ends the thread at once, but between two frames: Node.js (24.21) aborts the whole process, "close before init", when a thread
   * is terminated that has made a zstd context and not set it up yet, and every frame makes one.
   */
  async stop(): Promise<void> {
    this.post({ type: 'stop' });
    this.#over = true;
    const timer = setTimeout(() => void this.#worker.terminate(), STOP_MS_MAX);
    await this.exited;
    clearTimeout(timer);
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
