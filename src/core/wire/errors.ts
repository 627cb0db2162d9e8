/** Errors of the wire room: what a peer did wrong with bytes. Never thrown for our own mistakes. */
import { AppError } from '../base/errors.ts';

export type ControlWireErrorCode =
  | 'WIRE_FRAME_TYPE'
  | 'WIRE_FRAME_RESERVED'
  | 'WIRE_FRAME_TOO_LONG'
  | 'WIRE_HEAD_LENGTH'
  | 'WIRE_HEAD_SYNTAX'
  | 'WIRE_MESSAGE_UNKNOWN'
  | 'WIRE_MESSAGE_INVALID'
  | 'WIRE_ATTACHMENT'
  | 'WIRE_TRUNCATED'
  | 'WIRE_VERSION'
  | 'WIRE_PEER_NAME';

/** A control connection carried something that the protocol does not allow. */
export class ControlWireError extends AppError<ControlWireErrorCode> {}
