/** Bounds of the autopilot's loop, each with its reason. What a person may set is in settings.ts. */
import { assert } from '../../core/base/assert.ts';

/** An answer that takes longer than this is worth nothing to a round. */
export const CALL_MS_MAX = 3_000;
/** Checks at both hosts open disks; the order is answered when the move has begun. */
export const ORDER_MS_MAX = 60_000;
/** A plan, beyond the time for which the guest is looked at. */
export const PLAN_EXTRA_MS = 60_000;

/** A lease is asked for again after this part of its time: two questions may be lost. */
export const RENEWALS_PER_LEASE = 3;

/** Looked at per round: each takes seconds, and the fleet changes meanwhile. */
export const PLANS_PER_ROUND = 4;
/** Of one host; those with less memory in use come first, the others are not looked at. */
export const PLANS_PER_HOST = 12;
/** A guest's writing changes with what it does; an hour later it does something else. */
export const PLAN_FRESH_MS = 5 * 60_000;
/** A VM that could not be looked at is not tried again at once. */
export const PLAN_RETRY_MS = 60_000;
/** VMs of which predictions are kept; the oldest are forgotten first. */
export const VMS_LOOKED_AT_MAX = 10_000;

/** From the end of a look until every host has sampled its VMs again (once a second). */
export const LOOK_SETTLE_MS = 1_500;

/** Moves are looked at this often while they are under way. */
export const FOLLOW_MS = 500;
/** So long its host may be silent before a move is given up as of unknown outcome. */
export const FOLLOW_LOST_MS = 10 * 60_000;

/** Rows of the log: moves are what the policy remembers, the others are for people. */
export const LOGGED_MOVES_MAX = 5_000;
export const LOGGED_OTHERS_MAX = 5_000;
/** Rows beyond the bound are removed when there are so many of them. */
export const LOG_SLACK = 100;

/** A drain is planned again after moves that failed, so often at most. */
export const DRAIN_PLANS_MAX = 5;
/** VMs on their way to the host, or in the hands of somebody else, are waited for so long before each further plan. */
export const DRAIN_WAIT_MS = 60_000;

assert(PLANS_PER_ROUND <= PLANS_PER_HOST, 'one round can look at the VMs of one host');
assert(PLAN_RETRY_MS < PLAN_FRESH_MS, 'a failure is forgotten before a success');
assert(CALL_MS_MAX < ORDER_MS_MAX, 'an order waits longer than a look');
