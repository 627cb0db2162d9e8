/**
 * A short talk with a QEMU or with a guest, which has one channel of each for everybody: it begins only while nobody else uses
 * the machine, and is cut off as soon as a migration claims it. One talk at a time on a host, so that many VMs cost no more at
 * once than one.
 */
import { CLAIM_POLL_MS, TALK_MS_MAX } from './limits.ts';

export class Conversations {
  #last: Promise<unknown> = Promise.resolve();
  readonly #closing = new AbortController();

  /** Runs after those before. Rejects with what `run` throws, and when it is cut off, or may not begin any more. */
  async hold<T>(isFree: () => boolean, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const mine = this.#last.then(async () => await this.#talk(isFree, run));
    this.#last = mine.catch(() => undefined);
    return await mine;
  }

  close(): void {
    this.#closing.abort();
  }

  async #talk<T>(isFree: () => boolean, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#closing.signal.throwIfAborted();
    if (!isFree()) throw new Error('A migration uses the machine');
    const claimed = new AbortController();
    const timer = setInterval(() => {
      if (!isFree()) claimed.abort();
    }, CLAIM_POLL_MS);
    try {
      return await run(AbortSignal.any([claimed.signal, this.#closing.signal, AbortSignal.timeout(TALK_MS_MAX)]));
    } finally {
      clearInterval(timer);
    }
  }
}
