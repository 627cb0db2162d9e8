/**
 * Loaded before tests when VMFERRY_SEED is set: property tests then try the same cases in every run, so that one and the same commit
 * does not pass today and fail tomorrow. Without it they look for new ones.
 */
import * as fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env['VMFERRY_SEED']) });
