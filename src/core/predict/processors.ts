/** What the processors of a host leave to the lanes of a migration. Pure. */

export type HostProcessors = {
  readonly processors: number;
  /** Of their time, the share that nobody uses: 0 to 1. */
  readonly idle: number;
};

/**
 * The part of a processor's time that each lane gets: what is idle, or where nothing is, its share beside the threads that are busy,
 * as a fair scheduler gives it. A host that did not say how busy it is (null) is taken to have a processor for each lane.
 */
export function laneShare(host: HostProcessors | null, lanes: number): number {
  if (host === null) return 1;
  const idle = Math.min(1, Math.max(0, host.idle)) * host.processors;
  const busy = host.processors - idle;
  const fair = (host.processors * lanes) / (busy + lanes);
  return Math.min(1, Math.max(idle, Math.min(fair, host.processors)) / lanes);
}

/** Pages with content per millisecond that one lane gets through: the slower of the two hosts. Times are of a whole processor. */
export function lanePagesPerMs(
  source: { readonly msPerPage: number; readonly share: number },
  destination: { readonly msPerPage: number; readonly share: number },
): number {
  return Math.min(source.share / source.msPerPage, destination.share / destination.msPerPage);
}
