/** The session's handle on its pump thread. A thread that dies is told as a failure, once. */
import { Worker } from 'node:worker_threads';
import type { FromPump, PumpBoot, PumpInit, ToPump } from './pump-protocol.ts';

/** Bounds what QEMU's stream leaves to the garbage collector: the agent peaked 25 MB lower with it. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 8 } as const;

/** Longer than its lanes may take to stop: terminated with it, one of them could take the agent along (`LaneThread.stop`). */
const CLOSE_MS_MAX = 15_000;

export class PumpThread {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #ended = false;

  #onMessage: (message: FromPump) => void = () => undefined;

  /** Starts the thread and those of its lanes; `start` gives them work. */
  constructor(lanes: number) {
    const workerData: PumpBoot = { lanes };
    this.#worker = new Worker(new URL('./pump-worker.ts', import.meta.url), {
      workerData,
      name: 'pump',
      resourceLimits: RESOURCE_LIMITS,
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#exited = promise;
    this.#worker.on('message', (message: FromPump) => {
      if (message.type === 'closed') this.#ended = true;
      this.#onMessage(message);
    });
    this.#worker.on('error', (error: unknown) => {
      const text = error instanceof Error ? error.message : String(error);
      if (!this.#ended)
        this.#onMessage({ type: 'failed', code: 'FERRY_INTERNAL', message: `The pump failed: ${text}` });
      this.#ended = true;
    });
    this.#worker.on('exit', () => resolve());
  }

  /** It has failed or was closed. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether it keeps the process alive. */
  ref(): void {
    this.#worker.ref();
  }

  unref(): void {
    this.#worker.unref();
  }

  start(init: PumpInit, onMessage: (message: FromPump) => void): void {
    this.#onMessage = onMessage;
    this.tell({ type: 'init', init });
  }

  tell(message: ToPump): void {
    this.#worker.postMessage(message);
  }

  /** Closes QEMU's socket and the lanes, then ends the thread. Idempotent. */
  async close(): Promise<void> {
    this.#worker.postMessage({ type: 'close' } satisfies ToPump);
    const timer = setTimeout(() => void this.#worker.terminate(), CLOSE_MS_MAX);
    await this.#exited;
    clearTimeout(timer);
  }
}
