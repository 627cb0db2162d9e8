/**
 * Where QEMU's cursor is. QEMU walks its dirty bitmap round and round in block-list order; a sync sets bits but does not
 * move the cursor. Counting the laps gives a position that only grows:
 *
 *     position = laps x span + global page
 *
 * Once the position has grown by a whole span, every bit that was set at the beginning has been visited. An empty PART says
 * the same at once: QEMU had nothing left to name.
 */
export class SweepTracker {
  readonly #spanPages: number;
  #laps = 0;
  #lastPage = -1;

  constructor(spanPages: number) {
    this.#spanPages = spanPages;
  }

  get position(): number {
    return this.#laps * this.#spanPages + this.#lastPage;
  }

  get spanPages(): number {
    return this.#spanPages;
  }

  /** Hot: no allocation. The same page again is a lap, too. */
  saw(globalPage: number): void {
    if (globalPage <= this.#lastPage) this.#laps++;
    this.#lastPage = globalPage;
  }
}
