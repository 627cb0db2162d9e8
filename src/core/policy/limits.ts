/** Numbers that bound the policy, each with its reason. What a person may set is in config.ts. */
import { assert } from '../base/assert.ts';

/** Ten times the fleet of the simulation; an agent that hears of more than this is being lied to. */
export const HOSTS_MAX = 100_000;
export const VMS_MAX = 1_000_000;

/** Hosts are sorted by their CPU share in steps of 1 %: finer than any average of a load is true. */
export const SHARE_STEPS = 100;
/** So many hosts are looked at for a place of one VM: in a fleet that is full nearly everywhere, the search has an end. */
export const TRIES_MAX = 400;
/** Of those that fit, so many are compared by what the move to them costs. */
export const PLACES_MAX = 6;

/**
 * Predictions that differ by less than this are a tie, and the downtime decides: the paper compares whole seconds (table 5),
 * and a prediction is not better than that.
 */
export const TIE_MS = 1_000;

/** Budgets are kept per this time. */
export const BUDGET_WINDOW_MS = 3_600_000;
/** Hosts that a VM has left and that are remembered for it; the oldest is forgotten first. */
export const LEFT_HOSTS_MAX = 16;

/** Hosts that are being emptied for `consolidate` at the same time: what is planned for one takes room from the others. */
export const EMPTYING_MAX = 64;

/** What adding and subtracting cores in another order may change. */
export const ROUNDING = 1e-9;

assert(PLACES_MAX <= TRIES_MAX, 'places are found among the hosts that are tried');
