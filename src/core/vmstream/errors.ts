import { AppError } from '../base/errors.ts';

export type VmStreamErrorCode =
  | 'VMSTREAM_NOT_A_STREAM' // bad magic or version
  | 'VMSTREAM_MACHINE_TOO_OLD' // no configuration section or no footers: machine types up to 2.3
  | 'VMSTREAM_CAPABILITY' // a migration capability is on that must be off
  | 'VMSTREAM_DEVICE' // a device (or disk migration) that cannot be moved
  | 'VMSTREAM_UNKNOWN_ELEMENT'
  | 'VMSTREAM_UNKNOWN_SECTION'
  | 'VMSTREAM_UNKNOWN_COMMAND'
  | 'VMSTREAM_UNKNOWN_FLAG'
  | 'VMSTREAM_UNKNOWN_BLOCK'
  | 'VMSTREAM_BLOCK_LIST'
  | 'VMSTREAM_PAGE_RANGE'
  | 'VMSTREAM_ORDER' // a known element where it must not be
  | 'VMSTREAM_FOOTER'
  | 'VMSTREAM_LIMIT'
  | 'VMSTREAM_TRUNCATED'
  | 'VMSTREAM_TRAILING' // bytes after the end
  | 'VMSTREAM_RETURN_PATH';

/** What QEMU sent cannot be parsed or must not be moved. `fields.offset` is the position in the stream, in bytes. */
export class VmStreamError extends AppError<VmStreamErrorCode> {}
