/** Limits of the HTTP API. Beyond them a request is refused with the name of the field. */
import { assert } from '../base/assert.ts';

export const BODY_BYTES_MAX = 1024 * 1024;
export const PATH_CHARS_MAX = 4096;
export const LANES_MAX = 64;
/** Of strategy mplm: shorter ones would be nothing but syncs, longer ones no epochs. */
export const INTERVAL_MS_MIN = 100;
export const INTERVAL_MS_MAX = 600_000;
export const ROUNDS_MAX = 10_000;
export const DOWNTIME_MS_MAX = 600_000;
/** Below this a busy host would be taken for a dead one. */
export const STALL_MS_MIN = 500;
export const STALL_MS_MAX = 3_600_000;
export const GRACE_MS_DEFAULT = 60_000;
export const GRACE_MS_MAX = 3_600_000;
export const HISTORY_ROWS_DEFAULT = 50;
export const HISTORY_ROWS_MAX = 1000;
/** Page versions that a source keeps for deltas. */
export const DELTA_CACHE_BYTES_MAX = 4 * 1024 ** 3;
/** One server-sent event; a report with ROUNDS_MAX rounds stays below. */
export const EVENT_CHARS_MAX = 4 * 1024 * 1024;

assert(HISTORY_ROWS_DEFAULT <= HISTORY_ROWS_MAX, 'the default page of the history is within its bound');
assert(GRACE_MS_DEFAULT <= GRACE_MS_MAX, 'the default grace time is within its bound');
assert(EVENT_CHARS_MAX > ROUNDS_MAX * 128, 'the longest report fits into one event');

/** A guest is looked at for so long before its move is predicted. */
export const PLAN_MS_MIN = 200;
export const PLAN_MS_MAX = 60_000;
export const PLAN_MS_DEFAULT = 3_000;

/** An autopilot that has gone leaves its hosts free after this time at the latest. */
export const LEASE_MS_MAX = 600_000;
export const LOG_ROWS_DEFAULT = 50;
export const LOG_ROWS_MAX = 1000;

/** Of the history of telemetry: a week. */
export const TELEMETRY_MINUTES_MAX = 10_080;
export const TELEMETRY_MINUTES_DEFAULT = 10;
