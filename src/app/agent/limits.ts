/** Limits of the agent. */
import { assert } from '../../core/base/assert.ts';

export const CONFIG_BYTES_MAX = 256 * 1024;
export const VMS_MAX = 1000;
export const LEASES_MAX = 256;
export const EVENT_STREAMS_MAX = 256;
/** A view is sent this often to each reader: five times a second is fluent for people and cheap. */
export const VIEW_INTERVAL_MS = 200;
/** Ended migrations whose last view stays in memory; older ones are read from the history. */
export const ENDED_VIEWS_MAX = 100;
/** How often the agent looks whether its QEMUs still live. */
export const WATCH_INTERVAL_MS = 2_000;
export const MONITOR_TIMEOUT_MS = 3_000;
export const DISK_CHECK_MS = 5_000;
export const QUIT_TIMEOUT_MS = 10_000;
/** How long open requests may take when the agent stops. */
export const LAST_WORDS_MS = 1_000;
/** How long a migration that is being ended for a shutdown may take before the agent exits anyway. */
export const SHUTDOWN_MS_MAX = 60_000;
/** Bytes of sockaddr_un.sun_path without its end mark (linux/un.h). */
export const SOCKET_PATH_BYTES_MAX = 107;
/** Virtual CPUs that a host offers per CPU of its own, unless configured: guests are rarely all busy at once. */
export const VCPUS_PER_CPU = 4;

assert(DISK_CHECK_MS > MONITOR_TIMEOUT_MS, 'a disk check outlives one slow monitor answer');

/** Before a migration its guest is looked at for so long; with the link, the guest's answers and the computing it is about two seconds where all share two processors. */
export const SHORT_PLAN_MS = 600;
/** A plan that takes longer is given up. */
export const SHORT_PLAN_TIMEOUT_MS = 4_000;
/** Reports that are looked at for what they tell of the next migration. */
export const PAST_MOVES_MAX = 100;
