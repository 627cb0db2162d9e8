/** Whether a link carries pages faster than a lane packs them, so that they had better travel as they are. Rates of one lane's share. */
import { LZ_MS_PER_BYTE } from './levels.ts';

/**
 * A lane that packs keeps a fast link waiting, and what crossed it then is less than it carries. Over 10 Gbit/s on two busy processors
 * that was 1.8 to 4.5 Gbit/s, over 1 Gbit/s at most 1.2: with this share the limit is 1.5 Gbit/s.
 */
const PROOF_SHARE = 0.5;

export function isFast(bytesPerMs: number): boolean {
  return bytesPerMs * LZ_MS_PER_BYTE > 1;
}

/** `bytesPerMs`: the link carries at least that. */
export function provesFast(bytesPerMs: number): boolean {
  return isFast(bytesPerMs / PROOF_SHARE);
}
