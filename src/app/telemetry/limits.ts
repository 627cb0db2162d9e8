/** How often, how much, and how long: what telemetry may cost. */
import { assert } from '../../core/base/assert.ts';

export const SAMPLE_INTERVAL_MS = 1_000;
/** A turn of the event loop reads so many pages: 0.3 ms. */
export const SLICE_PAGES = 64;
/** Pages of one VM that are looked at each second: a write rate of 1/512 of the memory per second is the least one seen. */
export const DIRTY_PAGES = 512;
/** So many VMs are looked at in one second; more take turns, this many seconds each. */
export const DIRTY_VMS = 4;
export const DIRTY_TURN_S = 5;
/** A look is compared with one that is no older than this. */
export const DIRTY_LOOK_AGE_MS_MAX = 2_500;
/** Which pages are looked at is drawn anew after so many looks: a small hot region may lie between them. */
export const DIRTY_LOOKS_PER_DRAW = 30;
/** The class is that of the mean of so many looks. */
export const DIRTY_LOOKS_MEAN = 5;

/** QEMU is asked for the guest's state this often: nobody tells when it was paused by somebody else. */
export const STATE_INTERVAL_MS = 10_000;
export const GUEST_MEMORY_INTERVAL_MS = 30_000;
/** After a failure it is asked later, and then ever later: a guest without an agent, a monitor that another program holds. */
export const RETRY_MS_MIN = 5_000;
export const RETRY_MS_MAX = 300_000;
/** For one conversation with a QEMU, or with a guest. A migration that wants the channel ends it at once. */
export const TALK_MS_MAX = 1_500;
/** How soon that is noticed. */
export const CLAIM_POLL_MS = 10;
/** Caps hardly ever change, and neither do network devices and disks. */
export const SURVEY_INTERVAL_MS = 5_000;

export const PEER_INTERVAL_MS = 5_000;
export const PEER_TIMEOUT_MS = 3_000;
/** A peer that refuses us writes a line into its log each time. */
export const PEER_RETRY_MS_MAX = 30_000;

/** Of the store: an hour of seconds and a week of minutes; with many VMs the rows are the limit (a row takes 100 bytes). */
export const SECONDS_KEPT_MS = 3_600_000;
export const MINUTES_KEPT_MS = 7 * 86_400_000;
export const SECOND_ROWS_MAX = 200_000;
export const MINUTE_ROWS_MAX = 500_000;

assert(DIRTY_LOOK_AGE_MS_MAX > 2 * SAMPLE_INTERVAL_MS, 'a late sample has something to compare with');
assert(TALK_MS_MAX < STATE_INTERVAL_MS, 'conversations do not queue up');
