/**
 * What a link carries at the least: the bytes that the peer's kernel acknowledged, over the time in which there were bytes to acknowledge. The rest of the
 * time, in which a lane packed or waited for a processor, does not count, and neither do the threads of the other side: its kernel acknowledges what
 * they have not read yet. More than the link carries it cannot be, but for the clock and the burst of a shaper.
 */

/** Since the connection began, or of several. */
type Sum = { readonly ackedBytes: number; readonly busyMs: number };

/** What the kernel says of a connection, which its name tells from others. `busyMs`: so long something was not acknowledged. */
export type Acknowledged = Sum & { readonly connection: string };

/** The kernel counts in ticks of its clock, 1 to 4 ms, 10 on some; and a shaper lets a burst through after each silence. */
const TICK_MS = 8;
/** The newest of this much count, because a link may change, and a shaper lets a burst through after a silence. */
const WINDOW_MS = 100;

export class BusyBound {
  readonly #totals = new Map<string, Sum>();
  readonly #window: Sum[] = [];
  #atMs: number | null = null;

  /** What the kernel says of all connections over the link. */
  add(connections: readonly Acknowledged[], nowMs: number): void {
    let [ackedBytes, busyMs] = [0, 0];
    for (const { connection, ...total } of connections) {
      const before = this.#totals.get(connection) ?? { ackedBytes: 0, busyMs: 0 };
      this.#totals.set(connection, total);
      ackedBytes += total.ackedBytes - before.ackedBytes;
      busyMs += total.busyMs - before.busyMs;
    }
    // Connections that were busy at the same time shared the link.
    const sinceMs = this.#atMs === null ? Infinity : nowMs - this.#atMs;
    this.#atMs = nowMs;
    this.#window.push({ ackedBytes, busyMs: Math.min(busyMs, sinceMs) });
    while (this.busyMs - this.#window[0]!.busyMs >= WINDOW_MS) this.#window.shift();
  }

  /** Of all connections together; 0 before anything is known. */
  get bytesPerMs(): number {
    return this.#ackedBytes / (this.busyMs + TICK_MS);
  }

  get #ackedBytes(): number {
    return this.#window.reduce((sum, each) => sum + each.ackedBytes, 0);
  }

  /** What all of this is about. */
  get busyMs(): number {
    return this.#window.reduce((sum, each) => sum + each.busyMs, 0);
  }
}
