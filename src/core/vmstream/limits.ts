/** Bounds on what a stream may make the parser hold. QEMU's own limits where it has any, generous otherwise. */
import { assert } from '../base/assert.ts';

/** Names are `u8 length` on the wire. */
export const NAME_BYTES_MAX = 255;
/** Machine type names are about 20 bytes; be32 length on the wire. */
export const MACHINE_TYPE_BYTES_MAX = 255;
/** RAM blocks: one per DIMM, ROM, video memory; 256 memory slots and a few per device. */
export const BLOCKS_MAX = 4096;
/** Header, configuration, block list, bitmaps of virtio-mem (1 bit per 2 MiB: 1 MiB for 16 TiB). */
export const PROLOGUE_BYTES_MAX = 8 * 1024 * 1024;
/** Measured 33 KB on a bare q35; virtio-gpu and TPM state can be megabytes. */
export const DEVICE_STATE_BYTES_MAX = 64 * 1024 * 1024;
/** The JSON description after the device state: measured 45 KB on a bare q35. */
export const VMDESC_BYTES_MAX = 16 * 1024 * 1024;
/** Places in the device state that may be its end and still wait for bytes: chance makes one in 2^32 bytes. */
export const END_CANDIDATES_MAX = 1024;

/** MIG_RP payload bytes that a source accepts: `uint8_t buf[512]` in source_return_path_thread. */
export const RETURN_PATH_PAYLOAD_BYTES_MAX = 512;
/** A bitmap of 2^29 pages: 2 TiB in one block. */
export const RECEIVED_BITMAP_BYTES_MAX = 64 * 1024 * 1024;

assert(BLOCKS_MAX * (NAME_BYTES_MAX + 9) < PROLOGUE_BYTES_MAX, 'a full block list fits the prologue');
