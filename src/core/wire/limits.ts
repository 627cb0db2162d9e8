/** Bounds of the control protocol. Every length is checked against these before anything is allocated for it. */
import { assert } from '../base/assert.ts';

/** JSON part of a message. A VM spec with many disks and a long kernel command line is a few KiB. */
export const HEAD_BYTES_MAX = 256 * 1024;
/** Binary part of one message; longer byte strings are cut by `attachmentChunks`. */
export const ATTACHMENT_BYTES_MAX = 4 * 1024 * 1024;
/** Payload of the longest legal frame: length of the head, head, attachment. */
export const FRAME_PAYLOAD_BYTES_MAX = 4 + HEAD_BYTES_MAX + ATTACHMENT_BYTES_MAX;

/** Texts meant for people: messages, reasons. Longer ones are cut by the sender. */
export const TEXT_CHARS_MAX = 4096;
/** Names of hosts, RAM blocks, features, codes. QEMU keeps RAM block names below 256 bytes. */
export const NAME_CHARS_MAX = 255;
export const PROBLEMS_MAX = 64;
export const BLOCKS_MAX = 4096;
export const LANES_MAX = 64;
export const FEATURES_MAX = 64;
export const PROCESSORS_MAX = 65_536;
/** A VM may not be held longer than this without its source being heard of. */
export const LEASE_MS_MAX = 24 * 3600 * 1000;

assert(FRAME_PAYLOAD_BYTES_MAX < 2 ** 32, 'a frame length fits in its u32 field');
assert(PROBLEMS_MAX * 512 <= HEAD_BYTES_MAX, 'a full list of ordinary problems fits in a head');
assert(BLOCKS_MAX * 64 <= HEAD_BYTES_MAX, 'a full list of ordinary RAM blocks fits in a head');
