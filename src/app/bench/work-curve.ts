/**
 * How much a guest did before, during and after its move, from lines that it writes now and then with its own clock and what
 * it has done so far. Pure.
 *
 * The guest's clock runs with the host's except while the machine is stopped. So at each place it is the host's minus a
 * constant, which is found from the lines that arrived soonest. What was done until the move began is carried on from the
 * last line before it at the rate of then; and back from the first line after the move in the same way. Lines once a second
 * would else be too coarse for moves of two seconds.
 */
export type WorkPoint = { readonly guestMs: number; readonly work: number };
/** A line, and when it was first seen, by the host's clock. */
export type SeenPoint = WorkPoint & { readonly seenMs: number };

export type WorkWatch = {
  /** Lines of the source before the move, of which the last ones were seen arriving. */
  readonly before: readonly WorkPoint[];
  readonly beforeSeen: readonly SeenPoint[];
  /** Lines of the destination; none when the guest has not moved. */
  readonly after: readonly WorkPoint[];
  readonly afterSeen: readonly SeenPoint[];
  /** By the host's clock. */
  readonly startMs: number;
  readonly endMs: number;
};

export type WorkRates = {
  /** Units per second. */
  readonly before: number;
  readonly during: number | null;
  readonly after: number | null;
  readonly lostMs: number | null;
};

/** The rate before is that of so long a time. */
export const RATE_WINDOW_MS = 5000;

/** Host time minus guest time: the smallest that was seen, because a line can only be seen late. Null of no lines. */
export function clockOffsetMs(seen: readonly SeenPoint[]): number | null {
  return seen.length === 0 ? null : Math.min(...seen.map(({ guestMs, seenMs }) => seenMs - guestMs));
}

/** Null when the guest did not say enough before the move. */
export function workRates({ before, beforeSeen, after, afterSeen, startMs, endMs }: WorkWatch): WorkRates | null {
  const last = before.at(-1);
  const offset = clockOffsetMs(beforeSeen);
  if (last === undefined || offset === null) return null;
  const rateBefore = ratePerMs(before.filter(({ guestMs }) => guestMs >= last.guestMs - RATE_WINDOW_MS));
  if (rateBefore === null) return null;
  const atStart = last.work + rateBefore * (startMs - (last.guestMs + offset));
  const offsetAfter = clockOffsetMs(afterSeen);
  const isAfter = (point: WorkPoint): boolean => point.guestMs + (offsetAfter ?? 0) >= endMs;
  const rateAfter = ratePerMs(after.filter(isAfter));
  const first = after.find(isAfter);
  const alone = { before: rateBefore * 1000, during: null, after: null, lostMs: null };
  if (offsetAfter === null || rateAfter === null || first === undefined) return alone;
  const atEnd = first.work - rateAfter * (first.guestMs + offsetAfter - endMs);
  const done = Math.max(0, atEnd - atStart);
  return {
    before: rateBefore * 1000,
    during: (done / (endMs - startMs)) * 1000,
    after: rateAfter * 1000,
    lostMs: rateBefore > 0 ? endMs - startMs - done / rateBefore : null,
  };
}

function ratePerMs(points: readonly WorkPoint[]): number | null {
  const [first] = points;
  const last = points.at(-1);
  return first === undefined || last === undefined || last.guestMs <= first.guestMs
    ? null
    : (last.work - first.work) / (last.guestMs - first.guestMs);
}
