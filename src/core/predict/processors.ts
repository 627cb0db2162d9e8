/** What the processors of a host leave to the lanes of a migration. Pure. */

export type HostProcessors = {
  readonly processors: number;
  /** Of their time, the share that nobody uses: 0 to 1. */
  readonly idle: number;
};

export type LaneRoom = {
  /** The part of a processor's time that each lane gets. */
  readonly share: number;
  /** Of all processors' time, what nobody uses while they work. */
  readonly idle: number;
};

/**
 * Each lane wants a processor, and `others` are the threads of the migration beside them (QEMU's, the agent's). Where there are more
 * threads than processors each gets the same part, as a fair scheduler gives it. A host that did not say how busy it is (null) is taken
 * to have room for all of them.
 */
export function laneRoom(host: HostProcessors | null, lanes: number, others: number): LaneRoom {
  if (host === null) return { share: 1, idle: 1 };
  const busy = (1 - Math.min(1, Math.max(0, host.idle))) * host.processors;
  const threads = busy + lanes + others;
  return { share: Math.min(1, host.processors / threads), idle: Math.max(0, 1 - threads / host.processors) };
}

/**
 * Of its pace now, what a guest keeps while it is moved. `uses`: of a processor, what each of its vCPUs takes, 0 to 1. One that
 * computes all the time gets the same `share` as a lane; one that mostly waits does its work all the same.
 */
export function guestPace(uses: readonly number[], share: number): number {
  const before = uses.reduce((sum, use) => sum + use, 0);
  const during = uses.reduce((sum, use) => sum + Math.min(use, share), 0);
  return before === 0 ? 1 : during / before;
}

/** Pages with content per millisecond that one lane gets through: the slower of the two hosts. Times are of a whole processor. */
export function lanePagesPerMs(
  source: { readonly msPerPage: number; readonly share: number },
  destination: { readonly msPerPage: number; readonly share: number },
): number {
  return Math.min(source.share / source.msPerPage, destination.share / destination.msPerPage);
}
