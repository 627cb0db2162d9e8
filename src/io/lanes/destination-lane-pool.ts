/** The lanes of one migration at the destination: one listening thread each. */
import { Worker } from 'node:worker_threads';
import { LaneError } from './errors.ts';
import type { DestinationLaneInit, FromDestinationLane, LaneCounts, ToDestinationLane } from './lane-protocol.ts';
import { LANE_RESOURCE_LIMITS, LaneThread } from './lane-thread.ts';

/** What all lanes have in common, and how many there are. */
export type DestinationLaneOptions = Omit<DestinationLaneInit, 'lane'>;

export type DestinationLaneEvents = {
  /** The expected source has taken the lane. */
  readonly onConnected?: (lane: number) => void;
  /** Somebody else tried. */
  readonly onRefused?: (lane: number, message: string) => void;
  /** At most once, for the first lane that fails; the pool is then good for nothing but `stop`. */
  readonly onFailed: (error: LaneError) => void;
};

const nothing: LaneCounts = {
  dataPages: 0,
  deltaPages: 0,
  zeroPages: 0,
  unchangedPages: 0,
  rawBytes: 0,
  wireBytes: 0,
};

/** Starts the threads before their memory is known: loading their modules takes 0.1 s and more. */
export function bootDestinationLanes(lanes: number): Worker[] {
  return Array.from({ length: lanes }, (_, lane) => {
    const url = new URL('./destination-lane-worker.ts', import.meta.url);
    return new Worker(url, { resourceLimits: LANE_RESOURCE_LIMITS, name: `lane ${lane}` });
  });
}

export class DestinationLanePool {
  readonly #threads: readonly LaneThread<ToDestinationLane, FromDestinationLane>[];
  readonly #events: DestinationLaneEvents;
  readonly #ready = Promise.withResolvers<readonly number[]>();
  readonly #finished = Promise.withResolvers<void>();
  readonly #ports = new Map<number, number>();
  readonly #progress: LaneCounts[];
  #closed = 0;
  #failed = false;

  /** `workers`: from `bootDestinationLanes`, one per lane, owned by the pool from now on. */
  constructor(
    options: DestinationLaneOptions,
    events: DestinationLaneEvents,
    workers: readonly Worker[] = bootDestinationLanes(options.lanes),
  ) {
    this.#events = events;
    this.#ready.promise.catch(() => {});
    this.#finished.promise.catch(() => {});
    this.#progress = Array.from({ length: options.lanes }, () => nothing);
    this.#threads = this.#progress.map((_, lane) => {
      const worker = workers[lane]!;
      worker.postMessage({ ...options, lane } satisfies DestinationLaneInit);
      return new LaneThread(worker, (message) => this.#receive(lane, message));
    });
  }

  get lanes(): number {
    return this.#threads.length;
  }

  /** Fulfilled with the port of each lane when all listen. Rejects with the LaneError that `onFailed` gets. */
  async ready(): Promise<readonly number[]> {
    return await this.#ready.promise;
  }

  /** Fulfilled when the source has taken leave on every lane: everything it ever sent is placed. */
  async finished(): Promise<void> {
    await this.#finished.promise;
  }

  /** What has been placed so far in all lanes; at most a quarter of a second old. */
  progress(): LaneCounts {
    const total: { -readonly [key in keyof LaneCounts]: number } = { ...nothing };
    for (const each of this.#progress) {
      for (const key of Object.keys(total) as (keyof LaneCounts)[]) total[key] += each[key];
    }
    return total;
  }

  /** Ends the threads at once; what the source still had to say is lost, so await `finished` before. */
  async stop(): Promise<void> {
    const error = new LaneError('LANE_CLOSED', 'The lanes were stopped');
    this.#ready.reject(error);
    this.#finished.reject(error);
    await Promise.all(this.#threads.map(async (thread) => await thread.stop()));
  }

  #receive(lane: number, message: FromDestinationLane): void {
    if (this.#failed) return;
    switch (message.type) {
      case 'listening':
        this.#ports.set(lane, message.port);
        if (this.#ports.size === this.lanes)
          this.#ready.resolve(this.#threads.map((_, each) => this.#ports.get(each)!));
        break;
      case 'progress':
        this.#progress[lane] = message;
        break;
      case 'closed':
        if (++this.#closed === this.lanes) this.#finished.resolve();
        break;
      case 'connected':
        this.#events.onConnected?.(lane);
        break;
      case 'refused':
        this.#events.onRefused?.(lane, message.message);
        break;
      case 'failed': {
        this.#failed = true;
        const error = new LaneError(message.code, `Lane ${lane}: ${message.message}`, { lane });
        this.#ready.reject(error);
        this.#finished.reject(error);
        this.#events.onFailed(error);
        break;
      }
    }
  }
}
