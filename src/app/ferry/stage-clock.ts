/**
 * The time of each stage of a migration. Stages follow each other without a gap, so they add up to the total.
 *
 *     preMigration  checks, connection to the destination      stopAndCopy  guest stopped -> destination prepared
 *     reservation   destination reserves and starts its QEMU   commitment   prepared -> commit on disk
 *     preCopy       first byte -> guest stopped                activation   commit told -> guest runs there
 */
import { stageNames, type StageName } from '../../core/model/migration.ts';

export class StageClock {
  readonly #now: () => number;
  readonly #startedAtMs: number;
  readonly #ms: Record<StageName, number>;
  #stage: StageName | null = 'preMigration';
  #enteredAtMs: number;

  /** `now`: a monotonic clock in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#startedAtMs = this.#enteredAtMs = now();
    this.#ms = { preMigration: 0, reservation: 0, preCopy: 0, stopAndCopy: 0, commitment: 0, activation: 0 };
  }

  /** Null once the clock was stopped. */
  get stage(): StageName | null {
    return this.#stage;
  }

  get elapsedMs(): number {
    return (this.#stage === null ? this.#enteredAtMs : this.#now()) - this.#startedAtMs;
  }

  /** Enters a later stage; going back or staying changes nothing. `atMs` may lie a little in the past. */
  enter(stage: StageName, atMs: number = this.#now()): void {
    if (this.#stage === null || stageNames.indexOf(stage) <= stageNames.indexOf(this.#stage)) return;
    this.#close(Math.max(atMs, this.#enteredAtMs));
    this.#stage = stage;
  }

  stop(): void {
    if (this.#stage === null) return;
    this.#close(this.#now());
    this.#stage = null;
  }

  stagesMs(): Record<StageName, number> {
    return { ...this.#ms };
  }

  #close(atMs: number): void {
    if (this.#stage !== null) this.#ms[this.#stage] += atMs - this.#enteredAtMs;
    this.#enteredAtMs = atMs;
  }
}
