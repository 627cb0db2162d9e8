/**
 * The threads of the next migration, started while nothing goes on: loading their modules takes 0.2 s of processor time at each
 * side, which a short migration would feel. One set for each role; whoever asks for another number of lanes gets new ones.
 */
import type { Worker } from 'node:worker_threads';
import { bootDestinationLanes } from '../../io/lanes/destination-lane-pool.ts';
import { PumpThread } from './pump-thread.ts';

/** An agent has other things to do in its first moments, and a host that has just ended a migration may start another. */
const IDLE_MS = 1_000;

export class SpareThreads {
  readonly #lanes: number;
  #pump: PumpThread | null = null;
  #destination: Worker[] | null = null;
  readonly #dropDestination = (): void => {
    this.#destination = null;
  };
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** `lanes`: as many as a migration has by default. */
  constructor(lanes: number) {
    this.#lanes = lanes;
  }

  takePump(lanes: number): PumpThread {
    const spare = lanes === this.#lanes ? this.#pump : null;
    if (spare === null || spare.ended) return new PumpThread(lanes);
    this.#pump = null;
    spare.ref();
    return spare;
  }

  takeDestinationLanes(lanes: number): Worker[] {
    const spare = lanes === this.#lanes ? this.#destination : null;
    if (spare === null) return bootDestinationLanes(lanes);
    this.#destination = null;
    for (const worker of spare) worker.off('error', this.#dropDestination).ref();
    return spare;
  }

  /** Nothing goes on: makes what is missing, unless something starts before. */
  idle(): void {
    clearTimeout(this.#timer);
    if (!this.#isClosed) this.#timer = setTimeout(() => this.#fill(), IDLE_MS).unref();
  }

  /** A migration begins: what the other role would need only takes memory now. */
  busy(role: 'source' | 'destination'): void {
    clearTimeout(this.#timer);
    if (role === 'source') void this.#dropLanes();
    else void this.#dropPump();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await Promise.all([this.#dropPump(), this.#dropLanes()]);
  }

  async #dropPump(): Promise<void> {
    const pump = this.#pump;
    this.#pump = null;
    await pump?.close();
  }

  async #dropLanes(): Promise<void> {
    const workers = this.#destination ?? [];
    this.#destination = null;
    await Promise.all(workers.map(async (worker) => await worker.terminate()));
  }

  #fill(): void {
    if (this.#pump === null || this.#pump.ended) {
      this.#pump = new PumpThread(this.#lanes);
      this.#pump.unref();
    }
    if (this.#destination !== null) return;
    this.#destination = bootDestinationLanes(this.#lanes);
    // A thread that fails before its time is no spare; whoever needs one gets a new one, and hears of its failure.
    for (const worker of this.#destination) worker.once('error', this.#dropDestination).unref();
  }
}
