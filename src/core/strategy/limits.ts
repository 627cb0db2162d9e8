/** Numbers that bound a scheduler, each with its reason. */
import { assert } from '../base/assert.ts';

/** Data queued on the link beyond its own delay becomes downtime; this much keeps it busy between two acknowledgements. */
export const WINDOW_MS = 50;
/** A longer round trip than this is not waited for by sending more: it would be a queue, not a delay. */
export const ROUND_TRIP_MS_MAX = 200;
/** Two batches per lane, so that reading and compressing one overlaps with sending the other. */
export const LANE_BATCHES_MIN = 2;
export const LANE_BATCHES_MAX = 16;
/**
 * On a fast link this much may always be in flight, 28 ms of 1 Gbit/s. Threads that share a core get their turn a few
 * milliseconds late; with two batches per lane the window shrank its own rate to a third of the link on two busy cores.
 */
export const FAST_WIRE_BYTES_MIN = 3.5e6;
/** A link is fast when its batches are this large: 0.5 MiB. */
export const FAST_BATCH_PAGES = 128;
/** But no more than the link carries in this time: packed pages make large batches on a slow link, too. */
export const FAST_WINDOW_MS = 100;
/** 64 KiB: below that, compression and system calls per page get expensive. */
export const BATCH_PAGES_MIN = 16;
/** Before anything is measured: 256 KiB. */
export const BATCH_PAGES_FIRST = 64;
/** A rate is folded into the average after this much time with a backlog. */
export const RATE_SAMPLE_MS = 40;
export const RATE_WEIGHT = 0.3;
/** Before anything is measured: 40 MB/s. */
export const PAGES_PER_MS_ASSUMED = 10;
export const WIRE_BYTES_PER_PAGE_ASSUMED = 4096;

/** QEMU's unix socket holds about this many records; they were written before the reader let go. */
export const STALE_RECORDS = 300;
/** What is read later than this after letting go was not waiting in the socket. */
export const STALE_MS = 20;

/** Between two dirty syncs while first copies are being sent: often enough to save repeats, seldom enough for the guest. */
export const REFRESH_MS = 400;

/** A promise of a time until the switchover waits so long for its rate: the first samples of a link are bursts. */
export const BOUND_AFTER_MS = 300;
/** What a promise allows for syncs, in which the guest's pages are named again and lanes may wait. */
export const BOUND_SLACK = 1.05;

/** From the decision to stop until QEMU has stopped the guest: lanes are drained, QEMU takes 6 to 20 ms; 50 to 150 ms where it decides by itself. */
export const STOP_DELAY_MS = 100;
/** The same for a promised time: as long as that may take, and not only usually. */
export const BOUND_STOP_MS = 200;
/** What may be in flight when a guest is stopped: it arrives while QEMU stops and writes its devices. */
export const STOP_IN_FLIGHT_MS = 5;
/** A stop is put off for what is in flight where the guest was seen to dirty less than this part of what the link carries. */
export const DRAIN_DIRTY_SHARE = 0.5;
/** Stopping, device state, round trips: the downtime of a guest that leaves nothing. The pump corrects it. */
export const FIXED_DOWNTIME_MS = 60;
/** After so many syncs the guest has shown how much it writes when it writes least. */
export const DIRTY_INTERVALS_MIN = 3;
/** So many pages sent again say what one of them costs; */
export const REPEATS_MIN = 64;
/** below this share of a first copy it is worth sending every page once before the guest is stopped, whoever writes to it. */
export const CHEAP_REPEAT = 0.5;
/** Dirty measurements kept. */
export const DIRTY_SAMPLES_MAX = 4;
/** Batches of backlog that a paced feed may always have. */
export const PACED_BATCHES_MIN = 4;
/** A live migration never claims more: the rest is the switchover itself. */
export const PROGRESS_MAX = 0.99;

/** Pages of one question to the guest: 64 MiB are some 20 ms of its time under software emulation, and 0.7 MB of answer. */
export const REPORT_PAGES = 16_384;
/** So few pages of a chunk of 512 are sent without asking: 0.1 to 0.5 ms, while a guest under software emulation takes 0.8 ms to answer. */
export const UNASKED_PAGES_MAX = 8;
/** Questions under way: the next one is there when an answer has been written. */
export const REPORTS_OPEN_MAX = 2;
/** A guest agent that lives answers in a few milliseconds. Without an answer the lanes wait no longer than this, */
export const AGENT_CONTACT_MS = 300;
/** and with one not longer than this for the guest to drop its cache. */
export const AGENT_READY_MS = 3_000;
/** The guest is asked again when sending the rest takes longer than this, */
export const PRUNE_REFRESH_MS = 5_000;
/** and not more often than that asking takes a tenth of its time. */
export const PRUNE_REFRESH_SHARE = 10;

assert(LANE_BATCHES_MIN >= 2 && LANE_BATCHES_MIN < LANE_BATCHES_MAX, 'a lane overlaps its work');
assert(BATCH_PAGES_MIN <= BATCH_PAGES_FIRST, 'the first batch is a legal batch');
assert(RATE_SAMPLE_MS <= WINDOW_MS, 'the window follows the rate');
