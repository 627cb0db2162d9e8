/** The lanes of one migration at the source. Works on any thread; events come on the thread that made the pool. */
import { Worker } from 'node:worker_threads';
import { assert } from '../../core/base/assert.ts';
import { LaneError } from './errors.ts';
import type { FromSourceLane, SentCounts, SourceLaneInit, ToSourceLane } from './lane-protocol.ts';
import { LANE_RESOURCE_LIMITS, LaneThread } from './lane-thread.ts';

/** A lane that cannot get rid of its last frames in this time is given up. */
const CLOSE_MS_MAX = 10_000;

/** What all lanes have in common, and the destination's port of each: as many lanes as ports. */
export type SourceLaneOptions = Omit<SourceLaneInit, 'lane' | 'lanes' | 'port'> & { readonly ports: readonly number[] };

/** What a batch may have besides its runs. */
export type BatchExtras = { readonly zeroRuns?: Uint32Array; readonly heats?: Uint8Array };

export type SourceLaneEvents = {
  /** The batch has been read and queued; what changes in its pages from now on must be sent again. */
  readonly onSent: (lane: number, id: number, counts: SentCounts) => void;
  /** The batch and every earlier one of the lane are in the destination's memory. */
  readonly onAcked: (lane: number, id: number) => void;
  /** `mismatches` are the pages that differ, ascending; empty = all equal. */
  readonly onVerified: (lane: number, id: number, result: { pages: number; mismatches: Uint32Array }) => void;
  /** At most once, for the first lane that fails; the pool is then good for nothing but `stop`. */
  readonly onFailed: (error: LaneError) => void;
};

/** Starts the threads before it is known where they connect to: loading their modules takes 0.1 s and more. */
export function bootSourceLanes(lanes: number): Worker[] {
  return Array.from({ length: lanes }, (_, lane) => {
    const url = new URL('./source-lane-worker.ts', import.meta.url);
    return new Worker(url, { resourceLimits: LANE_RESOURCE_LIMITS, name: `lane ${lane}` });
  });
}

export class SourceLanePool {
  readonly #threads: readonly LaneThread<ToSourceLane, FromSourceLane>[];
  readonly #events: SourceLaneEvents;
  readonly #ready = Promise.withResolvers<void>();
  #connected = 0;
  #failed = false;
  #closing = false;

  /** `workers`: from `bootSourceLanes`, one per port, owned by the pool from now on. */
  constructor(
    options: SourceLaneOptions,
    events: SourceLaneEvents,
    workers: readonly Worker[] = bootSourceLanes(options.ports.length),
  ) {
    this.#events = events;
    this.#ready.promise.catch(() => {});
    const { ports, ...common } = options;
    assert(workers.length === ports.length, 'there is a thread for each port');
    this.#threads = ports.map((port, lane) => {
      const worker = workers[lane]!;
      worker.postMessage({ ...common, port, lane, lanes: ports.length } satisfies SourceLaneInit);
      return new LaneThread(worker, (message) => this.#receive(lane, message));
    });
  }

  get lanes(): number {
    return this.#threads.length;
  }

  /** Fulfilled when every lane is connected and accepted. Rejects with the LaneError that `onFailed` gets. */
  async ready(): Promise<void> {
    await this.#ready.promise;
  }

  /**
   * Queues a batch: `runs` are pairs [page, count] of at most BATCH_PAGES_MAX pages, `zeroRuns` pages to be zero at the
   * destination without looking at them (at most BATCH_ZERO_RUNS_MAX pairs of at most 512 pages), `heats` how often the
   * guest was seen to write to each page of `runs`. All are copied. An id must differ from those of all batches and
   * verifies of the lane.
   */
  send(lane: number, id: number, runs: Uint32Array, further: BatchExtras = {}): void {
    const own = new Uint32Array(runs);
    const zeroRuns = new Uint32Array(further.zeroRuns ?? []);
    const heats = new Uint8Array(further.heats ?? []);
    const transfer = [own.buffer, zeroRuns.buffer, heats.buffer];
    this.#thread(lane).post({ type: 'batch', id, runs: own, zeroRuns, heats }, transfer);
  }

  /** Queues a comparison of any number of the lane's pages; it happens when everything queued before has been placed. */
  verify(lane: number, id: number, runs: Uint32Array): void {
    const own = new Uint32Array(runs);
    this.#thread(lane).post({ type: 'verify', id, runs: own }, [own.buffer]);
  }

  /**
   * Waits until everything queued is placed, takes leave and ends the threads. Always fulfilled: a lane that cannot get
   * that far fails.
   */
  async close(): Promise<void> {
    if (!this.#closing) for (const thread of this.#threads) thread.post({ type: 'close' });
    this.#closing = true;
    const timer = setTimeout(() => {
      this.#fail(new LaneError('LANE_CLOSED', `The lanes did not empty in ${CLOSE_MS_MAX} ms`));
      void this.stop();
    }, CLOSE_MS_MAX);
    if (this.#failed) await this.stop();
    await Promise.all(this.#threads.map(async (thread) => await thread.exited));
    clearTimeout(timer);
  }

  /** Ends the threads at once. */
  async stop(): Promise<void> {
    this.#ready.reject(new LaneError('LANE_CLOSED', 'The lanes were stopped'));
    await Promise.all(this.#threads.map(async (thread) => await thread.stop()));
  }

  #thread(lane: number): LaneThread<ToSourceLane, FromSourceLane> {
    const thread = this.#threads[lane];
    assert(thread !== undefined, 'a batch goes to one of the lanes that exist');
    assert(!this.#closing, 'nothing is sent after close');
    return thread;
  }

  #receive(lane: number, message: FromSourceLane): void {
    if (this.#failed) return;
    switch (message.type) {
      case 'connected':
        if (++this.#connected === this.lanes) this.#ready.resolve();
        break;
      case 'sent':
        this.#events.onSent(lane, message.id, message);
        break;
      case 'acked':
        this.#events.onAcked(lane, message.id);
        break;
      case 'verified':
        this.#events.onVerified(lane, message.id, message);
        break;
      case 'failed':
        this.#fail(new LaneError(message.code, `Lane ${lane}: ${message.message}`, { lane }));
        break;
      case 'closed':
        break;
    }
  }

  #fail(error: LaneError): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#ready.reject(error);
    this.#events.onFailed(error);
  }
}
