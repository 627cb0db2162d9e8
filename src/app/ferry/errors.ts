/** Errors of one migration. The message says what happened; the session adds where the guest is. */
import { AppError } from '../../core/base/errors.ts';

export type FerryCode =
  | 'FERRY_CANCELLED'
  | 'FERRY_BUSY'
  | 'FERRY_UNKNOWN'
  | 'FERRY_UNDECIDABLE' // a person's word is not asked for
  | 'FERRY_QEMU' // the source QEMU failed, ended or does not answer
  | 'FERRY_FEED' // its migration stream broke off or carries what we cannot move
  | 'FERRY_PEER' // the destination failed
  | 'FERRY_PEER_SILENT' // nothing heard, or nothing moved, within the time-out
  | 'FERRY_REFUSED' // preflight or reservation said no
  | 'FERRY_VERIFY' // memory differs
  | 'FERRY_BLOCKED' // a device, capability or parameter forbids migration
  | 'FERRY_MEMORY' // guest memory cannot be read or written
  | 'FERRY_INCOMING' // the destination QEMU failed
  | 'FERRY_JOURNAL'
  | 'FERRY_SHUTDOWN'
  | 'FERRY_INTERNAL';

export class FerryError extends AppError<FerryCode> {}
