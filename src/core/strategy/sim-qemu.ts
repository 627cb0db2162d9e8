/**
 * The migration thread of a QEMU, as far as its stream tells of it.
 *
 * - A sync copies the accelerator's log into the dirty bitmap. The log is cleared later, chunk by chunk, before the first page
 *   of a chunk is written, and only of bits that a sync has seen (KVM with manual protect).
 * - A page's bit is cleared, then its content is looked at, then its record is written.
 * - The cursor goes round memory; a sync does not move it.
 * - Between PARTs: when what is left is below the threshold, sync. Then `own` (7.2) stops the guest when what is left is zero
 *   or below the threshold; `ack` (8.1 and later) does the same, but only once it is allowed to.
 * - Completion: guest stopped, one more sync, END with everything left.
 */
import type { SimGuest } from './sim-guest.ts';

export type SimRecord =
  | { readonly type: 'page'; readonly page: number; readonly isZero: boolean; readonly value: number }
  | { readonly type: 'partEnd'; readonly pages: number }
  | { readonly type: 'stopped' }
  | { readonly type: 'end' };

/** Pages whose log is cleared together. */
const CLEAR_CHUNK_PAGES = 64;

export type SimQemuOptions = {
  readonly switchover: 'own' | 'ack';
  /** Pages written by one PART at most. */
  readonly partPages: number;
  /** Asked whenever the bit of a page is collected: whether QEMU misses all later writes to it. */
  readonly losesSight?: (() => boolean) | undefined;
};

export class SimQemu {
  /** What QEMU believes it could send within its downtime limit. */
  thresholdPages = 0;
  readonly #guest: SimGuest;
  readonly #options: SimQemuOptions;
  readonly #bitmap: Uint8Array;
  readonly #seen: Uint8Array;
  readonly #clearDue: Uint8Array;
  #dirtyPages: number;
  #cursor = 0;
  #partPages = 0;
  #state: 'between' | 'part' | 'ending' | 'ended' = 'between';
  #isAllowed = false;
  #syncs = 0;

  constructor(guest: SimGuest, options: SimQemuOptions) {
    this.#guest = guest;
    this.#options = options;
    this.#bitmap = new Uint8Array(guest.memory.length).fill(1);
    this.#seen = new Uint8Array(guest.memory.length);
    this.#clearDue = new Uint8Array(Math.ceil(guest.memory.length / CLEAR_CHUNK_PAGES));
    this.#dirtyPages = guest.memory.length;
    guest.log.fill(0);
  }

  get syncs(): number {
    return this.#syncs;
  }

  get hasEnded(): boolean {
    return this.#state === 'ended';
  }

  /** The order to stop: the ack, and a downtime limit that everything fits. */
  allowSwitchover(): void {
    this.#isAllowed = true;
    this.thresholdPages = Infinity;
  }

  /** The next thing that QEMU writes; null when its stream is at its end. */
  next(): SimRecord | null {
    switch (this.#state) {
      case 'between':
        return this.#iterate();
      case 'part':
        return this.#writePart();
      case 'ending':
        if (this.#dirtyPages > 0) return this.#writePage();
        this.#state = 'ended';
        return { type: 'end' };
      case 'ended':
        return null;
    }
  }

  #iterate(): SimRecord {
    if (this.#dirtyPages < this.thresholdPages) this.#sync();
    const isDone = this.#dirtyPages === 0 || this.#dirtyPages < this.thresholdPages;
    if (isDone && (this.#options.switchover === 'own' || this.#isAllowed)) {
      this.#guest.stop();
      this.#sync();
      this.#state = 'ending';
      return { type: 'stopped' };
    }
    this.#state = 'part';
    this.#partPages = 0;
    return this.#writePart();
  }

  #writePart(): SimRecord {
    if (this.#dirtyPages > 0 && this.#partPages < this.#options.partPages) {
      this.#partPages++;
      return this.#writePage();
    }
    this.#state = 'between';
    return { type: 'partEnd', pages: this.#partPages };
  }

  #writePage(): SimRecord {
    let page = this.#bitmap.indexOf(1, this.#cursor);
    if (page < 0) page = this.#bitmap.indexOf(1);
    this.#clearLog(Math.floor(page / CLEAR_CHUNK_PAGES));
    this.#bitmap[page] = 0;
    this.#dirtyPages--;
    this.#cursor = page + 1;
    const value = this.#guest.memory[page]!;
    return { type: 'page', page, isZero: value === 0, value };
  }

  #clearLog(chunk: number): void {
    if (this.#clearDue[chunk] === 0) return;
    this.#clearDue[chunk] = 0;
    const end = Math.min(this.#seen.length, (chunk + 1) * CLEAR_CHUNK_PAGES);
    for (let page = chunk * CLEAR_CHUNK_PAGES; page < end; page++) {
      if (this.#seen[page] === 1) {
        this.#guest.log[page] = 0;
        if (this.#options.losesSight?.() === true) this.#guest.goBlind(page);
      }
      this.#seen[page] = 0;
    }
  }

  #sync(): void {
    this.#syncs++;
    const { log } = this.#guest;
    for (let page = log.indexOf(1); page >= 0; page = log.indexOf(1, page + 1)) {
      if (this.#bitmap[page] === 0) this.#dirtyPages++;
      this.#bitmap[page] = 1;
      this.#seen[page] = 1;
      this.#clearDue[Math.floor(page / CLEAR_CHUNK_PAGES)] = 1;
    }
  }
}
